"""The session API does over HTTP what a list of messages a session would do, and no user sees another's."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.session_machine import SessionApi

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("examples", "steps"),
    [(8, 20), pytest.param(120, 40, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])],
)
async def test_every_verb_does_what_a_list_of_messages_would_do(
    engine: EngineProcess, redis_server: RedisServer, examples: int, steps: int
) -> None:
    gateway_settings = {"sessions.keep_partial": "true", "sessions.busy_wait_seconds": 5}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], gateway_settings) as gateway:
        await gateway.ready()
        SessionApi.base_url, SessionApi.engine_url = gateway.base_url, engine.replica.base_url
        SessionApi.admin_key = gateway.key
        few = settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # Twenty steps can be read as they are; to find fewer takes minutes.
            phases=[Phase.generate],
            database=None,
        )
        # In a thread: the gateway's log is read here meanwhile.
        await asyncio.to_thread(run_state_machine_as_test, SessionApi, settings=few)
