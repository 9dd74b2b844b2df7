"""An engine's errors become ours, with what the client can act on and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import (
    ContextTooLong,
    EngineErred,
    EngineFailure,
    EngineRefused,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
)
from gateway.upstream.refusal import refusal, refusal_in_stream
from tests.unit.gateway.upstream import recordings


@pytest.mark.parametrize(
    ("name", "kind", "param"),
    [
        ("error_context", ContextTooLong, "messages"),
        ("error_field", InvalidRequest, "temperature"),
        ("error_json", InvalidRequest, "body.10"),
        ("error_max_tokens", ContextTooLong, "messages"),
        ("error_media", InvalidRequest, None),
        ("error_model", ModelNotFound, "model"),
        ("error_roles", InvalidRequest, None),
    ],
)
def test_a_recorded_error_becomes_ours(name: str, kind: type[GatewayError], param: str | None) -> None:
    status, body = recordings.answer(name)
    error = refusal(status, body)
    assert type(error) is kind
    assert error.param == param
    assert error.message == json.loads(body)["error"]["message"]
    assert isinstance(error.envelope()["error"]["code"], str)


def test_every_recorded_error_is_tested() -> None:
    refused = ("error_context", "error_field", "error_json", "error_max_tokens", "error_media", "error_model")
    assert [*recordings.ERRORS] == [*refused, "error_queue_full", "error_roles"]


def test_a_full_engine_is_one_that_refused() -> None:
    error = refusal(*recordings.answer("error_queue_full"))
    assert isinstance(error, EngineRefused)
    assert error.retry_after_ms


def test_an_error_recorded_in_a_stream_becomes_ours() -> None:
    error = refusal_in_stream(recordings.payloads("stream_error")[0])
    assert isinstance(error, InvalidRequest)
    assert error.param == "stop_token_ids"


@pytest.mark.parametrize(
    ("status", "kind", "again"),
    [
        (400, InvalidRequest, None),
        (401, EngineFailure, False),
        (403, EngineFailure, False),
        (404, ModelNotFound, None),
        (413, EngineFailure, False),
        (422, InvalidRequest, None),
        (429, EngineRefused, True),
        (500, EngineErred, True),
        (501, EngineErred, True),
        (502, EngineErred, True),
        (503, EngineRefused, True),
        (504, EngineErred, True),
        (301, EngineFailure, False),
        (204, EngineFailure, False),
    ],
)
def test_a_status_decides_what_it_means(status: int, kind: type[GatewayError], again: bool | None) -> None:
    error = refusal(status, b"")
    assert type(error) is kind
    assert error.message.endswith(".")
    if isinstance(error, EngineFailure):
        assert error.again is again
        assert error.retry_after_ms


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_what_an_engine_says_of_its_own_troubles_is_not_passed_on(status: int) -> None:
    body = json.dumps({"error": {"message": "Traceback: /srv/secret.py", "param": "x", "code": status}}).encode()
    assert "secret" not in json.dumps(refusal(status, body).envelope())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"\xff",
        b"[]",
        b"null",
        b'{"error": null}',
        b'{"error": "text"}',
        b'{"error": {"message": 5}}',
        b"[" * 9000,
    ],
)
@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_an_error_that_is_not_readable_is_one_all_the_same(status: int, body: bytes) -> None:
    error = refusal(status, body)
    assert error.message
    assert error.status >= 400


def test_an_older_error_without_an_envelope_is_read() -> None:
    error = refusal(400, b'{"object": "error", "message": "No.", "param": "n", "code": 400}')
    assert (error.message, error.param) == ("No.", "n")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["error", "code", "message"]), inner),
    max_leaves=6,
)


@given(st.integers(min_value=100, max_value=599), JSON)
def test_any_answer_is_an_error_that_can_be_shown(status: int, body: Any) -> None:
    error = refusal(status, json.dumps(body).encode("utf-8", "surrogatepass"))
    json.dumps(error.envelope())
    assert 400 <= error.status < 600
