"""Bodies that come before anybody knows from whom: bounded in size and time like all others, and tighter.

And bodies that are not what was asked for, from whomever they come.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from config import AuthSettings, EngineSettings, RedisSettings, ServerSettings, Settings
from gateway.app import create_app


@pytest.fixture
async def nobody(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a credential."""
    settings = Settings(
        auth=AuthSettings(api_key=SecretStr("k")),
        engine=EngineSettings(max_audios=1),
        server=ServerSettings(body_timeout_seconds=2.0),
        redis=RedisSettings(url=SecretStr("unix:///none")),
        data_dir=tmp_path,
    )
    transport = httpx.ASGITransport(create_app(settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


@pytest.mark.parametrize("path", ["/auth/login", "/health"])
async def test_nobody_can_make_it_hold_a_large_body(nobody: httpx.AsyncClient, path: str) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while given < 50_000_000:
            given += 65_536
            yield b"x" * 65_536

    answer = await nobody.post(path, content=endless())
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "invalid_request_error")
    assert given < 1_000_000


async def test_a_login_code_is_not_waited_for_for_ever(nobody: httpx.AsyncClient) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    assert (await nobody.post("/auth/login", content=slow())).status_code == 408


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/audio/transcriptions", "/v1/tokenize", "/auth/login"])
@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "GZIP", "x"])
async def test_a_compressed_body_is_refused_by_its_header(nobody: httpx.AsyncClient, path: str, coding: str) -> None:
    kind = "multipart/form-data; boundary=B" if "audio" in path else "application/json"
    headers = {"content-encoding": coding, "content-type": kind, "authorization": "Bearer k"}
    answer = await nobody.post(path, content=gzip.compress(b"{}"), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert "Content-Encoding" in answer.json()["error"]["message"]
    assert (answer.headers["accept-encoding"], answer.headers["x-should-retry"]) == ("identity", "false")


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
async def test_a_body_that_is_said_to_be_as_it_is_is_read(nobody: httpx.AsyncClient, coding: str) -> None:
    headers = {"content-encoding": coding, "authorization": "Bearer k"}
    answer = await nobody.post("/v1/chat/completions", content=b"[]", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


async def test_a_form_field_of_half_a_character_is_a_400(nobody: httpx.AsyncClient) -> None:
    form = b'--B\r\ncontent-disposition: form-data; name="\\ud800"\r\n\r\nx\r\n--B--\r\n'
    kind = "multipart/form-data; boundary=B; charset=raw_unicode_escape"
    headers = {"content-type": kind, "authorization": "Bearer k"}
    answer = await nobody.post("/v1/audio/transcriptions", content=form, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "?")
