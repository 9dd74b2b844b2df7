"""The pages for people, as they are served: to whom, how heavy, and under which policy."""

from __future__ import annotations

import re

import httpx
import pytest

from gateway.api.web_pages import wants_html
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
LARGEST_BYTES = 200_000
REFERENCE = re.compile(r"""(?:href|src)="([^"]+)"|(?:from|import) "([^"]+)";""")


async def with_all_it_loads(client: httpx.AsyncClient, page: str) -> dict[str, int]:
    """Return the bytes of a page, and of every asset that it or one of these names."""
    found: dict[str, int] = {}
    waiting = [httpx.URL(page)]
    while waiting:
        url = waiting.pop()
        if url.path in found:
            continue
        answer = await client.get(url, headers={**BROWSER, "accept-encoding": "identity"})
        assert answer.status_code == 200, url
        found[url.path] = len(answer.content)
        if not url.path.startswith("/static/vendor/"):
            waiting += [url.join(one or other) for one, other in REFERENCE.findall(answer.text)]
    return found


async def test_a_browser_gets_a_page_and_a_program_what_this_is(gateway: GatewayProcess) -> None:
    page = await gateway.client.get("/", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    about = await gateway.client.get("/")
    assert about.json()["name"] == "gemma-gateway"
    assert page.headers["vary"] == about.headers["vary"] == "accept"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (BROWSER["accept"], True),
        ("text/html", True),
        ("application/json, TEXT/HTML;q=0.5", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("text/htmlx, text/*", False),
    ],
)
async def test_who_names_html_wants_it(accept: str, expected: bool) -> None:
    assert wants_html(accept) is expected


async def test_a_page_needs_no_credential_and_loads_only_from_here(gateway: GatewayProcess) -> None:
    answer = await gateway.client.get("/", headers={**BROWSER, "authorization": ""})
    assert answer.status_code == 200
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "dompurify",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("page", ["/", "/console"])
async def test_a_page_is_light(gateway: GatewayProcess, page: str) -> None:
    found = await with_all_it_loads(gateway.client, page)
    assert len(found) > 10
    assert sum(found.values()) <= LARGEST_BYTES, found


async def test_every_vendored_file_has_its_licence_beside_it(gateway: GatewayProcess) -> None:
    found = await with_all_it_loads(gateway.client, "/")
    vendored = {path.split("/")[3].removesuffix(".js") for path in found if path.startswith("/static/vendor/")}
    assert vendored == {"marked", "purify", "highlight"}
    for name in vendored:
        assert (await gateway.client.get(f"/static/vendor/{name}.LICENSE")).status_code == 200


async def test_the_pages_can_be_turned_off(engine: EngineProcess, redis_server: RedisServer) -> None:
    settings = {"server.chat_page": False}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        assert (await gateway.client.get("/", headers=BROWSER)).json()["name"] == "gemma-gateway"
        console = await gateway.client.get("/console", headers=BROWSER)
        assert (console.status_code, console.json()["error"]["code"]) == (404, "not_found")
