"""The benchmark's requests have the headers that the openai SDK sends."""

from __future__ import annotations

import asyncio
import contextlib

import openai

from tests.bench.load import SDK_HEADERS

_OWN = {"host", "authorization", "content-length"}


async def head_of_a_request() -> list[str]:
    """Return the header lines that the SDK sends for a chat."""
    head: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head.set_result(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="k", max_retries=0) as client:
        with contextlib.suppress(openai.APIConnectionError):
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    return (await head).decode().split("\r\n")[1:-2]


async def test_the_bench_sends_what_the_sdk_sends() -> None:
    sent = [line.partition(":")[0] for line in await head_of_a_request()]
    assert [name for name in sent if name.lower() not in _OWN] == [line.partition(":")[0] for line in SDK_HEADERS]
