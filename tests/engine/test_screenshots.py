"""The README's pictures of both pages, before the real engine: `make screenshots` keeps them, other runs only see that
they can be taken. What the pages show is what the demo model and vLLM said in this run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.browser.chat_page import ChatPage
from tests.browser.chromium import PHONE, watched_page
from tests.browser.conftest import browser, screenshots
from tests.browser.screenshots import Screenshots
from tests.fakes.stack import ServeProcess

__all__ = ["browser", "screenshots"]

pytestmark = [
    *(pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(400)),
    pytest.mark.asyncio(loop_scope="module"),
]

WIDE = {"width": 1200, "height": 760}
LARGEST_BYTES = 200_000
EARLIER = ("What is continuous batching?", "Count from 1 to 12")
CONVERSATION = ("My name is Ada.", "What is a session?", "What is my name?")
QUESTIONS = (*EARLIER, *CONVERSATION, "Hello!", "How do I bake bread?", "What does status 429 mean?", "你好")


def code(through: httpx.Client) -> str:
    """Return a login code, as the printed link has one."""
    made: str = through.post("/auth/login-codes").json()["code"]
    return made


async def load(client: httpx.AsyncClient, chance: random.Random) -> None:
    """Send requests like a few people's, for ever. One in fifty is refused."""
    while True:
        question = {"role": "user", "content": chance.choice(QUESTIONS)}
        fields = {"temperature": 9} if chance.random() < 0.02 else {"stream": True}
        await client.post("/v1/chat/completions", json={"model": "gemma-3n-demo", "messages": [question], **fields})
        await asyncio.sleep(chance.random())


@asynccontextmanager
async def under_load(served: ServeProcess) -> AsyncIterator[None]:
    """Have five of them at it."""
    headers = {"authorization": f"Bearer {served.key}"}
    async with httpx.AsyncClient(base_url=served.base_url, headers=headers, timeout=120, trust_env=False) as client:
        tasks = [asyncio.create_task(load(client, random.Random(seed))) for seed in range(5)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_screenshots_of_the_chat_page(
    browser: Browser, served: ServeProcess, through: httpx.Client, screenshots: Screenshots
) -> None:
    async with watched_page(browser, served.base_url, viewport=WIDE, color_scheme="light") as opened:
        await opened.page.goto(f"/#code={code(through)}")
        chat = ChatPage(opened.page)
        await expect(chat.field).to_be_visible()
        for earlier in EARLIER:
            await chat.ask(earlier)
            await chat.answered()
            await chat.page.get_by_role("button", name="New chat").click()
        for count, question in enumerate(CONVERSATION, 1):
            await chat.ask(question)
            await chat.answered(count)
        await chat.field.focus()
        assert (await screenshots.take(chat.page, "chat")).stat().st_size < LARGEST_BYTES
    async with watched_page(browser, served.base_url, viewport=PHONE, color_scheme="dark", has_touch=True) as opened:
        await opened.page.goto(f"/#code={code(through)}")
        chat = ChatPage(opened.page)
        await chat.page.get_by_role("button", name="Show the chats").click()
        await chat.chats.get_by_role("button", name=CONVERSATION[0]).click()
        await expect(chat.answers).to_have_count(len(CONVERSATION))
        await chat.page.locator(".thread").evaluate("box => { box.scrollTop = 0 }")
        assert (await screenshots.take(chat.page, "chat-phone")).stat().st_size < LARGEST_BYTES


async def test_screenshots_of_the_operations_view(
    browser: Browser, served: ServeProcess, screenshots: Screenshots
) -> None:
    async with (
        under_load(served),
        watched_page(browser, served.base_url, viewport=WIDE, color_scheme="dark") as opened,
    ):
        page = opened.page
        await page.goto("/console")
        await page.get_by_label("API key or token").fill(served.key)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("region", name="Engines")).to_be_visible()
        await expect(page.locator(".tile polyline").first).to_be_attached()
        await asyncio.sleep(screenshots.patience_seconds)
        assert (await screenshots.take(page, "console")).stat().st_size < LARGEST_BYTES
