"""Bodies that come before anybody knows from whom: bounded in size and time like all others, and tighter."""

from __future__ import annotations

import asyncio
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
        server=ServerSettings(body_timeout_seconds=0.2),
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
        await asyncio.sleep(5)

    assert (await nobody.post("/auth/login", content=slow())).status_code == 408


async def test_a_form_field_of_half_a_character_is_a_400(nobody: httpx.AsyncClient) -> None:
    form = b'--B\r\ncontent-disposition: form-data; name="\\ud800"\r\n\r\nx\r\n--B--\r\n'
    kind = "multipart/form-data; boundary=B; charset=raw_unicode_escape"
    headers = {"content-type": kind, "authorization": "Bearer k"}
    answer = await nobody.post("/v1/audio/transcriptions", content=form, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "?")
