"""The status port tells the truth: alive, ready, what it is doing, and numbers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from engine.life import Life, Phase, Rules
from engine.probe import Reading
from engine.restart import RestartPolicy
from engine.status import StatusApp
from engine.supervisor import Process, Supervisor

NOW = 1000.0


async def never_started() -> Process:
    raise AssertionError("not in this test")


async def never_looked() -> Reading:
    raise AssertionError("not in this test")


async def ask(life: Life, path: str) -> httpx.Response:
    rules = Rules(60, 60, 60, RestartPolicy(1, 10, 5, window_seconds=100))
    supervisor = Supervisor(rules, start=never_started, look=never_looked, clock=lambda: NOW)
    supervisor.life = life
    app = StatusApp(supervisor, {"model": "demo"}, lambda: "loading weights").app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://status") as client:
        return await client.get(path)


READY = Life(Phase.READY, since=990.0, healthy=True, was_ever_ready=True, restarts=(800.0, 950.0), last_exit=-9)
LIVES = {
    "starting": Life(Phase.STARTING, since=999.0, reason="it ended by itself with SIGKILL"),
    "ready": READY,
    "silent": Life(Phase.READY, healthy=False, was_ever_ready=True),
    "killed": Life(Phase.READY, killed_because="it did not answer for 60 s", reason="it did not answer for 60 s"),
    "draining": Life(Phase.DRAINING, reason="stop asked"),
    "restarting": Life(Phase.RESTARTING),
    "stopped": Life(Phase.STOPPED, exit_code=0),
}


@pytest.mark.parametrize("name", LIVES)
async def test_the_supervisor_is_alive_whatever_the_engine_does(name: str) -> None:
    assert (await ask(LIVES[name], "/livez")).status_code == 200


@pytest.mark.parametrize("name", LIVES)
async def test_ready_means_that_requests_may_be_sent(name: str) -> None:
    response = await ask(LIVES[name], "/readyz")
    assert response.status_code == (200 if name == "ready" else 503)
    assert response.json() == {"status": "ready" if name == "ready" else "not ready"}


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("starting", "loading weights"),
        ("ready", "ready"),
        ("silent", "not answering"),
        ("killed", "being ended"),
        ("draining", "draining"),
        ("restarting", "restarting"),
        ("stopped", "stopped"),
    ],
)
async def test_the_stage_is_in_words(name: str, stage: str) -> None:
    assert (await ask(LIVES[name], "/status")).json()["stage"] == stage


async def test_the_status_is_whole() -> None:
    expected: dict[str, Any] = {
        "state": "ready",
        "ready": True,
        "stage": "ready",
        "elapsed_seconds": 10.0,
        # The restart of 200 s ago counts no more.
        "restarts": 1,
        "pid": None,
        "last_exit": -9,
        "reason": None,
        "model": "demo",
    }
    assert (await ask(READY, "/status")).json() == expected


async def test_the_metrics_say_the_same() -> None:
    response = await ask(READY, "/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = set(response.text.splitlines())
    assert {"engine_ready 1.0", "engine_restarts 1.0", 'engine_phase{phase="ready"} 1.0'} <= lines
    assert {f'engine_phase{{phase="{phase}"}} 0.0' for phase in Phase if phase is not Phase.READY} <= lines


async def test_the_metrics_of_a_silent_engine_do_not_call_it_ready() -> None:
    assert "engine_ready 0.0" in (await ask(LIVES["silent"], "/metrics")).text


async def test_nothing_else_is_served() -> None:
    assert (await ask(READY, "/docs")).status_code == 404
