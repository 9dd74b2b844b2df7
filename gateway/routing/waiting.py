"""Waiting for a place: who may, for how long, and what is told to who may not.

A request that cannot get its place in time, by the rate at which engines serve, is refused when it comes and not when
its time is over: its client can go elsewhere, and those who do wait get what they wait for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from enum import StrEnum
from typing import Protocol

from config import RoutingSettings
from gateway.domain import Demand
from gateway.errors import Overloaded
from gateway.routing.line import Lane, Line, Waiter
from gateway.routing.member import Member
from gateway.routing.service_rate import ServiceRate, retry_after_ms


class Refusal(StrEnum):
    """Why a request got no place."""

    NO_ENGINE = "no_engine"
    LINE_FULL = "line_full"
    TENANT_FULL = "tenant_full"
    TOO_LATE = "too_late"
    TIMED_OUT = "timed_out"
    GIVEN_UP = "given_up"


_SENTENCES = {
    Refusal.LINE_FULL: "The server is overloaded. Please try again.",
    Refusal.TENANT_FULL: "The server is overloaded, and enough of your requests wait already. Please try again.",
    Refusal.TOO_LATE: "The server is overloaded: no engine will have room in time. Please try again.",
    Refusal.TIMED_OUT: "No engine had room in time. Please try again.",
    Refusal.GIVEN_UP: "The server is overloaded, and others had waited for less. Please try again.",
}


class Places(Protocol):
    """What the line is for: the fleet."""

    def take(self, demand: Demand, avoiding: Collection[str]) -> Member | None:
        """Count a request in at the engine that is chosen for it; None where all are full."""

    def give_back(self, member: Member, demand: Demand) -> None:
        """Count a request out that was never sent."""

    def in_flight(self) -> int:
        """Requests that engines serve now."""

    def count_refusal(self, reason: Refusal) -> None:
        """Note that a request was refused."""


class Waiting:
    """The line and its rules."""

    def __init__(self, settings: RoutingSettings, places: Places) -> None:
        self.line = Line()
        self.rate = ServiceRate()
        self._settings = settings
        self._places = places

    async def wait(self, demand: Demand, avoiding: frozenset[str]) -> Member:
        """Return the member that this request has been counted in at. Raises Overloaded."""
        self._admit(demand)
        waiter = Waiter(demand, avoiding, asyncio.get_running_loop().create_future())
        self.line.join(waiter)
        self.grant()
        try:
            async with asyncio.timeout(self._settings.queue_seconds):
                return await waiter.granted
        except BaseException as error:
            self._withdraw(waiter)
            if isinstance(error, TimeoutError):
                raise self._overloaded(Refusal.TIMED_OUT, demand) from None
            raise

    def grant(self) -> None:
        """Give free places to who waits, in the order of the line, passing over those whose engines are full."""
        full: set[Lane] = set()
        for waiter in self.line:
            if len(full) == self.line.lanes:
                return
            # One that was cancelled stays in line until its task runs; its future takes nothing any more.
            if waiter.lane in full or waiter.granted.done():
                continue
            member = self._places.take(waiter.demand, waiter.avoiding)
            if member is None:
                full.add(waiter.lane)
            else:
                self.line.serve(waiter)
                waiter.granted.set_result(member)

    def _withdraw(self, waiter: Waiter) -> None:
        """Forget a waiter that gave up; a place granted in that very turn goes back."""
        self.line.leave(waiter)
        granted = waiter.granted
        if granted.done() and not granted.cancelled() and granted.exception() is None:
            self._places.give_back(granted.result(), waiter.demand)

    def _admit(self, demand: Demand) -> None:
        """Raise Overloaded where waiting has no use, or no place in line can be had."""
        if self.line.size_of(demand) >= self._settings.max_queued_per_tenant:
            raise self._overloaded(Refusal.TENANT_FULL, demand)
        wait_seconds = self._wait_seconds(demand)
        if wait_seconds is not None and wait_seconds > self._settings.queue_seconds:
            raise self._overloaded(Refusal.TOO_LATE, demand)
        if len(self.line) >= self._settings.max_queued:
            self._make_room(demand)

    def _make_room(self, demand: Demand) -> None:
        """Give the last of the longest queue up for who waits less. Raises Overloaded where nobody waits more."""
        weakest = self.line.weakest(demand) if len(self.line) else None
        if weakest is None:
            raise self._overloaded(Refusal.LINE_FULL, demand)
        self.line.leave(weakest)
        if not weakest.granted.done():
            weakest.granted.set_exception(self._overloaded(Refusal.GIVEN_UP, weakest.demand))

    def _wait_seconds(self, demand: Demand) -> float | None:
        return self.rate.wait_seconds(self.line.ahead_of(demand), self._places.in_flight())

    def _overloaded(self, reason: Refusal, demand: Demand) -> Overloaded:
        self._places.count_refusal(reason)
        spread = random.random()  # noqa: S311 - nothing is kept secret by it
        return Overloaded(_SENTENCES[reason], retry_after_ms=retry_after_ms(self._wait_seconds(demand), spread))
