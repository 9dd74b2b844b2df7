"""Rotating an API key, and revoking who had it, as gateways see it whose clocks differ."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from config import RedisSettings, Settings
from gateway.api.keys import RotationRequest, rotate_key
from gateway.api.revocations import RevocationRequest, revoke
from gateway.domain import Caller
from gateway.errors import Unauthenticated
from gateway.identity.keys import NewKey
from gateway.identity.principal import mark_of_subject
from gateway.lifespan import Rooms, build_rooms
from tests.fakes.redis_server import RedisServer

ADMIN = Caller("local", "local", frozenset({"admin"}))


@pytest.fixture
async def gateway_at(private_redis: RedisServer, tmp_path: Path) -> AsyncIterator[Callable[[float], Rooms]]:
    """Build gateways on one Redis: `gateway_at(-3)` is one whose clock is three seconds behind."""
    built: list[Rooms] = []

    def build(seconds_ahead: float) -> Rooms:
        redis = RedisSettings(url=SecretStr(private_redis.url), timeout_seconds=5, connect_timeout_seconds=5)
        rooms = build_rooms(Settings(data_dir=tmp_path, redis=redis))
        rooms.identity.authenticator._now = lambda: time.time() + seconds_ahead
        rooms.identity.revocations._now = lambda: time.time() + seconds_ahead
        built.append(rooms)
        return rooms

    yield build
    for rooms in built:
        await rooms.store.aclose()


@pytest.mark.parametrize("there_ahead", [-3, 0, 3])
@pytest.mark.parametrize("here_ahead", [-3, 0, 3])
async def test_a_rotation_without_grace_ends_the_old_key_and_not_the_new_whatever_the_clocks_say(
    gateway_at: Callable[[float], Rooms], here_ahead: float, there_ahead: float
) -> None:
    here, there = gateway_at(here_ahead), gateway_at(there_ahead)
    old, record = await here.identity.keys.create(NewKey("acme"))
    proved = await there.identity.authenticator.principal(f"Bearer {old}".encode())
    rotated = await rotate_key(record.id, here, ADMIN, RotationRequest())
    await there.identity.revocations._look()
    for gateway in (here, there):
        found = await gateway.identity.authenticator.authenticate(f"Bearer {rotated['key']}".encode())
        assert found.user == record.id
        with pytest.raises(Unauthenticated):
            await gateway.identity.authenticator.authenticate(f"Bearer {old}".encode())
        assert gateway.identity.revocations.has(proved), "a token that was made with the old key holds"


@pytest.mark.parametrize("here_ahead", [-3, 0, 3])
async def test_what_a_subject_has_proved_by_a_key_until_now_is_revoked_whatever_the_clock_says(
    gateway_at: Callable[[float], Rooms], here_ahead: float
) -> None:
    here = gateway_at(here_ahead)
    key, _ = await here.identity.keys.create(NewKey("acme"))
    asked = RevocationRequest(subject="ann")
    marks = (mark_of_subject(asked.issuer, "ann"),)
    proved = replace(await here.identity.authenticator.principal(f"Bearer {key}".encode()), marks=marks)
    await revoke(asked, here, ADMIN)
    assert here.identity.revocations.has(proved)


async def test_with_grace_nothing_is_revoked(gateway_at: Callable[[float], Rooms]) -> None:
    here = gateway_at(0)
    old, record = await here.identity.keys.create(NewKey("acme"))
    rotated = await rotate_key(record.id, here, ADMIN, RotationRequest(grace_seconds=60))
    for key in (old, rotated["key"]):
        assert (await here.identity.authenticator.authenticate(f"Bearer {key}".encode())).user == record.id
    assert await here.identity.revocations.entries() == []
