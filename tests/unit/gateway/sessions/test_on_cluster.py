"""The sessions' tests once more, on a cluster of three nodes: all of a tenant is in one slot, so scripts run whole."""

from __future__ import annotations

import uuid

import pytest

from gateway.domain import Caller
from gateway.store import Store
from tests.fakes.redis_cluster import RedisCluster
from tests.unit.gateway.conftest import StoreAt
from tests.unit.gateway.sessions.kept import Kept, added, texts
from tests.unit.gateway.sessions.test_recall import (
    place,
    test_a_held_session_stays_held_for_longer_than_a_lease,
    test_a_message_and_all_after_it_are_forgotten_or_all,
    test_a_message_may_make_its_session,
    test_a_new_answer_takes_the_place_of_the_last_when_it_is_appended,
    test_a_request_that_lost_its_session_is_told_and_writes_nothing,
    test_a_second_message_waits_for_the_first_to_end,
    test_an_answer_is_appended_once,
    test_question_and_answer_are_kept_with_the_reason_of_the_end,
    test_the_session_is_free_again_however_the_request_ends_and_nothing_is_kept,
    test_what_came_of_an_answer_is_kept_without_waiting_and_marked,
)
from tests.unit.gateway.sessions.test_store import (
    leased,
    new,
    sessions,
    test_a_lease_brings_what_was_said,
    test_a_lease_cannot_be_given_back_by_another,
    test_a_lease_is_good_for_one_append,
    test_a_lease_lasts_while_it_is_renewed,
    test_a_lost_lease_cannot_be_renewed,
    test_a_session_is_read_as_it_was_made,
    test_a_user_may_have_only_so_many_sessions_and_others_are_not_counted,
    test_a_writer_whose_lease_is_now_anothers_changes_nothing,
    test_of_many_writers_at_once_every_turn_is_whole,
    test_only_one_of_many_gets_the_lease,
    test_using_a_session_does_not_move_it_so_pages_stay_where_they_are,
    test_what_is_anothers_looks_as_if_it_did_not_exist,
)

pytestmark = pytest.mark.slow

__all__ = [
    "place",
    "sessions",
    "test_a_held_session_stays_held_for_longer_than_a_lease",
    "test_a_lease_brings_what_was_said",
    "test_a_lease_cannot_be_given_back_by_another",
    "test_a_lease_is_good_for_one_append",
    "test_a_lease_lasts_while_it_is_renewed",
    "test_a_lost_lease_cannot_be_renewed",
    "test_a_message_and_all_after_it_are_forgotten_or_all",
    "test_a_message_may_make_its_session",
    "test_a_new_answer_takes_the_place_of_the_last_when_it_is_appended",
    "test_a_request_that_lost_its_session_is_told_and_writes_nothing",
    "test_a_second_message_waits_for_the_first_to_end",
    "test_a_session_is_read_as_it_was_made",
    "test_a_user_may_have_only_so_many_sessions_and_others_are_not_counted",
    "test_a_writer_whose_lease_is_now_anothers_changes_nothing",
    "test_an_answer_is_appended_once",
    "test_of_many_writers_at_once_every_turn_is_whole",
    "test_only_one_of_many_gets_the_lease",
    "test_question_and_answer_are_kept_with_the_reason_of_the_end",
    "test_the_session_is_free_again_however_the_request_ends_and_nothing_is_kept",
    "test_using_a_session_does_not_move_it_so_pages_stay_where_they_are",
    "test_what_came_of_an_answer_is_kept_without_waiting_and_marked",
    "test_what_is_anothers_looks_as_if_it_did_not_exist",
]


@pytest.fixture
def store(store_at: StoreAt, cluster: RedisCluster) -> Store:
    """A store on the cluster."""
    return store_at(cluster)


async def test_sessions_of_tenants_on_every_node_are_kept_forked_and_deleted(store: Store) -> None:
    kept = Kept(store)
    for _ in range(20):
        caller = Caller(f"tenant-{uuid.uuid4().hex}", "ann")
        record = await new(kept, caller)
        lease = await leased(kept, caller, record.id)
        assert await kept.leases.append(caller, lease, added("one", "two"))
        fork = await kept.store.fork(caller, record.id, None, None)
        assert await texts(kept, caller, fork.id) == await texts(kept, caller, record.id) == ["one", "two"]
        await kept.store.delete(caller, record.id)
        assert [each.id for each in (await kept.store.page(caller, 9))[0]] == [fork.id]
    assert len(store._nodes) == 3
