"""What the Sentinels say is counted: most of all that are configured must say that a master is one no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress

import pytest

from gateway.store import sentinel
from gateway.store.address import Address, Who
from gateway.store.sentinel import MasterUnknown, Sentinels
from tests.fakes.ports import free_port

OLD, NEW = b"*2\r\n$3\r\nold\r\n$4\r\n6379\r\n", b"*2\r\n$3\r\nnew\r\n$4\r\n6379\r\n"
SILENT = None
ADDRESS = Address(Who(), "old", 6379)


@asynccontextmanager
async def saying(*replies: bytes | None) -> AsyncIterator[Sentinels]:
    """Run a Sentinel for each reply, which says that and nothing else; one that is silent is not there."""

    async def serve(reply: bytes) -> int:
        answers: set[asyncio.Task[None] | None] = set()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answers.add(asyncio.current_task())
            with suppress(ConnectionError), closing(writer):
                await reader.read(4096)
                writer.write(reply)
                await reader.read()

        async def end() -> None:
            # A connection that outlives its loop is a warning of the collector, in whatever test runs by then.
            server.close()
            await asyncio.gather(*filter(None, answers))

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        stack.push_async_callback(end)
        return int(server.sockets[0].getsockname()[1])

    async with AsyncExitStack() as stack:
        ports = [free_port() if reply is SILENT else await serve(reply) for reply in replies]
        yield Sentinels(tuple(("127.0.0.1", port) for port in ports), "main", patience_seconds=2)


@pytest.mark.parametrize(
    ("replies", "leaves"),
    [
        ((NEW, NEW, OLD), True),
        ((SILENT, NEW, NEW), True),
        ((NEW,), True),
        ((NEW, OLD, OLD), False),
        ((NEW, SILENT, SILENT), False),
        ((NEW, OLD, SILENT), False),
        ((SILENT, SILENT, SILENT), False),
    ],
)
async def test_a_master_is_left_when_most_of_all_sentinels_name_another(
    monkeypatch: pytest.MonkeyPatch, replies: Sequence[bytes | None], leaves: bool
) -> None:
    monkeypatch.setattr(sentinel, "_LOOK_SECONDS", 0.01)
    async with saying(*replies) as sentinels:
        replaced = asyncio.ensure_future(sentinels.replaced(ADDRESS))
        done, _ = await asyncio.wait([replaced], timeout=10 if leaves else 0.3)
        assert bool(done) == leaves
        replaced.cancel()
        await asyncio.wait([replaced])


@pytest.mark.parametrize(
    "reply", [b"*0\r\n", b"*2\r\n:1\r\n:2\r\n", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b":5\r\n", b"-ERR\r\n"]
)
async def test_a_sentinel_that_answers_nonsense_says_nothing(reply: bytes) -> None:
    async with saying(reply, OLD, SILENT) as sentinels:
        assert await sentinels.located(Address(Who(), "main")) == ADDRESS
    async with saying(reply) as sentinels:
        with pytest.raises(MasterUnknown):
            await sentinels.located(ADDRESS)
