"""Keys, revocations and login codes on a cluster of three nodes: what one script touches is in one slot."""

from __future__ import annotations

import pytest

from gateway.store import Store
from tests.fakes.redis_cluster import RedisCluster
from tests.unit.gateway.conftest import StoreAt
from tests.unit.gateway.identity.test_keys import (
    key_store,
    test_a_key_cannot_be_revoked_twice_or_unknown,
    test_a_key_leads_to_its_caller,
    test_a_rotated_key_ends_at_once_or_after_its_grace,
    test_keys_are_listed_oldest_first,
    test_many_keys_at_once_are_all_found,
    test_no_more_than_one_earlier_key_holds_and_a_revocation_ends_it_too,
    test_the_last_use_is_noted_and_written_at_once_for_many,
    test_what_is_not_there_cannot_be_rotated,
)
from tests.unit.gateway.identity.test_login_codes import (
    test_a_code_lets_in_once_as_the_one_who_made_it,
    test_sent_many_times_at_once_it_lets_in_once,
    test_what_is_no_code_lets_nobody_in,
)
from tests.unit.gateway.identity.test_revocations import (
    test_a_gateway_that_starts_knows_before_its_first_request,
    test_a_subject_may_come_back_and_a_token_may_not,
    test_entries_are_listed_and_forgotten_at_their_end,
    test_every_gateway_knows_within_a_second,
    test_names_with_every_character_are_told_apart,
    test_what_is_revoked_twice_counts_from_the_later_and_to_the_later,
)

pytestmark = pytest.mark.slow

__all__ = [
    "key_store",
    "test_a_code_lets_in_once_as_the_one_who_made_it",
    "test_a_gateway_that_starts_knows_before_its_first_request",
    "test_a_key_cannot_be_revoked_twice_or_unknown",
    "test_a_key_leads_to_its_caller",
    "test_a_rotated_key_ends_at_once_or_after_its_grace",
    "test_a_subject_may_come_back_and_a_token_may_not",
    "test_entries_are_listed_and_forgotten_at_their_end",
    "test_every_gateway_knows_within_a_second",
    "test_keys_are_listed_oldest_first",
    "test_many_keys_at_once_are_all_found",
    "test_names_with_every_character_are_told_apart",
    "test_no_more_than_one_earlier_key_holds_and_a_revocation_ends_it_too",
    "test_sent_many_times_at_once_it_lets_in_once",
    "test_the_last_use_is_noted_and_written_at_once_for_many",
    "test_what_is_no_code_lets_nobody_in",
    "test_what_is_not_there_cannot_be_rotated",
    "test_what_is_revoked_twice_counts_from_the_later_and_to_the_later",
]


@pytest.fixture
def private_redis(cluster: RedisCluster) -> RedisCluster:
    """The cluster, empty: in the place of a Redis of the test's own."""
    for client in cluster.clients:
        client.flushall()
    return cluster


@pytest.fixture
def redis_server(private_redis: RedisCluster) -> RedisCluster:
    """The cluster in the place of the Redis that all tests share."""
    return private_redis


@pytest.fixture
def store(store_at: StoreAt, cluster: RedisCluster) -> Store:
    """A store on the cluster."""
    return store_at(cluster)
