"""The scripted engine writes what vLLM 0.32 wrote when it was recorded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fakes import vllm_bytes as vllm

RECORDINGS = Path(__file__).parents[1] / "fakes" / "recordings"


def recorded(name: str) -> bytes:
    """Return a recording with what differs each time taken out."""
    raw = (RECORDINGS / f"{name}.http").read_bytes().replace(b"connection: close\r\n", b"")
    raw = re.sub(rb"date: [^\r]+\r\n", b"date: Mon, 01 Jan 2026 00:00:00 GMT\r\n", raw)
    raw = re.sub(rb"vllm-0.32.0-[0-9a-f]+", vllm.FINGERPRINT.encode(), raw)
    return re.sub(rb'"created":\d+', b'"created":%d' % vllm.CREATED, raw)


def made(stream: bool, usage: bool, continuous: bool) -> vllm.Generation:
    """Return the generation that was recorded."""
    tokens = ("\n", "ench", "sess", "早")
    return vllm.Generation(
        "req_abc123", "gemma-3n-demo", True, stream, usage, continuous, 1, 11, tokens, "length"
    )  # fmt: skip


def test_an_answer_that_is_not_streamed_is_byte_for_byte_vllms() -> None:
    assert recorded("unary") == vllm.response(200, vllm.unary_body(made(False, False, False)))


@pytest.mark.parametrize(
    ("name", "usage", "continuous"),
    [("stream", True, True), ("stream_usage_last", True, False), ("stream_no_usage", False, False)],
)
def test_a_stream_is_byte_for_byte_vllms(name: str, usage: bool, continuous: bool) -> None:
    events = vllm.stream_events(made(True, usage, continuous))
    assert recorded(name) == vllm.stream_head() + b"".join(events) + vllm.LAST_CHUNK


def test_a_full_queue_gets_vllms_error() -> None:
    assert recorded("error_queue_full") == vllm.json_response(503, vllm.admission_error())


def test_an_error_within_a_stream_is_byte_for_byte_vllms() -> None:
    message = (
        "token_id(s) [100000] in stop_token_ids contain out-of-vocab token ids. "
        "Vocabulary size: 3072 (parameter=stop_token_ids, value=[100000])"
    )
    event = vllm.stream_error_event(vllm.error(400, message, "BadRequestError", "stop_token_ids"))
    assert recorded("stream_error") == vllm.stream_head() + event + vllm.event(b"[DONE]") + vllm.LAST_CHUNK


def test_an_image_for_a_model_without_eyes_gets_vllms_error() -> None:
    error = vllm.media_error("image", "gemma-3n-demo", [])
    assert recorded("error_media") == vllm.json_response(400, error)


def test_an_unknown_model_gets_vllms_error() -> None:
    error = vllm.unknown_model("no-such-model", "gemma-3n-demo")
    assert recorded("error_model") == vllm.json_response(404, error)
