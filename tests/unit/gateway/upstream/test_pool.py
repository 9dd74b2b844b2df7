"""Which connection is used next, and when one is too old."""

from __future__ import annotations

import asyncio

from gateway.domain import Replica
from gateway.upstream.connection import EngineConnection
from gateway.upstream.pool import Pool
from tests.unit.gateway.upstream.wire import FakeTransport

A = Replica("a", "127.0.0.1", 1)
B = Replica("b", "127.0.0.1", 2)


def connected(pool: Pool, replica: Replica = A) -> EngineConnection:
    """Return a new connection that the pool knows."""
    connection = EngineConnection(replica, pool.lost)
    connection.connection_made(FakeTransport(connection))
    pool.add(connection)
    return connection


async def test_the_one_used_last_is_used_next() -> None:
    pool = Pool(10)
    first, second = connected(pool), connected(pool)
    pool.put(first)
    pool.put(second)
    assert [pool.take(A), pool.take(A), pool.take(A)] == [second, first, None]
    await pool.aclose()


async def test_each_replica_has_its_own() -> None:
    pool = Pool(10)
    pool.put(connected(pool, A))
    assert pool.take(B) is None
    assert pool.take(A) is not None
    await pool.aclose()


async def test_a_dead_one_is_passed_over() -> None:
    pool = Pool(10)
    alive, dead, closing = connected(pool), connected(pool), connected(pool)
    for connection in (alive, dead, closing):
        pool.put(connection)
    dead.eof_received()
    closing.transport.abort()
    assert pool.take(A) is alive
    assert pool.take(A) is None
    await pool.aclose()


async def test_one_that_was_lost_is_forgotten() -> None:
    pool = Pool(10)
    connection = connected(pool)
    pool.put(connection)
    connection.connection_lost(ConnectionResetError())
    assert (pool.open_connections, pool.idle_connections) == (0, 0)


async def test_idle_ones_are_closed_when_their_time_has_come() -> None:
    pool = Pool(10)
    old, young, busy = connected(pool), connected(pool), connected(pool)
    pool.put(old)
    pool.put(young)
    old.idle_since -= 10
    pool._sweep()
    assert (old.alive(), young.alive(), busy.alive()) == (False, True, True)
    assert pool._sweeper is not None
    assert pool._sweeper.when() == young.idle_since + 10
    young.idle_since -= 10
    pool._sweep()
    assert (young.alive(), busy.alive()) == (False, True)
    assert pool.idle_connections == 0
    await pool.aclose()


async def test_an_idle_one_is_closed_though_nobody_asks() -> None:
    pool = Pool(0.05)
    connection = connected(pool)
    pool.put(connection)
    async with asyncio.timeout(5):
        while connection.alive():
            await asyncio.sleep(0.01)
    await pool.aclose()


async def test_one_that_is_too_old_is_not_taken() -> None:
    pool = Pool(10)
    connection = connected(pool)
    pool.put(connection)
    connection.idle_since -= 10
    assert pool.take(A) is None
    assert not connection.alive()
    await pool.aclose()


async def test_a_forgotten_replica_keeps_only_what_is_busy() -> None:
    pool = Pool(10)
    idle, busy = connected(pool), connected(pool)
    pool.put(idle)
    pool.forget(A)
    assert (idle.alive(), busy.alive()) == (False, True)
    await asyncio.sleep(0)
    assert pool.open_connections == 1
    await pool.aclose()


async def test_a_connection_that_comes_after_aclose_is_closed() -> None:
    pool = Pool(10)
    await pool.aclose()
    late = connected(pool)
    assert not late.alive()
    await pool.aclose()
    assert pool.open_connections == 0


async def test_aclose_leaves_nothing() -> None:
    pool = Pool(10)
    pool.put(connected(pool))
    connected(pool)
    await pool.aclose()
    assert pool.open_connections == 0
