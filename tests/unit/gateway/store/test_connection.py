"""One connection against a server that says what the test tells it to: every call ends, and with its own reply."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from hiredis import ProtocolError

from gateway.errors import StoreDown
from gateway.store.address import Address, Listener, Patience, Who
from gateway.store.command import Unusable, pack
from gateway.store.connection import Connection

SILENCE_SECONDS = 1.0
CONNECT_SECONDS = 2.0
SLACK_SECONDS = 2.0
"""What a busy machine may add before a bound of time counts as broken."""
PING = pack(("PING",))


pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture:DeprecationWarning")


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """The loop of the tests and the loop of production."""
    policy: asyncio.AbstractEventLoopPolicy = request.param()
    return policy


class Server:
    """Accepts on a unix socket; the test reads and writes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand a new connection to the test."""
        self.writers.append(writer)
        self.accepted.put_nowait((reader, writer))


class Owner:
    """What a Store would be: it is told what becomes of its connections."""

    def __init__(self, server: Server) -> None:
        self.answered = 0
        self.lost: list[Exception] = []
        self.opened: list[Connection] = []
        self._server = server

    def open(self, patience: Patience | None = None, who: Who | None = None) -> Connection:
        """Open a connection; patient, as the machine may be busy."""
        address = Address(who or Who(), path=self._server.path)
        connection = Connection(address, patience or Patience(20, 20), Listener(self._answer, self.lost.append, _error))
        self.opened.append(connection)
        return connection

    def _answer(self) -> None:
        self.answered += 1


def _error(text: str) -> Exception:
    return Unusable(text) if text.startswith("LOADING") else ValueError(text)


IMPATIENT = Patience(CONNECT_SECONDS, SILENCE_SECONDS)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server of the test's own."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = Server(str(Path(folder) / "s"))
        listening = await asyncio.start_unix_server(server.accept, server.path)
        yield server
        listening.close()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
async def owner(server: Server) -> AsyncIterator[Owner]:
    """An owner, whose connections are closed in the end."""
    owner = Owner(server)
    yield owner
    for connection in owner.opened:
        connection.connection_lost(None)
        await connection.aclose()


async def down(*futures: asyncio.Future[object]) -> None:
    """Check that all calls are told that Redis is away."""
    assert {type(each) for each in await asyncio.wait_for(asyncio.gather(*futures), 10)} == {StoreDown}


# Replies.


async def test_a_reply_in_pieces_is_one_reply(server: Server, owner: Owner) -> None:
    call = owner.open().send(PING)
    _, writer = await server.accepted.get()
    for byte in b"*3\r\n$5\r\na\r\nbc\r\n*1\r\n:-7\r\n$-1\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    assert await call == [b"a\r\nbc", [-7], None]


async def test_replies_in_one_piece_go_to_their_calls(server: Server, owner: Owner) -> None:
    connection = owner.open()
    calls = [connection.send(PING) for _ in range(3)]
    reader, writer = await server.accepted.get()
    assert await reader.readexactly(3 * len(PING)) == 3 * PING
    writer.write(b"+a\r\n-ERR b\r\n$3\r\nc")
    assert await calls[0] == b"a"
    assert isinstance(await calls[1], ValueError)
    assert not calls[2].done()
    writer.write(b"cc\r\n")
    assert await calls[2] == b"ccc"
    assert (owner.answered, owner.lost) == (1, [])


async def test_the_reply_of_a_caller_that_left_is_given_to_nobody(server: Server, owner: Owner) -> None:
    connection = owner.open()
    calls = [connection.send(PING) for _ in range(2)]
    calls[0].cancel()
    _, writer = await server.accepted.get()
    writer.write(b"+a\r\n+b\r\n")
    assert await calls[1] == b"b"


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00", b"$x\r\n", b"*-7\r\n"])
async def test_garbage_ends_the_connection(server: Server, owner: Owner, garbage: bytes) -> None:
    connection = owner.open()
    calls = [connection.send(PING) for _ in range(3)]
    reader, writer = await server.accepted.get()
    await reader.readexactly(3 * len(PING))
    writer.write(b"+a\r\n" + garbage)
    assert await calls[0] == b"a"
    await down(*calls[1:])
    assert connection.closed
    assert [type(error) for error in owner.lost] == [ProtocolError]
    assert await reader.read() == b""


async def test_a_reply_that_nobody_asked_for_is_not_given_to_the_next_call(server: Server, owner: Owner) -> None:
    connection = owner.open()
    call = connection.send(PING)
    _, writer = await server.accepted.get()
    writer.write(b"+a\r\n")
    assert await call == b"a"
    call = connection.send(PING)
    connection.data_received(b"+b\r\n")
    await down(call)
    assert connection.closed


async def test_a_redis_that_answers_no_call_at_all_ends_the_connection(server: Server, owner: Owner) -> None:
    connection = owner.open()
    calls = [connection.send(PING) for _ in range(2)]
    _, writer = await server.accepted.get()
    writer.write(b"-LOADING Redis is loading the dataset in memory\r\n")
    await down(*calls)
    assert connection.closed
    assert [type(error) for error in owner.lost] == [Unusable]


# Cut.


async def test_a_connection_that_is_cut_within_a_reply_loses_what_has_none(server: Server, owner: Owner) -> None:
    connection = owner.open()
    calls = [connection.send(PING) for _ in range(5)]
    reader, writer = await server.accepted.get()
    await reader.readexactly(5 * len(PING))
    writer.write(b"+a\r\n+b\r\n$5\r\nhel")
    await writer.drain()
    writer.close()
    assert [await call for call in calls[:2]] == [b"a", b"b"]
    await down(*calls[2:])
    assert connection.closed
    assert len(owner.lost) == 1


async def test_an_idle_connection_that_is_cut_is_closed_and_no_failure(server: Server, owner: Owner) -> None:
    connection = owner.open()
    call = connection.send(PING)
    _, writer = await server.accepted.get()
    writer.write(b"+a\r\n")
    await call
    writer.close()
    async with asyncio.timeout(10):
        while not connection.closed:
            await asyncio.sleep(0.01)
    assert owner.lost == []


async def test_where_nobody_listens_every_call_is_told(server: Server, owner: Owner) -> None:
    server.path += "x"
    connection = owner.open()
    await down(*(connection.send(PING) for _ in range(3)))
    assert [type(error) for error in owner.lost] == [FileNotFoundError]


# Late.


async def test_a_call_without_a_reply_ends_in_time_and_its_late_reply_goes_nowhere(
    server: Server, owner: Owner
) -> None:
    connection = owner.open(IMPATIENT)
    started = time.perf_counter()
    calls = [connection.send(PING) for _ in range(3)]
    reader, writer = await server.accepted.get()
    await down(*calls)
    assert SILENCE_SECONDS * 0.9 <= time.perf_counter() - started < SILENCE_SECONDS + SLACK_SECONDS
    assert connection.closed
    assert [type(error) for error in owner.lost] == [TimeoutError]
    assert await reader.read() == 3 * PING  # And then the end: the connection is not kept.
    writer.write(b"+late\r\n")
    connection.data_received(b"+late\r\n")
    second = owner.open().send(PING)
    _, writer = await server.accepted.get()
    writer.write(b"+mine\r\n")
    assert await second == b"mine"


async def test_calls_are_patient_while_replies_to_others_keep_coming(server: Server, owner: Owner) -> None:
    connection = owner.open(Patience(CONNECT_SECONDS, 1.0))
    calls = [connection.send(PING) for _ in range(8)]
    _, writer = await server.accepted.get()
    for _ in calls:
        await asyncio.sleep(0.25)
        writer.write(b"+a\r\n")
    assert set(await asyncio.gather(*calls)) == {b"a"}


async def test_a_reply_that_drips_ends_in_time(server: Server, owner: Owner) -> None:
    connection = owner.open(IMPATIENT)
    call = connection.send(PING)
    _, writer = await server.accepted.get()
    started = time.perf_counter()
    writer.write(b"$1000\r\n")
    while not call.done():
        assert time.perf_counter() - started < IMPATIENT.reply_seconds + SLACK_SECONDS
        writer.write(b"x")
        await asyncio.sleep(0.02)
    await down(call)


async def test_a_loop_that_was_held_up_looks_for_the_reply_first(server: Server, owner: Owner) -> None:
    connection = owner.open(IMPATIENT)
    call = connection.send(PING)
    reader, writer = await server.accepted.get()
    await reader.readexactly(len(PING))
    writer.write(b"+a\r\n")
    time.sleep(SILENCE_SECONDS * 2)  # Nothing else runs meanwhile: that is what is tested.
    assert await call == b"a"


async def test_one_timer_does_for_all_calls(server: Server, owner: Owner) -> None:
    connection = owner.open(IMPATIENT)
    _, writer = await server.accepted.get()
    deadline = time.perf_counter() + SILENCE_SECONDS * 3
    while time.perf_counter() < deadline:
        call = connection.send(PING)
        await asyncio.sleep(0.01)
        writer.write(b"+a\r\n")
        assert await call == b"a"
    call = connection.send(PING)
    await down(call)


# The greeting.


async def test_no_call_is_sent_before_the_greeting_is_answered(server: Server, owner: Owner) -> None:
    call = owner.open(who=Who("ann", "secret", 3)).send(PING)
    reader, writer = await server.accepted.get()
    for command in (("AUTH", "ann", "secret"), ("SELECT", 3)):
        assert await reader.read(1000) == pack(command)
        assert owner.answered == 0
        writer.write(b"+OK\r\n")
    assert await reader.read(1000) == PING
    writer.write(b"+a\r\n")
    assert await call == b"a"


async def test_where_the_greeting_is_refused_no_call_is_sent(server: Server, owner: Owner) -> None:
    connection = owner.open(who=Who(database=99))
    call = connection.send(PING)
    reader, writer = await server.accepted.get()
    writer.write(b"-ERR DB index is out of range\r\n")
    await down(call)
    assert await reader.read() == pack(("SELECT", 99))
    assert [type(error) for error in owner.lost] == [ValueError]


async def test_a_greeting_that_is_not_answered_ends_in_time(owner: Owner) -> None:
    started = time.perf_counter()
    connection = owner.open(IMPATIENT, Who(password="secret"))
    await down(connection.send(PING))
    assert time.perf_counter() - started < SILENCE_SECONDS + SLACK_SECONDS
    await asyncio.wait([connection._opening])
    assert connection.closed
    assert [type(error) for error in owner.lost] == [TimeoutError]


async def test_nobody_waits_longer_for_the_opening_than_for_a_reply_and_it_goes_on(
    server: Server, owner: Owner
) -> None:
    connection = owner.open(Patience(20, SILENCE_SECONDS), Who(password="secret"))
    started = time.perf_counter()
    calls = [connection.send(PING) for _ in range(3)]
    for call in calls:
        await down(call)
    assert time.perf_counter() - started < SILENCE_SECONDS + SLACK_SECONDS
    assert len(owner.lost) == 1
    reader, writer = await server.accepted.get()
    later = connection.send(PING)
    await reader.read(1000)
    writer.write(b"+OK\r\n")
    assert await reader.read(1000) == PING
    writer.write(b"+a\r\n")
    assert await later == b"a"


@pytest.mark.parametrize("who", [Who(), Who(password="secret", database=3)], ids=["no greeting", "greeting"])
@pytest.mark.parametrize("turns", [0, 2])
async def test_a_loop_that_was_held_up_during_the_opening_takes_nobody_for_away(
    server: Server, owner: Owner, who: Who, turns: int
) -> None:
    silence_seconds = SILENCE_SECONDS / 2
    connection = owner.open(Patience(20, silence_seconds), who)
    call = connection.send(PING)
    for _ in range(turns):
        await asyncio.sleep(0)
    time.sleep(silence_seconds * 2)  # Nothing else runs meanwhile: that is what is tested.
    async with asyncio.timeout(10):
        reader, writer = await server.accepted.get()
        for command in connection._address.greeting:
            assert await reader.readexactly(len(pack(command))) == pack(command)
            writer.write(b"+OK\r\n")
        assert await reader.readexactly(len(PING)) == PING
        writer.write(b"+a\r\n")
        assert await call == b"a"
    assert owner.lost == []


async def test_a_connection_that_is_cut_within_the_greeting_loses_its_calls_once(server: Server, owner: Owner) -> None:
    call = owner.open(who=Who(password="secret")).send(PING)
    _, writer = await server.accepted.get()
    writer.close()
    await down(call)
    assert len(owner.lost) == 1


# Closing.


async def test_it_closes_when_everyone_has_a_reply(server: Server, owner: Owner) -> None:
    connection = owner.open()
    call = connection.send(PING)
    closing = asyncio.create_task(connection.aclose())
    reader, writer = await server.accepted.get()
    await reader.readexactly(2 * len(PING))
    writer.write(b"+a\r\n")
    assert await call == b"a"
    assert not closing.done()
    writer.write(b"+PONG\r\n")
    await closing
    assert await reader.read() == b""
    assert owner.lost == []


async def test_it_sends_what_a_caller_that_left_had_asked_for_before_it_closes(server: Server, owner: Owner) -> None:
    connection = owner.open()
    connection.send(PING).cancel()
    closing = asyncio.create_task(connection.aclose())
    reader, writer = await server.accepted.get()
    await reader.readexactly(2 * len(PING))
    writer.write(b"+a\r\n+PONG\r\n")
    await closing
    assert owner.lost == []


async def test_it_closes_in_time_though_no_reply_comes(owner: Owner) -> None:
    connection = owner.open(IMPATIENT)
    call = connection.send(PING)
    await asyncio.wait_for(connection.aclose(), IMPATIENT.reply_seconds + SLACK_SECONDS)
    await down(call)


async def test_it_closes_before_it_is_open(owner: Owner) -> None:
    connection = owner.open()
    await connection.aclose()
    await connection.aclose()
    assert connection.closed
    assert owner.lost == []
