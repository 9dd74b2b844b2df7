"""Continuous batching, paged attention and cancellation of the real engine, seen through the gateway."""

from __future__ import annotations

import concurrent.futures
import socket
import time

import httpx
import pytest

from tests.engine.vllm_metrics import KV_CACHE, RUNNING, value, wait_for_idle
from tests.fakes.stack import ServeProcess
from tests.flow.chat import payloads

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

PATH = "/v1/chat/completions"
STREAMS = 16
TOKENS = 160
NO_END = {"1": -100, "5": -100}
"""Keeps the model from ending its answer: the ids of `<eos>` and `<end_of_turn>`."""


def _stream(client: httpx.Client, number: int) -> float:
    """Read one stream to its end and return how long it took."""
    messages = [{"role": "user", "content": f"Count from {number}. " * 20}]
    body = {"model": "gemma-3n-demo", "messages": messages, "max_tokens": TOKENS, "stream": True, "logit_bias": NO_END}
    started = time.monotonic()
    text = client.post(PATH, json=body).raise_for_status().text
    assert payloads(text)[-1] == "[DONE]"
    return time.monotonic() - started


def test_sixteen_streams_share_the_engine_and_give_their_blocks_back(
    through: httpx.Client, direct: httpx.Client
) -> None:
    wait_for_idle(direct, 30)
    alone_seconds = _stream(through, 0)
    most_running = most_used = 0.0
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
        streams = [pool.submit(_stream, through, number) for number in range(STREAMS)]
        while not all(stream.done() for stream in streams):
            most_running = max(most_running, value(direct, RUNNING))
            most_used = max(most_used, value(direct, KV_CACHE))
            time.sleep(0.02)
    together_seconds = time.monotonic() - started
    assert [stream.exception() for stream in streams] == [None] * STREAMS
    assert most_running > STREAMS / 2
    assert together_seconds < alone_seconds * STREAMS / 2
    wait_for_idle(direct, 10)
    assert most_used > 0
    assert value(direct, KV_CACHE) == 0


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_engine_within_a_second(
    served: ServeProcess, direct: httpx.Client, stream: bool
) -> None:
    wait_for_idle(direct, 30)
    raw = httpx.Request(
        "POST",
        served.base_url + PATH,
        json={
            "model": "gemma-3n-demo",
            "messages": [{"role": "user", "content": "Write a long story."}],
            "max_tokens": 3000,
            "logit_bias": NO_END,
            "stream": stream,
        },
    )
    head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {served.key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(raw.content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(head.encode() + raw.content)
        deadline = time.monotonic() + 20
        while value(direct, RUNNING) == 0:
            assert time.monotonic() < deadline, "the request never reached the engine"
            time.sleep(0.01)
    wait_for_idle(direct, 1.0)
