"""Fleets as the tests of this folder have them."""

from __future__ import annotations

import asyncio
from typing import Any

from config import Settings
from gateway.domain import Demand
from gateway.routing import Fleet
from gateway.routing.member import State
from gateway.telemetry.metrics import Metrics

M = Demand("gemma-3n")
MODELS = frozenset({M.model})


def fleet(metrics: Metrics | None = None, engines: int = 1, ready: bool = True, **routing: Any) -> Fleet:
    """Return a fleet of ready engines that take one request each, unless told otherwise."""
    urls = ",".join(f"http://10.0.0.{number + 1}:8100" for number in range(engines))
    limits = {"engines": urls, "max_in_flight": 1, "queue_seconds": 30, **routing}
    made = Fleet(Settings.model_validate({"routing": limits}), metrics or Metrics())
    if ready:
        for member in made.members:
            made.learned(member, MODELS)
            made.set_state(member, State.READY)
    return made


async def turn(times: int = 3) -> None:
    """Let every task that can go on do so."""
    for _ in range(times):
        await asyncio.sleep(0)


def waiting(of: Fleet) -> int:
    """Return how many requests wait."""
    return len(of._waiting.line)


def in_flight(of: Fleet) -> list[int]:
    """Return the requests at each engine."""
    return [member.in_flight for member in of.members]
