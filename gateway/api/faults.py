"""The one place where errors become responses, in OpenAI's shape and never with a trace."""

from __future__ import annotations

from http import HTTPStatus

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.body import require_json
from gateway.errors import GatewayError, InternalFault, InvalidRequest, MethodNotAllowed, NotFound
from gateway.settlement import Settlement
from gateway.telemetry.logging import get_logger

_NOT_OFFERED = {
    "/v1/embeddings": "Gemma 3n writes text and makes no embeddings",
    "/v1/images": "Gemma 3n reads images and makes none",
    "/v1/moderations": "Gemma 3n does not moderate; use a classifier",
    "/v1/audio/speech": "Gemma 3n hears and makes no speech",
    "/v1/conversations": "use previous_response_id, or /v1/sessions for history kept on the server",
    "/v1/assistants": "use /v1/chat/completions, with /v1/sessions for history kept on the server",
    "/v1/threads": "use /v1/sessions",
    "/v1/files": "nothing is stored or tuned here",
    "/v1/batches": "nothing is stored or tuned here",
    "/v1/fine_tuning": "nothing is stored or tuned here",
}
_NO_OBJECT = frozenset({"missing", "model_attributes_type"})
"""Pydantic's words where there is no body, or one that is no object."""


class FaultMiddleware:
    """Answers every error raised within. Inside CORS, so that browsers may read what went wrong."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._logger = get_logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except GatewayError as error:
            await self._answer(scope, send, error)
        except Exception:
            settlement: Settlement = scope["state"]["settlement"]
            self._logger.exception("unhandled_error", request_id=settlement.request_id)
            fault = InternalFault(f"The server had an error. Please name {settlement.request_id} when you report it.")
            await self._answer(scope, send, fault)

    async def _answer(self, scope: Scope, send: Send, error: GatewayError) -> None:
        settlement: Settlement = scope["state"]["settlement"]
        settlement.failed(error)
        if settlement.is_answered:
            # Too late for a status. Raised again so that the server cuts the connection: the client sees a failure.
            raise error
        body = orjson.dumps(error.envelope())
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [*settlement.headers, *error.response_headers()]
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def translate_http_exception(request: Request, error: Exception) -> Response:
    """Raise Starlette's own 404, 405 and kin as ours."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        refused = MethodNotAllowed(f"Not allowed: {request.method} {request.url.path}.")
        refused.headers = [(b"allow", value.encode()) for value in [(error.headers or {}).get("Allow")] if value]
        raise refused from None
    if error.status_code == HTTPStatus.NOT_FOUND:
        raise NotFound(_not_found(request.method, request.url.path)) from None
    if error.status_code == HTTPStatus.BAD_REQUEST:
        # FastAPI's, for a body that its decoder gave up on: bytes that are no UTF-8, or too much nesting.
        raise InvalidRequest("The body is not valid JSON.", code="invalid_json") from None
    raise InvalidRequest(str(error.detail)) from None


def _not_found(method: str, path: str) -> str:
    """Return a sentence that helps where the path is one of OpenAI's that this model has nothing to say to."""
    for prefix, reason in _NOT_OFFERED.items():
        if path.startswith(prefix):
            return f"{path} is not offered: {reason}."
    return f"Unknown route: {method} {path}."


async def translate_validation_error(request: Request, error: Exception) -> Response:
    """Raise FastAPI's validation error as a 400 that names the first field; a body of another type as a 415."""
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        raise InvalidRequest("The body is not valid JSON.", code="invalid_json") from None
    if first["loc"] == ("body",) and first["type"] in _NO_OBJECT:
        require_json(request.scope["state"]["headers"])
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json") from None
    field = ".".join(str(part) for part in first["loc"][1:]) or None
    raise InvalidRequest(f"'{field or 'body'}': {first['msg']}.", param=field, code="invalid_value") from None
