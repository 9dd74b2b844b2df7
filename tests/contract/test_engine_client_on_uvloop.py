"""The suite of `test_engine_client` once more for our client, on the loop that the gateway runs on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import uvloop

from tests.contract import test_engine_client as suite
from tests.fakes.process import EngineProcess

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # The hook that is to replace this fixture holds for a whole run, not for one module.
    pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture:DeprecationWarning"),
]

engine = suite.engine
full_listener = suite.full_listener
globals().update({name: value for name, value in vars(suite).items() if name.startswith("test_")})


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """Let pytest-asyncio make uvloop's loops."""
    policy: asyncio.AbstractEventLoopPolicy = uvloop.EventLoopPolicy()
    return policy


@pytest_asyncio.fixture(loop_scope="module", params=["ours-tcp", "ours-unix"])
async def subject(request: pytest.FixtureRequest, engine: EngineProcess) -> AsyncIterator[suite.Subject]:
    """As in the suite, for our client only."""
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
    async with suite.a_subject(request.param, engine) as made:
        yield made


ours = subject
