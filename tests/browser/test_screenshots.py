"""The README's pictures of both pages: `make screenshots` keeps them, other runs only see that they can be taken."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, expect

from tests.browser.chat_page import ChatPage
from tests.browser.chromium import PHONE, watched_page
from tests.browser.screenshots import Screenshots
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import post

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

WIDE = {"width": 1200, "height": 760}
SETTINGS = {"engine.served_model_name": "gemma-3n", "limits.requests_per_minute": 600}
ANSWER = """A session keeps the conversation **on the server**, so you send only what is new:

```python
answer = client.chat.completions.create(
    model="gemma-3n",
    messages=[{"role": "user", "content": "What is my name?"}],
    extra_headers={"X-Session-Id": session_id},
)
```

1. The history is put before your message, and only then goes to the engine.
2. Question and answer are saved together, before you are told that the answer is complete.
3. One message at a time: a second one waits for the first.
"""


async def load(gateway: GatewayProcess, chance: random.Random) -> None:
    """Send requests like a few people's, for ever."""
    while True:
        options = {"temperature": 9} if chance.random() < 0.02 else {}
        await post(gateway.client, "one two three four five six seven", model="gemma-3n", stream=True, **options)
        await asyncio.sleep(chance.random() * 0.3)


@asynccontextmanager
async def under_load(gateway: GatewayProcess) -> AsyncIterator[None]:
    """Have five of them at it."""
    tasks = [asyncio.create_task(load(gateway, random.Random(seed))) for seed in range(5)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_screenshots_of_the_chat_page(
    browser: Browser, redis_server: RedisServer, screenshots: Screenshots
) -> None:
    redis_server.flush()
    async with (
        EngineProcess("--model", "gemma-3n", "--itl-ms", "12") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url], SETTINGS) as gateway,
    ):
        await gateway.ready()
        async with watched_page(browser, gateway.base_url, viewport=WIDE, color_scheme="light") as opened:
            chat = ChatPage(opened.page)
            await chat.sign_in(gateway.key)
            for earlier in ("Names for a small cat", "A haiku about waiting in line"):
                await chat.ask(earlier)
                await chat.answered()
                await chat.page.get_by_role("button", name="New chat").click()
            await engine.script("say", text=ANSWER, piece=5)
            await chat.ask("What is a session?")
            await chat.answered()
            await chat.field.focus()
            assert (await screenshots.take(chat.page, "chat")).stat().st_size < 200_000
        async with watched_page(
            browser, gateway.base_url, viewport=PHONE, color_scheme="dark", has_touch=True
        ) as opened:
            chat = ChatPage(opened.page)
            await chat.sign_in(gateway.key)
            await chat.page.get_by_role("button", name="Show the chats").click()
            await chat.chats.get_by_role("button", name="What is a session?").click()
            await expect(chat.answers).to_have_count(1)
            await chat.page.locator(".thread").evaluate("box => { box.scrollTop = 0 }")
            assert (await screenshots.take(chat.page, "chat-phone")).stat().st_size < 200_000


async def test_screenshots_of_the_operations_view(
    browser: Browser, redis_server: RedisServer, screenshots: Screenshots
) -> None:
    engines = [EngineProcess("--model", "gemma-3n", "--itl-ms", "12") for _ in range(2)]
    async with engines[0] as one, engines[1] as other:
        urls = [one.replica.base_url, other.replica.base_url]
        await one.show(waiting=0, kv=0.4)
        await other.show(waiting=0, kv=0.3)
        async with (
            GatewayProcess(redis_server.url, urls, SETTINGS) as gateway,
            watched_page(browser, gateway.base_url, viewport=WIDE, color_scheme="dark") as opened,
            under_load(gateway),
        ):
            await gateway.ready()
            page = opened.page
            await page.goto("/console")
            await page.get_by_label("API key or token").fill(gateway.key)
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("region", name="Engines")).to_be_visible()
            await expect(page.locator(".tile polyline").first).to_be_attached()
            await asyncio.sleep(screenshots.patience_seconds)
            assert (await screenshots.take(page, "console")).stat().st_size < 200_000
