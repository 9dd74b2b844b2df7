"""The `openai` package from npm."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.clients.node_package import SCRIPT, node_with_openai
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

LONG: dict[str, Any] = {"tokens": 500, "itl_ms": 20}


@pytest.fixture(scope="module")
def node() -> str:
    """The path of node, with the package installed."""
    return node_with_openai()


@asynccontextmanager
async def running(node: str, gateway: GatewayProcess, what: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the script; its input is open until the end of the block."""
    environ = {**os.environ, "OPENAI_BASE_URL": f"{gateway.base_url}/v1", "OPENAI_API_KEY": gateway.key}
    process = await asyncio.create_subprocess_exec(
        *(node, str(SCRIPT), what, "fake"),
        env=environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Return the next object that the script prints."""
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    return line


async def printed(node: str, gateway: GatewayProcess, what: str) -> list[dict[str, Any]]:
    """Run the script to its end and return everything that it printed."""
    async with running(node, gateway, what) as process:
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


async def test_a_whole_answer_has_text_usage_and_our_request_id(node: str, gateway: GatewayProcess) -> None:
    [answer] = await printed(node, gateway, "unary")
    assert answer["content"] == "You said: one two"
    assert answer["usage"]["completion_tokens"] == 4
    assert answer["id"] == answer["request_id"]
    assert answer["id"].startswith("req_")
    assert answer["replica"]


async def test_a_stream_and_the_stream_helper_have_the_same_words_and_the_usage(
    node: str, gateway: GatewayProcess
) -> None:
    [answer] = await printed(node, gateway, "stream")
    assert answer["content"] == answer["helped"] == "You said: one two"
    assert answer["usage"]["completion_tokens"] == 4


async def test_an_abort_frees_the_engine(node: str, gateway: GatewayProcess, engine: EngineProcess) -> None:
    await engine.script("normal", **LONG)
    async with running(node, gateway, "abort") as process:
        assert await line_of(process) == {"first": "chat.completion.chunk"}
        await engine.eventually(running=0, aborted=1)
        assert process.returncode is None


async def test_a_timeout_is_its_own_class_and_frees_the_engine(
    node: str, gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await engine.script("hang", silent=True)
    async with running(node, gateway, "timeout") as process:
        assert await line_of(process) == {"timedOut": True}
        await engine.eventually(running=0, aborted=1)
        assert process.returncode is None


async def test_errors_are_the_packages_own_classes_with_the_request_id(node: str, gateway: GatewayProcess) -> None:
    errors = await printed(node, gateway, "errors")
    assert [(error["status"], error["code"], error["raised"]) for error in errors] == [
        (400, "invalid_value", True), (404, "model_not_found", True), (401, "invalid_api_key", True)
    ]  # fmt: skip
    assert all(error["requestID"].startswith("req_") for error in errors)


async def test_a_full_engine_is_asked_again_when_the_answer_says(
    node: str, gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await engine.script("refuse_503", times=-1)
    async with running(node, gateway, "retry") as process:
        wait_ms = int((await line_of(process))["refused"])
        await engine.reset()
        answer = await line_of(process)
    assert answer["content"] == "You said: one two"
    assert answer["counts"] == [["0", 503], ["1", 200]]
    assert wait_ms <= answer["milliseconds"] < wait_ms + 1500
