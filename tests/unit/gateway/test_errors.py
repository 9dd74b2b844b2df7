"""One tree of errors, each of which knows how it looks to an OpenAI SDK."""

from __future__ import annotations

import re

import pytest

from gateway import errors
from gateway.domain import Headers
from gateway.errors import (
    BodyTooLarge,
    ContextTooLong,
    EngineBroke,
    EngineDied,
    EngineErred,
    EngineFailure,
    EngineRefused,
    EngineTimedOut,
    EngineUnreachable,
    Forbidden,
    GatewayError,
    InternalFault,
    InvalidRequest,
    IssuerUnavailable,
    MethodNotAllowed,
    ModelNotFound,
    NeverFits,
    NotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestInProgress,
    RequestTimeout,
    SessionBusy,
    SessionNotFound,
    StoreDown,
    TokensLimited,
    TooManyAttempts,
    Unauthenticated,
    UnsupportedMediaType,
)

# class, status, type, code, may be sent again
TABLE: list[tuple[type[GatewayError], int, str, str | None, bool]] = [
    (GatewayError, 500, "server_error", None, False),
    (InvalidRequest, 400, "invalid_request_error", None, False),
    (ContextTooLong, 400, "invalid_request_error", "context_length_exceeded", False),
    (NeverFits, 400, "invalid_request_error", "exceeds_token_limit", False),
    (BodyTooLarge, 413, "invalid_request_error", "body_too_large", False),
    (UnsupportedMediaType, 415, "invalid_request_error", "unsupported_media_type", False),
    (RequestTimeout, 408, "invalid_request_error", "request_timeout", True),
    (Unauthenticated, 401, "invalid_request_error", "invalid_api_key", False),
    (TooManyAttempts, 429, "invalid_request_error", "too_many_failed_attempts", True),
    (Forbidden, 403, "invalid_request_error", "permission_denied", False),
    (NotFound, 404, "invalid_request_error", "not_found", False),
    (ModelNotFound, 404, "invalid_request_error", "model_not_found", False),
    (SessionNotFound, 404, "invalid_request_error", "session_not_found", False),
    (MethodNotAllowed, 405, "invalid_request_error", "method_not_allowed", False),
    (SessionBusy, 409, "invalid_request_error", "session_busy", True),
    (RequestInProgress, 409, "invalid_request_error", "request_in_progress", True),
    (RateLimited, 429, "requests", "rate_limit_exceeded", True),
    (TokensLimited, 429, "tokens", "rate_limit_exceeded", True),
    (QuotaExhausted, 429, "insufficient_quota", "insufficient_quota", False),
    (Overloaded, 503, "service_unavailable_error", "server_is_overloaded", True),
    (StoreDown, 503, "service_unavailable_error", "store_unavailable", True),
    (IssuerUnavailable, 503, "service_unavailable_error", "issuer_unavailable", True),
    (InternalFault, 500, "server_error", "internal_error", True),
    (EngineFailure, 502, "server_error", "engine_error", True),
    (EngineUnreachable, 503, "service_unavailable_error", "server_is_overloaded", True),
    (EngineDied, 503, "service_unavailable_error", "server_is_overloaded", True),
    (EngineErred, 502, "server_error", "engine_error", True),
    (EngineRefused, 503, "service_unavailable_error", "server_is_overloaded", True),
    (EngineBroke, 502, "server_error", "engine_error", True),
    (EngineTimedOut, 504, "server_error", "engine_timeout", True),
]


def family(root: type[GatewayError]) -> set[type[GatewayError]]:
    """Return a class and all that come from it."""
    return {root}.union(*(family(child) for child in root.__subclasses__()))


def test_the_table_of_this_test_has_every_error() -> None:
    assert {row[0] for row in TABLE} == family(GatewayError)


@pytest.mark.parametrize(("kind", "status", "error_type", "code", "retryable"), TABLE)
def test_an_error_knows_its_status_type_code_and_whether_to_come_back(
    kind: type[GatewayError], status: int, error_type: str, code: str | None, retryable: bool
) -> None:
    assert (kind.status, kind.type, kind.code, kind.retryable) == (status, error_type, code, retryable)
    assert kind("What went wrong.", param="field").envelope() == {
        "error": {"message": "What went wrong.", "type": error_type, "param": "field", "code": code}
    }


@pytest.mark.parametrize("kind", sorted(family(GatewayError), key=str))
def test_the_tree_in_the_docstring_has_every_class_under_its_parent_with_its_status(kind: type[GatewayError]) -> None:
    lines = (errors.__doc__ or "").splitlines()
    drawn = {}
    path: dict[int, str] = {}
    for line in lines:
        found = re.match(r"([│├└─ ]*)(\w+) +(\d{3})\b", line)
        if found:
            depth = len(found[1])
            path[depth] = found[2]
            drawn[found[2]] = (path.get(depth - 4), int(found[3]))
    parent = kind.__base__.__name__ if kind is not GatewayError and kind.__base__ else None
    assert drawn[kind.__name__] == (parent, kind.status)
    assert set(drawn) == {each.__name__ for each in family(GatewayError)}


def test_only_what_another_engine_can_make_good_may_be_asked_of_it() -> None:
    again = {kind for kind in family(EngineFailure) if issubclass(kind, EngineFailure) and kind.again}
    assert again == {EngineUnreachable, EngineDied, EngineRefused, EngineBroke, EngineErred}
    suspect = {kind for kind in family(EngineFailure) if issubclass(kind, EngineFailure) and kind.suspect}
    assert suspect == {EngineDied, EngineErred}


def test_a_request_may_bring_its_own_code() -> None:
    assert InvalidRequest("No.", code="invalid_json").envelope()["error"]["code"] == "invalid_json"
    assert ContextTooLong("No.").envelope()["error"]["code"] == "context_length_exceeded"


def test_an_error_reads_as_its_message() -> None:
    assert str(Overloaded("Full.")) == "Full."


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidRequest("No.", retry_after_ms=5), [(b"x-should-retry", b"false")]),
        (Overloaded("No."), []),
        (Overloaded("No.", retry_after_ms=1), [(b"retry-after-ms", b"1"), (b"retry-after", b"1")]),
        (Overloaded("No.", retry_after_ms=0), [(b"retry-after-ms", b"1"), (b"retry-after", b"1")]),
        (Overloaded("No.", retry_after_ms=-7), [(b"retry-after-ms", b"1"), (b"retry-after", b"1")]),
        (Overloaded("No.", retry_after_ms=1500), [(b"retry-after-ms", b"1500"), (b"retry-after", b"2")]),
        (Overloaded("No.", retry_after_ms=60_000), [(b"retry-after-ms", b"60000"), (b"retry-after", b"60")]),
        (
            RateLimited("No.", retry_after_ms=60_001),
            [(b"x-should-retry", b"false"), (b"retry-after-ms", b"60000"), (b"retry-after", b"60")],
        ),
        (Unauthenticated("No."), [(b"x-should-retry", b"false"), (b"www-authenticate", b"Bearer")]),
    ],
)
def test_headers_say_whether_and_when_to_come_back(error: GatewayError, expected: Headers) -> None:
    assert error.response_headers() == expected


@pytest.mark.parametrize("retry_after_ms", [None, 10, 100_000])
def test_an_errors_own_headers_come_first(retry_after_ms: int | None) -> None:
    error = RateLimited("No.", retry_after_ms=retry_after_ms)
    error.headers = [(b"x-ratelimit-remaining-requests", b"0")]
    assert error.response_headers()[0] == (b"x-ratelimit-remaining-requests", b"0")


def test_what_a_caller_adds_to_the_headers_does_not_stay_in_the_error() -> None:
    error = Overloaded("No.")
    error.response_headers().append((b"x", b"y"))
    assert error.response_headers() == []


def test_headers_of_two_errors_are_two_lists() -> None:
    one, other = Overloaded("No."), Overloaded("No.")
    one.headers.append((b"x", b"y"))
    assert other.headers == []
