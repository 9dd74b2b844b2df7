"""The responses' tests once more, on a cluster of three nodes: all of a tenant is in one slot, so scripts run whole."""

from __future__ import annotations

import uuid

import pytest

from gateway.domain import Caller
from gateway.store import Store
from tests.fakes.redis_cluster import RedisCluster
from tests.unit.gateway.conftest import StoreAt
from tests.unit.gateway.responses.kept import Kept
from tests.unit.gateway.responses.test_store import (
    clock,
    kept,
    test_a_response_is_read_as_it_was_kept,
    test_a_row_does_not_lead_into_anothers,
    test_a_users_name_shares_no_key_with_anothers,
    test_nothing_goes_on_from_what_is_deleted,
    test_reading_is_no_use,
    test_two_may_go_on_from_one,
    test_what_is_anothers_looks_as_if_it_did_not_exist,
)

pytestmark = pytest.mark.slow

__all__ = [
    "clock",
    "kept",
    "test_a_response_is_read_as_it_was_kept",
    "test_a_row_does_not_lead_into_anothers",
    "test_a_users_name_shares_no_key_with_anothers",
    "test_nothing_goes_on_from_what_is_deleted",
    "test_reading_is_no_use",
    "test_two_may_go_on_from_one",
    "test_what_is_anothers_looks_as_if_it_did_not_exist",
]


@pytest.fixture
def store(store_at: StoreAt, cluster: RedisCluster) -> Store:
    """A store on the cluster."""
    return store_at(cluster)


async def test_responses_of_tenants_on_every_node_are_kept_and_make_room(store: Store) -> None:
    kept = Kept(store, max_bytes_per_user=4096)
    for _ in range(20):
        caller = Caller(f"tenant-{uuid.uuid4().hex}", "ann")
        old = await kept.add(caller, "x" * 1000)
        first = await kept.add(caller, "one")
        second = await kept.add(caller, "two", first)
        assert await kept.said(caller, second) == ["one?", "one!", "two?", "two!"]
        await kept.add(caller, "x" * 1000, second)
        assert await kept.said(caller, second) == ["one?", "one!", "two?", "two!"]
        with pytest.raises(Exception, match="not found"):
            await kept.store.read(caller, old)
    assert len(store._nodes) == 3
