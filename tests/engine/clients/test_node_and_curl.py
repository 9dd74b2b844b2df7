"""The `openai` package from npm and curl against the real engine, as the README shows them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.node_package import SCRIPT, node_with_openai
from tests.fakes.stack import ServeProcess

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

README = Path(__file__).resolve().parents[3] / "README.md"


def printed(served: ServeProcess, what: str) -> list[dict[str, Any]]:
    """Return what the script prints when it talks to the gateway."""
    environ = {**os.environ, "OPENAI_BASE_URL": f"{served.base_url}/v1", "OPENAI_API_KEY": served.key}
    command = [node_with_openai(), str(SCRIPT), what, "gemma-3n-demo"]
    done = subprocess.run(
        command, env={**environ, "NO_PROXY": "127.0.0.1"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_node_gets_a_whole_answer_with_usage_and_our_request_id(served: ServeProcess) -> None:
    [answer] = printed(served, "unary")
    assert answer["content"]
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["request_id"].startswith("req_")


def test_node_streams_with_the_usage_and_its_helper_has_the_whole(served: ServeProcess) -> None:
    [answer] = printed(served, "stream")
    assert answer["content"]
    assert answer["helped"]
    assert answer["usage"]["completion_tokens"] > 0


def test_nodes_abort_ends_the_stream_after_its_first_chunk(served: ServeProcess) -> None:
    assert printed(served, "abort") == [{"first": "chat.completion.chunk"}]


def test_nodes_errors_are_the_packages_own_classes(served: ServeProcess) -> None:
    told = [(error["status"], error["code"], error["raised"]) for error in printed(served, "errors")]
    expected = [(400, "invalid_value"), (404, "model_not_found"), (401, "invalid_api_key")]
    assert told == [(*each, True) for each in expected]


@pytest.mark.parametrize("stream", [False, True])
def test_the_readmes_curl_answers_whole_and_streamed(served: ServeProcess, tmp_path: Path, stream: bool) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    found = re.search(r"With \*\*curl\*\*:\n\n```sh run\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    key = tmp_path / ".local/share/gemma-gateway/key"
    key.parent.mkdir(parents=True)
    key.write_text(f"{served.key}\n", encoding="utf-8")
    command = found[1].replace("http://127.0.0.1:8000", served.base_url)
    command = command.replace("{", '{"stream": true, ', 1) if stream else command
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "NO_PROXY": "*"}
    done = subprocess.run(["bash", "-c", command], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    if stream:
        assert done.stdout.strip().split("\n\n")[-1] == "data: [DONE]"
    else:
        assert json.loads(done.stdout)["choices"][0]["message"]["content"]
