"""The real vLLM killed and frozen under a running stream: what the client sees, and how it comes back."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.stack import ServeProcess
from tests.flow.chat import payloads

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]

PATH = "/v1/chat/completions"
BACK_SECONDS = 240.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A `serve` of this file's own, whose engine counts as hung after a few seconds."""
    folder: Path = tmp_path_factory.mktemp("faults")
    settings = {
        "GEMMA_LIMITS__REQUESTS_PER_MINUTE": "0",
        "GEMMA_LIMITS__REQUESTS_PER_HOUR": "0",
        "GEMMA_ENGINE__HANG_SECONDS": "6",
        "GEMMA_STREAM__IDLE_TIMEOUT_SECONDS": "4",
    }
    made = ServeProcess(folder, settings)
    try:
        made.start()
        yield made
    finally:
        made.close()


class Stream(threading.Thread):
    """A long stream read in a thread; `text` is what has come."""

    def __init__(self, stack: ServeProcess) -> None:
        super().__init__()
        self._stack = stack
        self.text = ""

    def run(self) -> None:
        """Read to the end."""
        body = {
            "model": "gemma-3n-demo",
            "messages": [{"role": "user", "content": "Go on and on."}],
            "max_tokens": 3500,
            "logit_bias": {"1": -100, "5": -100},  # The model must not end its answer.
            "stream": True,
        }
        with (
            _client(self._stack) as client,
            client.stream("POST", PATH, json=body) as answer,
        ):
            for part in answer.iter_text():
                self.text += part

    def wait_for_content(self) -> None:
        """Return when some chunks have come."""
        deadline = time.monotonic() + 60
        while self.text.count("data: ") < 5:
            assert time.monotonic() < deadline, "no stream"
            time.sleep(0.02)


def _client(stack: ServeProcess) -> httpx.Client:
    headers = {"authorization": f"Bearer {stack.key}"}
    return httpx.Client(base_url=stack.base_url, headers=headers, timeout=60, trust_env=False)


def _status(stack: ServeProcess) -> dict[str, Any]:
    status: dict[str, Any] = httpx.get(f"{stack.status_url}/status", trust_env=False).json()
    return status


def _wait_until_ready(stack: ServeProcess, *, ready: bool) -> float:
    started = time.monotonic()
    with _client(stack) as client:
        while (client.get("/health/ready").status_code == 200) is not ready:
            assert time.monotonic() - started < BACK_SECONDS, f"/health/ready did not become {ready}"
            time.sleep(0.05)
    return time.monotonic() - started


def _chat_works(stack: ServeProcess) -> bool:
    body = {"model": "gemma-3n-demo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    with _client(stack) as client:
        return client.post(PATH, json=body).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["kill -9", "SIGSTOP"])
def test_a_lost_engine_is_an_error_event_and_comes_back_by_itself(stack: ServeProcess, number: signal.Signals) -> None:
    _wait_until_ready(stack, ready=True)
    before = _status(stack)
    stream = Stream(stack)
    stream.start()
    stream.wait_for_content()
    os.killpg(before["pid"], number)
    stream.join(timeout=60)
    assert not stream.is_alive()
    found = payloads(stream.text)
    assert "[DONE]" not in found
    assert json.loads(found[-1])["error"]["code"] in ("engine_error", "engine_timeout")
    _wait_until_ready(stack, ready=False)
    with _client(stack) as client:
        refused = client.post(PATH, json={"model": "gemma-3n-demo", "messages": [{"role": "user", "content": "x"}]})
    assert refused.status_code == 503
    assert "retry-after-ms" in refused.headers
    _wait_until_ready(stack, ready=True)
    after = _status(stack)
    assert after["pid"] != before["pid"]
    assert after["restarts"] == before["restarts"] + 1
    assert _chat_works(stack)
