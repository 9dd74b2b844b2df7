"""The chat page in a real browser, before a scripted engine."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, expect

from tests.browser.chat_page import ChatPage
from tests.browser.chromium import PHONE, Watched, watched_page
from tests.fakes.gateway import GatewayProcess
from tests.fakes.ports import free_port
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import post

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

RED_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)


@pytest_asyncio.fixture(loop_scope="module")
async def chat(watched: Watched, gateway: GatewayProcess, redis_server: RedisServer) -> ChatPage:
    """The page of somebody who has signed in with the local key and has no chats."""
    redis_server.flush()
    page = ChatPage(watched.page)
    await page.sign_in(gateway.key)
    return page


async def test_an_answer_is_streamed_with_what_it_cost(chat: ChatPage, engine: EngineProcess) -> None:
    await engine.script("say", text="It is **blue** as it is.", piece=3)
    await chat.ask("Why is the sky blue?")
    answer = await chat.answered()
    await expect(answer).to_contain_text("It is blue as it is.")
    await expect(answer.locator("strong")).to_have_text("blue")
    await expect(answer).to_contain_text(re.compile(r"8 tokens.*first after [\d,]+ ms.*engine 127\.0\.0\.1:\d+"))
    await expect(chat.title).to_have_text("Why is the sky blue?")
    await expect(chat.chats).to_have_text(["Why is the sky blue?"])


async def test_a_chat_goes_on_where_it_was_left(chat: ChatPage) -> None:
    await chat.ask("My name is Ada.")
    await chat.answered()
    await chat.page.get_by_role("button", name="New chat").click()
    await expect(chat.answers).to_have_count(0)
    await chat.page.get_by_role("button", name="My name is Ada.").click()
    await expect(chat.questions).to_have_count(1)
    await chat.ask("What is it?")
    await chat.answered(2)
    await expect(chat.questions).to_contain_text(["My name is Ada.", "What is it?"])


async def test_a_chat_is_deleted_once_that_is_confirmed(chat: ChatPage) -> None:
    await chat.ask("To be deleted")
    await chat.answered()
    await chat.choose("Delete")
    dialog = chat.page.get_by_role("dialog", name="Delete this chat?")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(chat.title).to_have_text("To be deleted")
    await chat.choose("Delete")
    await dialog.get_by_role("button", name="Delete").click()
    await expect(chat.title).to_have_text("New chat")
    await expect(chat.page.get_by_role("button", name="To be deleted")).to_have_count(0)


@pytest.mark.parametrize("by", ["button", "Escape"])
async def test_stop_ends_the_answer_at_the_engine(chat: ChatPage, engine: EngineProcess, by: str) -> None:
    await engine.script("hang", chunks=3)
    await chat.ask("one two three four five")
    await expect(chat.answers).to_contain_text("You said")
    await engine.eventually(running=1)
    if by == "button":
        await chat.stop.click()
    else:
        await chat.field.press("Escape")
    await engine.eventually(running=0, aborted=1)
    await expect(chat.answers).to_contain_text("Stopped.")
    await expect(chat.field).to_be_focused()
    await expect(chat.send).to_be_visible()


async def test_a_broken_answer_says_so_and_can_be_tried_again(chat: ChatPage, engine: EngineProcess) -> None:
    await engine.script("cut_mid_stream", chunks=3)
    await chat.ask("one two three four")
    await expect(chat.answers).to_contain_text("The answer broke off.")
    await chat.page.get_by_role("button", name="Try again").click()
    await expect(await chat.answered()).to_contain_text("You said: one two three four")
    await expect(chat.questions).to_have_count(1)


async def test_an_engine_that_is_gone_is_told_and_found_again(
    chat: ChatPage, engine: EngineProcess, gateway: GatewayProcess
) -> None:
    await engine.kill()
    await chat.ask("Is anybody there?")
    await expect(chat.answers).to_contain_text("No answer.")
    await expect(chat.page.get_by_text("The engine is not ready yet.")).to_be_visible()
    await engine.start()
    await gateway.ready()
    await expect(chat.page.get_by_text("The engine is not ready yet.")).to_be_hidden()
    await chat.page.get_by_role("button", name="Try again").click()
    await chat.answered()


async def test_it_can_be_read_in_chinese(chat: ChatPage) -> None:
    await chat.field.fill("a draft that stays")
    await chat.page.get_by_role("button", name="中文").click()
    await expect(chat.page.get_by_role("button", name="新对话")).to_be_visible()
    await expect(chat.page.get_by_role("textbox", name="消息")).to_have_value("a draft that stays")
    assert await chat.page.locator("html").get_attribute("lang") == "zh-CN"


async def test_the_theme_follows_the_system_until_one_is_chosen(chat: ChatPage) -> None:
    async def ground() -> str:
        colour: str = await chat.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return colour

    await chat.page.emulate_media(color_scheme="light")
    light = await ground()
    await chat.page.emulate_media(color_scheme="dark")
    dark = await ground()
    assert light != dark
    await chat.page.get_by_role("button", name="Theme: as the system").click()
    assert await ground() == light
    await chat.page.get_by_role("button", name="Theme: light").click()
    assert await ground() == dark


async def test_a_wrong_key_is_told_and_the_right_one_taken(watched: Watched, gateway: GatewayProcess) -> None:
    page = watched.page
    await page.goto("/")
    await page.get_by_label("API key or token").fill("gg_wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("This key or token is not valid.")
    await ChatPage(page).sign_in(gateway.key)


async def test_the_credential_is_kept_nowhere_but_in_memory(chat: ChatPage, gateway: GatewayProcess) -> None:
    await chat.ask("Hello")
    await chat.answered()
    kept = await chat.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert "gg_" not in kept
    assert "eyJ" not in kept
    await chat.page.reload()
    await expect(chat.page.get_by_label("API key or token")).to_be_visible()


async def test_another_page_of_the_same_browser_is_signed_in_too(chat: ChatPage, gateway: GatewayProcess) -> None:
    beside = await chat.page.context.new_page()
    await beside.goto(gateway.base_url)
    await expect(beside.get_by_role("textbox", name="Message", exact=True)).to_be_visible()
    await chat.page.get_by_role("button", name="Sign out").click()
    await expect(beside.get_by_label("API key or token")).to_be_visible()


async def test_parameters_go_along_with_a_message(chat: ChatPage, engine: EngineProcess) -> None:
    await chat.page.get_by_role("button", name="Parameters").click()
    dialog = chat.page.get_by_role("dialog", name="Parameters")
    await dialog.get_by_label("Set the temperature").check()
    await dialog.get_by_role("slider").fill("0.3")
    await dialog.get_by_label("Longest answer, in tokens").fill("7")
    await dialog.get_by_label("System prompt").fill("Be brief.")
    await dialog.get_by_role("button", name="Save").click()
    await chat.ask("Hello")
    await chat.answered()
    sent = json.loads((await engine.asked())[-1]["body"])
    assert (sent["temperature"], sent["max_completion_tokens"]) == (0.3, 7)
    assert "Be brief." in str(sent["messages"])


@pytest_asyncio.fixture(loop_scope="module")
async def narrow(browser: Browser, gateway: GatewayProcess) -> AsyncIterator[ChatPage]:
    """The page on a phone."""
    async with watched_page(browser, gateway.base_url, viewport=PHONE, has_touch=True, is_mobile=True) as opened:
        page = ChatPage(opened.page)
        await page.sign_in(gateway.key)
        yield page
        assert opened.faults() == []


async def test_on_a_phone_the_chats_are_a_drawer(narrow: ChatPage) -> None:
    await narrow.ask("From a phone")
    await narrow.answered()
    opener = narrow.page.get_by_role("button", name="Show the chats")
    await opener.click()
    await expect(narrow.page.get_by_role("button", name="Hide the chats")).to_be_focused()
    await narrow.page.keyboard.press("Escape")
    await expect(opener).to_be_focused()
    overflow = await narrow.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert overflow == 0


async def test_a_limit_counts_down_and_then_lets_one_send(
    browser: Browser, engine: EngineProcess, redis_server: RedisServer
) -> None:
    redis_server.flush()
    settings = {"limits.requests_per_minute": 30}
    async with (
        GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as limited,
        watched_page(browser, limited.base_url) as opened,
    ):
        await limited.ready()
        page = ChatPage(opened.page)
        await page.sign_in(limited.key)
        await page.ask("The first")
        await page.answered()
        await expect(page.page.get_by_text("29 of 30 requests left")).to_be_visible()
        while (await post(limited.client)).status_code == 200:
            pass
        await page.ask("One too many")
        await expect(page.page.locator(".composer")).to_contain_text(re.compile(r"You can send again in [12] s"))
        await expect(page.send).to_be_disabled()
        await expect(page.field).to_have_value("One too many")
        await expect(page.questions).to_have_count(1)
        await expect(page.send).to_be_enabled()
        await page.field.press("Enter")
        await page.answered(2)


async def test_a_link_with_a_code_signs_in_once_and_leaves_no_trace(watched: Watched, gateway: GatewayProcess) -> None:
    code = (await gateway.client.post("/auth/login-codes")).json()["code"]
    page = watched.page
    await page.goto(f"/#code={code}")
    await expect(page.get_by_role("textbox", name="Message", exact=True)).to_be_visible()
    assert page.url == f"{gateway.base_url}/"
    await page.goto("about:blank")
    await page.goto(f"/#code={code}")
    await expect(page.get_by_role("alert")).to_contain_text("That sign-in link was used")
    assert page.url == f"{gateway.base_url}/"


async def test_the_key_is_exchanged_and_used_no_more(watched: Watched, gateway: GatewayProcess) -> None:
    used: list[str] = []
    watched.page.on("request", lambda request: used.append(request.headers.get("authorization", "")))
    chat = ChatPage(watched.page)
    await chat.sign_in(gateway.key)
    await chat.ask("Hello")
    await chat.answered()
    with_key = [each for each in used if gateway.key in each]
    assert len(with_key) == 1
    assert any(each.startswith("Bearer eyJ") for each in used)


async def test_a_chat_is_renamed(chat: ChatPage) -> None:
    await chat.ask("Hello")
    await chat.answered()
    await chat.choose("Rename")
    field = chat.page.get_by_label("Title of the chat")
    await expect(field).to_be_focused()
    await field.fill("Of greetings")
    await field.press("Enter")
    await expect(chat.title).to_have_text("Of greetings")
    await expect(chat.chats).to_have_text(["Of greetings"])


async def test_a_fork_goes_its_own_way(chat: ChatPage) -> None:
    await chat.ask("The first")
    await chat.answered()
    await chat.ask("The second")
    await chat.answered(2)
    await chat.answers.first.get_by_role("button", name="Fork from here").click()
    await expect(chat.title).to_have_text("The first (fork)")
    await expect(chat.questions).to_have_count(1)
    await chat.ask("Another second")
    await chat.answered(2)
    await chat.page.get_by_role("button", name="The first", exact=True).click()
    await expect(chat.questions.nth(1)).to_contain_text("The second")


async def test_an_answer_is_made_anew_and_takes_the_place_of_the_old(chat: ChatPage, engine: EngineProcess) -> None:
    await chat.ask("Once more")
    await expect(await chat.answered()).to_contain_text("You said: Once more")
    await engine.script("say", text="Something else this time.", piece=6)
    await chat.page.get_by_role("button", name="Regenerate").click()
    await expect(await chat.answered()).to_contain_text("Something else this time.")
    await chat.page.get_by_role("button", name="New chat").click()
    await chat.page.get_by_role("button", name="Once more", exact=True).click()
    await expect(chat.answers).to_have_count(1)
    await expect(chat.answers).to_contain_text("Something else this time.")


async def test_a_message_is_edited_and_sent_again(chat: ChatPage) -> None:
    await chat.ask("A mistkae")
    await chat.answered()
    await chat.ask("What follows from it")
    await chat.answered(2)
    first = chat.questions.first
    await first.hover()
    await first.get_by_role("button", name="Edit").click()
    field = first.get_by_label("Edit the message")
    await expect(field).to_be_focused()
    await field.fill("No mistake")
    await first.get_by_role("button", name="Send again").click()
    await expect(await chat.answered()).to_contain_text("You said: No mistake")
    await expect(chat.questions).to_have_count(1)
    await expect(chat.questions).to_contain_text("No mistake")


@pytest.mark.parametrize(("form", "ending"), [("Markdown", "md"), ("JSON", "json")])
async def test_a_chat_is_exported_as_a_file(chat: ChatPage, form: str, ending: str) -> None:
    await chat.ask("Keep this")
    await chat.answered()
    async with chat.page.expect_download() as download:
        await chat.choose(f"Export as {form}")
    file = await download.value
    assert file.suggested_filename == f"Keep this.{ending}"
    assert "You said: Keep this" in Path(await file.path()).read_text(encoding="utf-8")


async def test_a_stopped_answer_is_kept_as_far_as_it_went(chat: ChatPage, engine: EngineProcess) -> None:
    await engine.script("hang", chunks=3)
    await chat.ask("one two three four five")
    await expect(chat.answers).to_contain_text("You said")
    await chat.stop.click()
    await expect(chat.answers.get_by_role("button", name="Fork from here")).to_be_visible()
    await chat.page.get_by_role("button", name="New chat").click()
    await chat.page.get_by_role("button", name="one two three four five").click()
    await expect(chat.answers).to_contain_text("You said")
    await expect(chat.answers).to_contain_text("Stopped.")
    await chat.page.get_by_role("button", name="Regenerate").click()
    await expect(await chat.answered()).to_contain_text("You said: one two three four five")


async def test_a_chat_that_is_gone_is_told_and_what_was_written_stays(
    chat: ChatPage, redis_server: RedisServer
) -> None:
    await chat.ask("Soon gone")
    await chat.answered()
    redis_server.flush()
    await chat.ask("Written in vain")
    await expect(chat.title).to_have_text("New chat")
    await expect(chat.field).to_have_value("Written in vain")


@pytest.mark.slow
async def test_a_sign_in_that_ends_loses_nothing(
    browser: Browser, engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {"auth.jwt_ttl_seconds": 8}
    async with (
        GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as brief,
        watched_page(browser, brief.base_url) as opened,
    ):
        await brief.ready()
        chat = ChatPage(opened.page)
        await chat.sign_in(brief.key)
        await expect(opened.page.locator(".toast")).to_contain_text("Your sign-in ends in two minutes.")
        await chat.ask("Before it ended")
        await chat.answered()
        await chat.field.fill("A draft")
        await expect(opened.page.get_by_role("alert")).to_contain_text("Sign in again", timeout=20_000)
        await opened.page.get_by_label("API key or token").fill(brief.key)
        await opened.page.keyboard.press("Enter")
        await expect(chat.title).to_have_text("Before it ended")
        await expect(chat.questions).to_contain_text("Before it ended")
        await expect(chat.field).to_have_value("A draft")


async def test_an_engine_that_loads_shows_how_far_it_is(browser: Browser, redis_server: RedisServer) -> None:
    async def status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        said = b'{"state": "starting", "stage": "loading weights", "elapsed_seconds": 12.3}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(said), said))
        writer.close()

    async with await asyncio.start_server(status, "127.0.0.1") as supervisor:
        settings = {"engine.port": free_port(), "engine.status_port": supervisor.sockets[0].getsockname()[1]}
        async with (
            GatewayProcess(redis_server.url, [], settings) as gateway,
            watched_page(browser, gateway.base_url) as opened,
        ):
            chat = ChatPage(opened.page)
            await chat.sign_in(gateway.key)
            await expect(opened.page.get_by_text("The engine is loading: loading weights (12 s)")).to_be_visible()
            await chat.field.fill("Too early")
            await expect(chat.send).to_be_disabled()


async def test_an_image_goes_along_where_the_model_reads_images(
    browser: Browser, engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {"engine.max_images": 1}
    async with (
        GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway,
        watched_page(browser, gateway.base_url) as opened,
    ):
        await gateway.ready()
        chat = ChatPage(opened.page)
        await chat.sign_in(gateway.key)
        async with opened.page.expect_file_chooser() as chooser:
            await opened.page.get_by_role("button", name="Attach an image").click()
        picture: FilePayload = {"name": "red.png", "mimeType": "image/png", "buffer": RED_PIXEL}
        await (await chooser.value).set_files([picture])
        await expect(opened.page.get_by_role("button", name="Remove the image")).to_be_visible()
        await chat.ask("What is this?")
        await chat.answered()
        await expect(chat.questions.get_by_role("img", name="Attached image")).to_be_visible()
        [message] = json.loads((await engine.asked())[-1]["body"])["messages"]
        assert [part["type"] for part in message["content"]] == ["image_url", "text"]
        assert message["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")


async def test_no_image_can_be_attached_where_the_model_reads_none(
    browser: Browser, engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {"engine.max_images": 0}
    async with (
        GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway,
        watched_page(browser, gateway.base_url) as opened,
    ):
        chat = ChatPage(opened.page)
        await chat.sign_in(gateway.key)
        await expect(opened.page.get_by_role("button", name="Attach an image")).to_be_hidden()
