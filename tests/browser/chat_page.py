"""The chat page as somebody sees it who looks for names and not for classes."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect


class ChatPage:
    """The open page of somebody who has signed in, or is about to."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.field = page.get_by_role("textbox", name="Message", exact=True)
        self.send = page.get_by_role("button", name="Send", exact=True)
        self.stop = page.get_by_role("button", name="Stop", exact=True)
        self.answers = page.get_by_role("article", name="Assistant")
        self.questions = page.get_by_role("article", name="You")
        self.chats = page.get_by_role("navigation", name="Chats").get_by_role("listitem")
        self.title = page.get_by_role("heading", level=1)

    async def sign_in(self, key: str) -> None:
        """Open the page and give it a key."""
        await self.page.goto("/")
        await self.page.get_by_label("API key or token").fill(key)
        await self.page.get_by_role("button", name="Sign in").click()
        await expect(self.field).to_be_visible()

    async def ask(self, text: str) -> None:
        """Write `text` and send it by the keyboard."""
        await self.field.fill(text)
        await self.field.press("Enter")

    async def answered(self, count: int = 1) -> Locator:
        """Wait until so many answers are whole, and return the last."""
        await expect(self.answers).to_have_count(count)
        last = self.answers.last
        await expect(last.get_by_role("button", name="Regenerate")).to_be_visible()
        return last

    async def choose(self, action: str) -> None:
        """Choose from the menu of the open chat."""
        await self.page.get_by_label("Actions for this chat").click()
        await self.page.get_by_role("button", name=action, exact=True).click()
