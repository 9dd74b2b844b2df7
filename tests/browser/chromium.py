"""Debian's Chromium, driven by playwright, and a page that notes everything that should not happen on it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


def chromium_path() -> str | None:
    """Return where Chromium is, None where it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@asynccontextmanager
async def running_chromium(path: str) -> AsyncIterator[Browser]:
    """Run the browser until exit. What is expected of a page may take its time: a busy machine has few cores."""
    expect.set_options(timeout=20_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(slots=True)
class Watched:
    """A page, and what it said and asked for."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Return what the browser complained of, but for answers of the gateway's that are no success."""
        return [text for text in self.console if "Failed to load resource" not in text]

    def hosts(self) -> set[str]:
        """Return the hosts that were asked for something."""
        return {url.split("/")[2] for url in self.requests if url.startswith("http")}


@asynccontextmanager
async def watched_page(browser: Browser, base_url: str, **context: Any) -> AsyncIterator[Watched]:
    """Open an empty page in a context of its own."""
    settings = {"viewport": DESKTOP, "locale": "en-GB", "base_url": base_url, **context}
    async with await browser.new_context(**settings) as opened:
        watched = Watched(await opened.new_page())

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                watched.console.append(message.text)

        def on_request(request: Request) -> None:
            watched.requests.append(request.url)

        watched.page.on("console", on_console)
        watched.page.on("pageerror", lambda error: watched.console.append(str(error)))
        opened.on("request", on_request)
        watched.page.set_default_timeout(30_000)
        yield watched
