"""An answer is foreign text: whatever a model was talked into writing, the page shows it and does none of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.chat_page import ChatPage
from tests.browser.chromium import Watched, watched_page
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


class Beacon:
    """Another host, which notes what it is asked for."""

    def __init__(self) -> None:
        self.visits: list[bytes] = []
        self.url = ""

    async def run(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._visited, "127.0.0.1")
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits.append(await reader.readline())
        writer.close()


@pytest_asyncio.fixture(loop_scope="module")
async def beacon() -> AsyncIterator[Beacon]:
    """A host that nobody should ask for anything."""
    beacon = Beacon()
    async with await beacon.run():
        yield beacon


HOSTILE = """
<script>window.ran = "script"</script>
<img src="x" onerror="window.ran = 'onerror'"> <svg onload="window.ran = 'onload'"><circle r="9"/></svg>
<iframe srcdoc="<script>parent.ran = 'frame'</script>"></iframe> <iframe src="{url}/frame"></iframe>
<object data="{url}/object"></object> <embed src="{url}/embed"> <video src="{url}/video" autoplay></video>
<link rel="stylesheet" href="{url}/style"> <style>@import "{url}/import"; * {{ display: none }}</style>
<base href="{url}/"> <meta http-equiv="refresh" content="0; url={url}/refresh">
<form action="{url}/form"><button id="trap">Sign in again</button></form>
<input autofocus onfocus="window.ran = 'onfocus'"> <details open ontoggle="window.ran = 'ontoggle'">x</details>

![a picture]({url}/beacon.png) ![another][beacon]

[beacon]: {url}/reference.png

[one](javascript:window.ran='link') [two](JaVaScRiPt:window.ran='link') [three](data:text/html,<script>1</script>)
<a href="javascript:window.ran='anchor'">four</a> <a href="https://example.org/" onclick="window.ran='click'">five</a>
[six](https://example.org/ "a title")

```html
<script>window.ran = "code"</script>
```

`<img src={url}/inline>` and &lt;script&gt;

| <img src="{url}/cell"> | b |
| --- | --- |
| <script>window.ran = "cell"</script> | d |

The end of it.
"""


async def test_it_is_shown_and_does_nothing(
    watched: Watched, gateway: GatewayProcess, engine: EngineProcess, beacon: Beacon
) -> None:
    page = watched.page
    chat = ChatPage(page)
    await chat.sign_in(gateway.key)
    await engine.script("say", text=HOSTILE.format(url=beacon.url), piece=5)
    await chat.ask("<img src=x onerror=\"window.ran='question'\"><b>bold</b>")
    answer = await chat.answered()
    await expect(answer).to_contain_text("The end of it.")
    await expect(answer).to_contain_text('window.ran = "code"')
    await expect(answer).to_contain_text("a picture")
    await expect(chat.questions).to_contain_text("<b>bold</b>")
    for name in ("one", "two", "three"):
        for link in await answer.get_by_text(name, exact=True).all():
            await link.dispatch_event("click")
    found = answer.locator("script, img, iframe, object, embed, video, link, style, base, meta, form, input, details")
    assert await found.count() == 0
    addresses = await answer.locator("a[href]").evaluate_all("all => all.map(a => [a.href, a.target, a.rel])")
    assert addresses == [["https://example.org/", "_blank", "noopener noreferrer nofollow"]]
    handlers = "all => all.flatMap(e => e.getAttributeNames()).filter(name => name.startsWith('on'))"
    assert await answer.locator("*").evaluate_all(handlers) == []
    assert await page.evaluate("window.ran ?? null") is None
    assert beacon.visits == []
    await page.get_by_role("button", name="New chat").click()
    await page.get_by_role("navigation").get_by_role("button", name="<img").click()
    await expect(chat.answers).to_contain_text("The end of it.")
    assert await page.evaluate("window.ran ?? null") is None
    assert beacon.visits == []


SNEAKED_IN = """async (url) => {
    const seen = [];
    document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
    const nothing = () => null;
    new Image().src = url + "/image";
    await fetch(url + "/fetch").catch(nothing);
    const script = document.createElement("script");
    try { script.src = url + "/script"; } catch { seen.push("trusted-types"); }
    try { document.body.insertAdjacentHTML("beforeend", "<p>"); } catch { seen.push("trusted-types"); }
    try { eval("window.ran = 'eval'"); } catch { seen.push("eval"); }
    const form = document.createElement("form");
    form.action = url + "/form";
    document.body.append(form);
    form.submit();
    const frame = document.createElement("iframe");
    frame.src = url + "/frame";
    document.body.append(frame);
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = url + "/style";
    document.head.append(sheet);
    await new Promise((resolve) => setTimeout(resolve, 300));
    return seen;
}"""


async def test_what_got_past_the_sanitiser_would_be_stopped_by_the_policy(
    browser: Browser, gateway: GatewayProcess, beacon: Beacon
) -> None:
    async with watched_page(browser, gateway.base_url) as opened:
        await opened.page.goto("/")
        await expect(opened.page.get_by_label("API key or token")).to_be_visible()
        seen = set(await opened.page.evaluate(SNEAKED_IN, beacon.url))
        assert {"img-src", "connect-src", "trusted-types", "form-action", "frame-src", "style-src-elem"} <= seen
        # The browser may have opened a connection beforehand; it asked for nothing.
        assert [line for line in beacon.visits if line] == []
