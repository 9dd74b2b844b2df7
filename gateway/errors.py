"""Every way a request can be refused or fail, and the one translation into OpenAI's error envelope.

GatewayError                    500  server_error
├── InvalidRequest              400  invalid_request_error
│   ├── ContextTooLong          400  … code context_length_exceeded
│   ├── NeverFits               400  … code exceeds_token_limit
│   ├── BodyTooLarge            413
│   ├── UnsupportedMediaType    415
│   └── RequestTimeout          408
├── Unauthenticated             401  … code invalid_api_key
├── TooManyAttempts             429  … code too_many_failed_attempts
├── Forbidden                   403  … code permission_denied
├── NotFound                    404  … code not_found
│   ├── ModelNotFound           404  … code model_not_found
│   └── SessionNotFound         404  … code session_not_found
├── MethodNotAllowed            405
├── SessionBusy                 409  … code session_busy
├── RequestInProgress           409  … code request_in_progress
├── RateLimited                 429  type requests, code rate_limit_exceeded
│   ├── TokensLimited           429  type tokens, code rate_limit_exceeded
│   └── QuotaExhausted          429  insufficient_quota: will not refill soon, not to be retried
├── Overloaded                  503  service_unavailable_error, code server_is_overloaded
├── StoreDown                   503  … code store_unavailable
├── IssuerUnavailable           503  … code issuer_unavailable
├── InternalFault               500  server_error, code internal_error
└── EngineFailure               502  server_error, code engine_error
    ├── EngineUnreachable       503  … no byte of an answer came; another replica may be asked
    │   └── EngineDied          503  … with the request sent; it may be the request's doing
    ├── EngineRefused           503  … the engine said that it is full or going down; likewise
    ├── EngineBroke             502  … the answer was cut or was not HTTP
    ├── EngineErred             502  … the engine answered 5xx; it may be the request's doing
    └── EngineTimedOut          504  … code engine_timeout

Rooms raise these; `gateway/api/` turns them into responses. Envelope and status codes:
https://platform.openai.com/docs/guides/error-codes; what the SDKs do with `x-should-retry` and `retry-after-ms`:
openai-python `_base_client.py`.
"""

from __future__ import annotations

import math
from typing import ClassVar

from gateway.domain import Headers, JsonObject

_LONGEST_RETRY_HINT_MS = 60_000
"""SDKs before mid-2026 ignore a longer hint and come back at once, so the header never asks for more."""


class GatewayError(Exception):
    """The root. `message` is for the client: a sentence, free of anything internal."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str | None = None
    retryable: ClassVar[bool] = False
    """Whether the same request, sent again a little later, may succeed."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code
        self.retry_after_ms = retry_after_ms
        self.headers: Headers = []

    def envelope(self) -> JsonObject:
        """Return `{"error": {...}}` as OpenAI writes it."""
        param = None if self.param is None else _sayable(self.param)
        return {"error": {"message": _sayable(self.message), "type": self.type, "param": param, "code": self.code}}

    def response_headers(self) -> Headers:
        """Return the headers that tell an SDK whether and when to come back."""
        if not self.retryable:
            return [*self.headers, (b"x-should-retry", b"false")]
        if self.retry_after_ms is None:
            return [*self.headers]
        wait_ms = max(1, self.retry_after_ms)
        if wait_ms > _LONGEST_RETRY_HINT_MS:
            return [*self.headers, (b"x-should-retry", b"false"), *_retry_after(_LONGEST_RETRY_HINT_MS)]
        return [*self.headers, *_retry_after(wait_ms)]


def _sayable(text: str) -> str:
    """Return a text that UTF-8 has bytes for: a client's own words may hold half a character."""
    return text.encode("utf-8", "replace").decode()


def _retry_after(wait_ms: int) -> Headers:
    seconds = math.ceil(wait_ms / 1000)
    return [(b"retry-after-ms", str(wait_ms).encode()), (b"retry-after", str(seconds).encode())]


class InvalidRequest(GatewayError):
    """The request cannot be served as it is; `param` names the field."""

    status = 400
    type = "invalid_request_error"


class ContextTooLong(InvalidRequest):
    """Prompt and answer do not fit into the model's context."""

    code = "context_length_exceeded"


class NeverFits(InvalidRequest):
    """The prompt alone is more than a limit of the caller's ever allows."""

    code = "exceeds_token_limit"


class BodyTooLarge(InvalidRequest):
    """The body is larger than `server.max_body_bytes`."""

    status = 413
    code = "body_too_large"


class UnsupportedMediaType(InvalidRequest):
    """The body is not said to be JSON, or it is compressed."""

    status = 415
    code = "unsupported_media_type"


class RequestTimeout(InvalidRequest):
    """The client took too long to send its body."""

    status = 408
    code = "request_timeout"
    retryable = True


class Unauthenticated(GatewayError):
    """No credential, or one that does not hold."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    def response_headers(self) -> Headers:
        """As the root does, with the challenge of RFC 6750 §3."""
        return [*super().response_headers(), (b"www-authenticate", b"Bearer")]


class TooManyAttempts(GatewayError):
    """A credential that does not hold, from an address that showed too many such. A good one would have passed."""

    status = 429
    type = "invalid_request_error"
    code = "too_many_failed_attempts"
    retryable = True


class Forbidden(GatewayError):
    """A good credential that does not allow this."""

    status = 403
    type = "invalid_request_error"
    code = "permission_denied"


class NotFound(GatewayError):
    """Nothing is here for this caller."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    """No engine serves this model."""

    code = "model_not_found"


class SessionNotFound(NotFound):
    """No such session, or another user's: the two cannot be told apart."""

    code = "session_not_found"


class MethodNotAllowed(GatewayError):
    """The path exists, the method does not."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class SessionBusy(GatewayError):
    """Another message to this session is being answered."""

    status = 409
    type = "invalid_request_error"
    code = "session_busy"
    retryable = True


class RequestInProgress(GatewayError):
    """A request with the same Idempotency-Key is being answered."""

    status = 409
    type = "invalid_request_error"
    code = "request_in_progress"
    retryable = True


class RateLimited(GatewayError):
    """The caller's own limit is used up."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"
    retryable = True


class TokensLimited(RateLimited):
    """The caller's own tokens are used up."""

    type = "tokens"


class QuotaExhausted(RateLimited):
    """The caller's own limit is used up for so long that waiting for it is no use."""

    type = "insufficient_quota"
    code = "insufficient_quota"
    retryable = False


class Overloaded(GatewayError):
    """Our capacity is used up, or no engine is there."""

    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"
    retryable = True


class StoreDown(GatewayError):
    """Redis is away and this request cannot do without it. `sent`: it may have got the call all the same."""

    status = 503
    type = "service_unavailable_error"
    code = "store_unavailable"
    retryable = True
    sent = True


class IssuerUnavailable(GatewayError):
    """The token may be good, but the keys of its issuer cannot be fetched."""

    status = 503
    type = "service_unavailable_error"
    code = "issuer_unavailable"
    retryable = True


class InternalFault(GatewayError):
    """A fault of ours. The log has the rest; the client gets the request id to name it by."""

    code = "internal_error"
    retryable = True


class EngineFailure(GatewayError):
    """The engine did not do its part. `again` says whether another replica may be asked, if nothing was forwarded."""

    def __init__(self, message: str, *, param: str | None = None, retry_after_ms: int | None = 1000) -> None:
        super().__init__(message, param=param, retry_after_ms=retry_after_ms)

    status = 502
    code = "engine_error"
    retryable = True
    again: ClassVar[bool] = False
    suspect: ClassVar[bool] = False
    """Whether the request itself may have done it: such a one is not tried at a third engine."""


class EngineUnreachable(EngineFailure):
    """No connection, or it was closed before a byte of an answer."""

    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"
    again = True


class EngineDied(EngineUnreachable):
    """The engine had the request and closed the connection without a byte of an answer."""

    suspect = True


class EngineRefused(EngineFailure):
    """The engine is full or shutting down."""

    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"
    again = True


class EngineBroke(EngineFailure):
    """The answer ended too early or was not what HTTP allows."""

    again = True


class EngineErred(EngineFailure):
    """The engine says that it failed."""

    again = True
    suspect = True


class EngineTimedOut(EngineFailure):
    """The engine was silent for too long."""

    status = 504
    code = "engine_timeout"
