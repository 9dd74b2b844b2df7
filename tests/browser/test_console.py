"""The operations view in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.browser.chat_page import ChatPage
from tests.browser.chromium import PHONE, Watched, watched_page
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.flow.chat import post

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


async def test_it_shows_what_happens_while_it_happens(
    watched: Watched, gateway: GatewayProcess, engine: EngineProcess
) -> None:
    page = watched.page
    await page.goto("/console")
    await page.get_by_label("API key or token").fill(gateway.key)
    await page.keyboard.press("Enter")
    engines = page.get_by_role("region", name="Engines")
    await expect(engines).to_contain_text(re.compile(r"127\.0\.0\.1:\d+\s*ready"))
    await engine.script("error_400", status=500)
    await post(gateway.client)
    for _ in range(3):
        await post(gateway.client, stream=True)
    await expect(page.get_by_role("region", name="Last errors")).to_contain_text("engine_error")
    await expect(page.get_by_role("region", name="Tenants by tokens")).to_contain_text("local")
    await expect(page.locator(".tile", has_text="Time to first token")).to_contain_text(re.compile(r"[\d.]+ ms"))
    await expect(page.locator(".tile", has_text="Requests a second").locator("polyline")).to_have_count(1)
    await engine.kill()
    await expect(engines).to_contain_text("sick", timeout=20_000)
    await engine.start()
    await expect(engines).to_contain_text("ready", timeout=20_000)


async def test_it_needs_the_scope_admin(watched: Watched, gateway: GatewayProcess) -> None:
    made = await gateway.client.post("/admin/keys", json={"tenant": "acme", "user": "ada", "scopes": []})
    page = watched.page
    chat = ChatPage(page)
    await chat.sign_in(made.json()["key"])
    await expect(page.get_by_role("link", name="Operations")).to_have_count(0)
    await page.goto("/console")
    await page.get_by_label("API key or token").fill(made.json()["key"])
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("This view needs a credential with the scope admin.")).to_be_visible()


async def test_from_the_chat_page_it_needs_no_second_sign_in(watched: Watched, gateway: GatewayProcess) -> None:
    await ChatPage(watched.page).sign_in(gateway.key)
    async with watched.page.context.expect_page() as opened:
        await watched.page.get_by_role("link", name="Operations").click()
    await expect((await opened.value).get_by_role("region", name="Engines")).to_be_visible()


async def test_it_fits_a_phone_and_speaks_chinese(browser: Browser, gateway: GatewayProcess) -> None:
    async with watched_page(browser, gateway.base_url, viewport=PHONE, locale="zh-CN") as opened:
        page = opened.page
        await page.goto("/console")
        await page.get_by_label("API 密钥或令牌").fill(gateway.key)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("region", name="引擎")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
        assert opened.faults() == []


PERCENTILES = """async () => {
    const { percentile } = await import("/static/console/history.js");
    const bounds = [1, 2, 4];
    const none = { bounds: [], counts: [] };
    const zero = { bounds, counts: [0, 0, 0, 0] };
    const some = { bounds, counts: [10, 20, 20, 20] };
    const beyond = { bounds, counts: [10, 20, 20, 30] };
    return [
        percentile(none, none, 0.5), percentile(zero, zero, 0.5), percentile(some, some, 0.5),
        percentile(zero, some, 0.25), percentile(none, some, 0.5), percentile(zero, some, 0.75),
        percentile(some, beyond, 0.5),
    ];
}"""


async def test_percentiles_are_of_what_came_between_two_answers(watched: Watched) -> None:
    await watched.page.goto("/console")
    assert await watched.page.evaluate(PERCENTILES) == [None, None, None, 0.5, 1, 1.5, 4]


async def test_it_says_when_the_gateway_is_gone_and_comes_back(browser: Browser, gateway: GatewayProcess) -> None:
    async with watched_page(browser, gateway.base_url) as opened:
        page = opened.page
        await page.goto("/console")
        await page.get_by_label("API key or token").fill(gateway.key)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("region", name="Engines")).to_be_visible()
        await page.context.set_offline(True)
        lost = page.get_by_text("No answer from the gateway. Trying again.")
        await expect(lost).to_be_visible()
        await page.context.set_offline(False)
        await expect(lost).to_be_hidden()
