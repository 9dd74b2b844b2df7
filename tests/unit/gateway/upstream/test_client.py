"""What the kernel is told of a connection to an engine. What the client promises is in `tests/contract/`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from gateway.domain import EngineRequest, Replica
from gateway.upstream.client import EngineConnections


async def options_of_a_connection() -> list[int]:
    """Return how a connection's other end is looked for."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    client = EngineConnections()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        replica = Replica("r", "127.0.0.1", server.sockets[0].getsockname()[1])
        (await client.open(replica, EngineRequest("GET", "/", b""))).close()
        (connection,) = client._pool._open
        used: socket.socket = connection.transport.get_extra_info("socket")
        times = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        found = [used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)]
        found += [used.getsockopt(socket.IPPROTO_TCP, each) for each in times]
        await client.aclose()
    return found


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_machine_that_is_gone_without_a_word_is_noticed(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    # By what the kernel is told: no test can pull a cable.
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(options_of_a_connection()) == [1, 5, 5, 3, 30_000]
