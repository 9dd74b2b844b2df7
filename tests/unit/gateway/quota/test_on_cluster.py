"""The limits' tests once more, on a cluster of three nodes: each tenant has its slot, so that scripts run whole."""

from __future__ import annotations

import uuid

import pytest

from gateway.domain import Caller, Usage
from gateway.quota import Limiter, Upkeep
from gateway.store import Store, keys
from gateway.telemetry.metrics import Metrics
from tests.fakes.redis_cluster import RedisCluster
from tests.unit.gateway.conftest import StoreAt
from tests.unit.gateway.quota.test_limiter import (
    limits,
    reserve,
    rows,
    test_64_callers_at_once_are_admitted_exactly_as_often_as_the_bucket_holds,
    test_a_first_large_request_is_let_through_and_its_debt_is_paid_later,
    test_a_permit_whose_request_was_not_sent_is_given_back,
    test_a_tenants_limits_are_shared_by_its_users_and_a_models_by_them_at_that_model,
    test_only_so_many_requests_run_at_once_and_each_end_makes_room,
    test_what_no_engine_has_counted_is_charged_as_it_was_reserved,
    test_what_the_engine_counted_is_charged,
    test_without_limits_nobody_is_refused_and_usage_is_booked_all_the_same,
)

pytestmark = pytest.mark.slow

__all__ = [
    "test_64_callers_at_once_are_admitted_exactly_as_often_as_the_bucket_holds",
    "test_a_first_large_request_is_let_through_and_its_debt_is_paid_later",
    "test_a_permit_whose_request_was_not_sent_is_given_back",
    "test_a_tenants_limits_are_shared_by_its_users_and_a_models_by_them_at_that_model",
    "test_only_so_many_requests_run_at_once_and_each_end_makes_room",
    "test_what_no_engine_has_counted_is_charged_as_it_was_reserved",
    "test_what_the_engine_counted_is_charged",
    "test_without_limits_nobody_is_refused_and_usage_is_booked_all_the_same",
]


@pytest.fixture
def store(store_at: StoreAt, cluster: RedisCluster) -> Store:
    """A store on the cluster."""
    return store_at(cluster)


async def test_tenants_are_spread_over_the_nodes_and_upkeep_reaches_them_all(
    cluster: RedisCluster, store: Store, metrics: Metrics
) -> None:
    limiter = Limiter(limits(hour=5), store, metrics)
    callers = [Caller(f"tenant-{uuid.uuid4().hex}", "ann") for _ in range(30)]
    for caller in callers:
        with await reserve(limiter, caller) as permit:
            permit.sent, permit.usage = True, Usage(3, 4)
    assert await Upkeep(limiter, limits(hour=5), store, metrics).beat() >= 1
    await Upkeep(limiter, limits(hour=5), store, metrics).reap()
    assert len(store._nodes) == 3
    for caller in callers:
        (row,) = await rows(store, caller)
        assert (row.requests, row.prompt_tokens, row.completion_tokens) == (1, 3, 4)
    known = {name.decode() for name in await store.call("ZRANGE", keys.tenants(), 0, -1)}
    assert {caller.tenant for caller in callers} <= known


async def test_a_slot_that_moves_is_followed(cluster: RedisCluster, store: Store, metrics: Metrics) -> None:
    limiter = Limiter(limits(hour=5), store, metrics)
    caller = Caller(f"tenant-{uuid.uuid4().hex}", "ann")
    await reserve(limiter, caller)
    clients = cluster.clients
    slot = clients[0].execute_command("CLUSTER", "KEYSLOT", f"{{{caller.tenant}}}")
    ids = [client.execute_command("CLUSTER", "MYID").decode() for client in clients]
    owner = next(index for index in range(3) if 16384 * index // 3 <= slot < 16384 * (index + 1) // 3)
    to = (owner + 1) % 3
    clients[to].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner])
    clients[owner].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to])
    port = clients[to].connection_pool.connection_kwargs["port"]
    for name in clients[owner].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        clients[owner].execute_command("MIGRATE", "127.0.0.1", port, name, 0, 5000)
    await reserve(limiter, caller)
    for index in (to, owner, 3 - to - owner):
        clients[index].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[to])
    headers = dict((await reserve(limiter, caller)).headers)
    assert headers[b"x-ratelimit-remaining-requests"] == b"2"
