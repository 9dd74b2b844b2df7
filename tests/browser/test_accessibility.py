"""What axe-core finds on the pages, in both themes: https://dequeuniversity.com/rules/axe/."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page

from tests.browser.chat_page import ChatPage
from tests.browser.chromium import DESKTOP, PHONE, watched_page
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.flow.chat import post

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

SERIOUS = {"serious", "critical"}

ANSWER = """It goes like **this**, as [the page](https://example.org/) says:

```python
print("hello")  # a comment
```

| code | meaning |
| --- | --- |
| `429` | wait |

> And so on.
"""


async def serious_problems(page: Page, axe: str) -> list[str]:
    """Return the serious ones, each with where it is."""
    await page.evaluate(axe)
    found = await page.evaluate("axe.run()")
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


THEMES_AND_SIZES = pytest.mark.parametrize(
    ("theme", "size"), [("light", DESKTOP), ("dark", PHONE)], ids=["light-desktop", "dark-phone"]
)


@THEMES_AND_SIZES
async def test_the_chat_page_has_no_serious_problem(
    browser: Browser, gateway: GatewayProcess, engine: EngineProcess, axe: str, theme: str, size: dict[str, int]
) -> None:
    async with watched_page(browser, gateway.base_url, viewport=size, color_scheme=theme) as opened:
        page = opened.page
        await page.goto("/")
        await page.get_by_label("API key or token").fill("gg_wrong")
        await page.keyboard.press("Enter")
        await page.get_by_role("alert").get_by_text("not valid").wait_for()
        assert await serious_problems(page, axe) == []
        chat = ChatPage(page)
        await chat.sign_in(gateway.key)
        assert await serious_problems(page, axe) == []
        await engine.script("say", text=ANSWER, piece=9)
        await chat.ask("How does it go?")
        await chat.answered()
        await engine.script("cut_mid_stream", chunks=3)
        await chat.ask("one two three")
        await page.get_by_role("button", name="Try again").wait_for()
        assert await serious_problems(page, axe) == []
        await page.get_by_label("Actions for this chat").click()
        assert await serious_problems(page, axe) == []
        await page.get_by_role("button", name="Delete", exact=True).click()
        assert await serious_problems(page, axe) == []
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Parameters").click()
        assert await serious_problems(page, axe) == []


@THEMES_AND_SIZES
async def test_the_operations_view_has_no_serious_problem(
    browser: Browser, gateway: GatewayProcess, axe: str, theme: str, size: dict[str, int]
) -> None:
    async with watched_page(browser, gateway.base_url, viewport=size, color_scheme=theme) as opened:
        page = opened.page
        await page.goto("/console")
        await page.get_by_label("API key or token").fill(gateway.key)
        await page.keyboard.press("Enter")
        await post(gateway.client, stream=True)
        await post(gateway.client, temperature=9)
        await page.get_by_role("region", name="Last errors").wait_for()
        assert await serious_problems(page, axe) == []
