"""The pages before the real engine: from the link that `make run` prints to an answer, and to one that is stopped."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.chat_page import ChatPage
from tests.browser.chromium import Watched, watched_page
from tests.browser.conftest import browser
from tests.engine.vllm_metrics import RUNNING, value, wait_for_idle
from tests.fakes.stack import ServeProcess

__all__ = ["browser"]

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

TRIES = 5


@pytest_asyncio.fixture(loop_scope="module")
async def watched(browser: Browser, served: ServeProcess) -> AsyncIterator[Watched]:
    """An empty page, which must not complain."""
    async with watched_page(browser, served.base_url) as opened:
        opened.page.set_default_timeout(60_000)
        yield opened
        assert opened.faults() == []
        assert opened.hosts() <= {served.base_url.removeprefix("http://")}


@pytest_asyncio.fixture(loop_scope="module")
async def chat(watched: Watched, through: httpx.Client) -> ChatPage:
    """The page as the link opens it."""
    code = through.post("/auth/login-codes").json()["code"]
    await watched.page.goto(f"/#code={code}")
    page = ChatPage(watched.page)
    await expect(page.field).to_be_visible()
    return page


async def test_the_start_prints_a_link_to_the_chat_page(served: ServeProcess) -> None:
    assert re.search(rf"^  {re.escape(served.base_url)}/#code=\S+$", served.read(), re.MULTILINE)


async def test_a_conversation_from_the_link_to_the_second_turn(chat: ChatPage, watched: Watched) -> None:
    page = chat.page
    await page.get_by_role("button", name="What is a session?").click()
    answer = await chat.answered()
    stats = answer.locator(".stats")
    await expect(stats).to_contain_text(re.compile(r"\d+ tokens.*first after [\d,]+ ms.*engine 127\.0\.0\.1:\d+"))
    await chat.ask("My name is Ada.")
    await chat.answered(2)
    await chat.ask("What is my name?")
    await chat.answered(3)
    await page.get_by_role("button", name="New chat").click()
    await chat.chats.get_by_role("button", name="What is a session?").first.click()
    await expect(chat.questions).to_have_count(3)
    await chat.choose("Delete")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(chat.title).to_have_text("New chat")


async def runs(direct: httpx.Client) -> bool:
    """Wait a moment for vLLM to be at work, and say whether it was."""
    for _ in range(200):
        if value(direct, RUNNING) > 0:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_stop_ends_the_work_of_vllm(chat: ChatPage, direct: httpx.Client) -> None:
    """How long an answer is is the model's doing, so one that ends before it is stopped is asked for again."""
    page = chat.page
    await page.get_by_role("button", name="Parameters").click()
    dialog = page.get_by_role("dialog", name="Parameters")
    await dialog.get_by_label("Set the temperature").check()
    await dialog.get_by_role("slider").fill("2")
    await dialog.get_by_label("Longest answer, in tokens").fill("1500")
    await dialog.get_by_role("button", name="Save").click()
    for number in range(TRIES):
        await page.get_by_role("button", name="New chat").click()
        await chat.field.fill(f"Count from {number} to a thousand.")
        await chat.field.press("Enter")
        if not await runs(direct):
            continue
        await chat.field.press("Escape")
        wait_for_idle(direct, 2.0)
        await expect(chat.send).to_be_visible()
        await expect(chat.answers.locator(".stats")).to_be_visible()
        if await chat.answers.get_by_text("Stopped.").count():
            return
    raise AssertionError("no answer was long enough to be stopped")


async def test_the_operations_view_shows_vllm(chat: ChatPage, served: ServeProcess) -> None:
    async with chat.page.context.expect_page() as opened:
        await chat.page.get_by_role("link", name="Operations").click()
    view = await opened.value
    engines = view.get_by_role("region", name="Engines")
    await expect(engines).to_contain_text(re.compile(r"ready.*gemma-3n-demo"))
    await expect(engines).to_contain_text(re.compile(r"\d %.*\d %"))
    await expect(view.get_by_role("region", name="Tenants by tokens")).to_contain_text("local")
