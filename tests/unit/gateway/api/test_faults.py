"""Errors that nobody translated: told in OpenAI's shape, their trace in the log alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import structlog
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import SecretStr

from config import AuthSettings, RedisSettings, Settings
from gateway.app import create_app
from gateway.errors import EngineBroke

SECRET = "the inner workings"


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    """A gateway with a route that fails."""
    settings = Settings(
        auth=AuthSettings(api_key=SecretStr("k")), redis=RedisSettings(url=SecretStr("unix:///none")), data_dir=tmp_path
    )
    made = create_app(settings)

    @made.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError(SECRET)

    @made.get("/v1/breaks-off")
    async def breaks_off() -> StreamingResponse:
        return StreamingResponse(begun())

    return made


async def begun() -> AsyncIterator[bytes]:
    """Yield a beginning, and fail."""
    yield b"a beginning"
    raise EngineBroke("The rest is missing.")


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that gateway."""
    transport = httpx.ASGITransport(app)
    headers = {"authorization": "Bearer k"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as made:
        yield made


async def test_an_unhandled_error_is_a_500_without_a_word_of_its_cause(client: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs() as logs:
        response = await client.get("/v1/broken")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert response.json()["error"]["type"] == "server_error"
    assert SECRET not in response.text
    assert response.headers["x-request-id"] in response.json()["error"]["message"]
    assert "unhandled_error" in [log["event"] for log in logs]


async def test_it_is_counted_as_a_fault_of_ours(capsys: pytest.CaptureFixture[str], client: httpx.AsyncClient) -> None:
    await client.get("/v1/broken")
    written = capsys.readouterr().out.splitlines()
    (line,) = [json.loads(line) for line in written if line.startswith('{"event":"request"')]
    assert (line["status"], line["outcome"], line["error"]) == (500, "failed", "internal_error")


async def test_an_error_after_the_head_ends_the_answer_and_is_no_second_one(client: httpx.AsyncClient) -> None:
    with pytest.raises(EngineBroke, match=r"The rest is missing\."):
        await client.get("/v1/breaks-off")
