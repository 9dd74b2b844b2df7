"""The pages for people: the chat page at `/`, the live view of operations at `/console`.

Plain modules and style sheets under `static/`, without a build step and without anything from another host. A page is
public and holds nothing of anybody's: what it shows it asks the API for, with the credential of whoever looks.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from gateway import __version__
from gateway.api.state import RoomsOf
from gateway.errors import NotFound

router = APIRouter(tags=["pages"])

_FOLDER = Path(__file__).parent / "html"
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)
"""Content Security Policy, level 3. An answer is foreign text: even if it got past the sanitiser it could load, send
and run nothing."""

_HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",
    "vary": "accept",
}


@router.head("/", include_in_schema=False)
@router.get("/")
async def index(request: Request, rooms: RoomsOf) -> Response:
    """Serve a browser the chat page, and tell anybody else what this is and where to read on."""
    if rooms.settings.server.chat_page and wants_html(request.headers.get("accept", "")):
        return _page("chat.html")
    about = {"name": "gemma-gateway", "version": __version__, "docs": "/docs", "api": "/v1", "health": "/health"}
    return JSONResponse(about, headers={"vary": "accept"})


@router.head("/console", include_in_schema=False)
@router.get("/console", include_in_schema=False)
async def console(rooms: RoomsOf) -> Response:
    """Serve the live view; what it shows comes from `/admin/console` and needs the scope `admin`."""
    if not rooms.settings.server.chat_page:
        raise NotFound("The pages are turned off (server.chat_page).")
    return _page("console.html")


def wants_html(accept: str) -> bool:
    """Say whether `accept` names HTML, as browsers do. `*/*`, as curl and SDKs send it, does not."""
    return any(part.partition(";")[0].strip().lower() == "text/html" for part in accept.split(","))


def _page(name: str) -> FileResponse:
    return FileResponse(_FOLDER / name, media_type="text/html; charset=utf-8", headers=_HEADERS)
