"""`/docs`, `/redoc` and `/openapi.json`, with assets of our own: a gateway often runs where no CDN can be reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from gateway.api import chat_sessions, responses, session_messages
from gateway.api.openapi import (
    chat_session_path,
    finished,
    hot_path,
    regenerate_path,
    response_path,
    session_message_path,
    transcription_path,
)
from gateway.domain import Endpoint
from gateway.prompt.transcription import Task

router = APIRouter(include_in_schema=False)

_FAVICON = "/static/favicon.svg"


@router.get("/docs")
async def swagger() -> HTMLResponse:
    """Serve Swagger UI."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="gemma-gateway",
        swagger_js_url="/static/swagger-ui-bundle.js",
        swagger_css_url="/static/swagger-ui.css",
        swagger_favicon_url=_FAVICON,
    )


@router.get("/redoc")
async def redoc() -> HTMLResponse:
    """Serve ReDoc."""
    return get_redoc_html(
        openapi_url="/openapi.json",
        title="gemma-gateway",
        redoc_js_url="/static/redoc.standalone.js",
        redoc_favicon_url=_FAVICON,
        with_google_fonts=False,
    )


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """Serve the OpenAPI document."""
    return JSONResponse(request.app.openapi())


def static_files() -> StaticFiles:
    """Return the app that serves this package's assets."""
    return StaticFiles(directory=Path(__file__).parent / "static")


def openapi_of(app: FastAPI, public_paths: frozenset[str]) -> Callable[[], dict[str, Any]]:
    """Return the function that makes the app's OpenAPI document, the raw routes included."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.router.routes
            )
            hot = {endpoint.value: hot_path(endpoint) for endpoint in Endpoint}
            spoken = {task.value: transcription_path(task) for task in Task}
            schema["paths"] = hot | {responses.PATH: response_path()} | spoken | schema["paths"]
            schema["paths"].setdefault(session_messages.PATH, {}).update(session_message_path())
            schema["paths"][session_messages.REGENERATE_PATH] = regenerate_path()
            for path in (chat_sessions.MESSAGES_PATH, chat_sessions.STREAM_PATH):
                schema["paths"][path] = chat_session_path(path)
            app.openapi_schema = finished(schema, public_paths)
        return app.openapi_schema

    return document
