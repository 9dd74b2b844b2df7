"""The line for a place: who is next, and who gets no place in it. Pure but for the futures it holds.

Tenants share it by start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996): each request gets a start tag in virtual
time, a tenant's next one as much later as its last costs by the tenant's weight, and the earliest tag is served first.
So a tenant that sends a hundred requests waits for itself, and one that sends its first is served next. Lower
priorities, as vLLM counts them, go before all others.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.domain import Demand, Medium
from gateway.routing.member import Member

_COST_OF_AN_ANSWER = 256
"""In prompt tokens: what a request costs beside its prompt. Answers differ, and nobody knows how long one will be."""

_SPARE_TENANTS = 64

Lane = tuple[str, frozenset[Medium], frozenset[str]]
"""What engines a request can go to: its model, whether it has media, and whom it avoids."""
_Flow = tuple[int, str]
"""A priority and a tenant."""
_Order = tuple[int, float, int]
"""Priority, start tag, and number: who is served first."""


@dataclass(slots=True, eq=False)
class Waiter:
    """One request in line."""

    demand: Demand
    avoiding: frozenset[str]
    granted: asyncio.Future[Member]
    order: _Order = (0, 0.0, 0)

    @property
    def lane(self) -> Lane:
        """Who waits in the same lane waits for the same engines."""
        return (self.demand.model, self.demand.media, self.avoiding)


@dataclass(slots=True, eq=False)
class Line:
    """Who waits, in the order of being served."""

    _waiting: list[Waiter] = field(default_factory=list)
    _lanes: Counter[Lane] = field(default_factory=Counter)
    _sizes: Counter[_Flow] = field(default_factory=Counter)
    _weights: dict[_Flow, int] = field(default_factory=dict)
    _ends: dict[_Flow, float] = field(default_factory=dict)
    """Where each waiting tenant's next start tag is."""
    _now: dict[int, float] = field(default_factory=dict)
    """The virtual time of each priority: the start tag that was served last."""
    _count: int = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiter]:
        """Yield who waits, first in line first; the line may be changed meanwhile."""
        return iter(tuple(self._waiting))

    @property
    def lanes(self) -> int:
        """In how many lanes somebody waits."""
        return len(self._lanes)

    def waits(self, lane: Lane) -> bool:
        """Whether somebody waits in this lane."""
        return lane in self._lanes

    def size_of(self, demand: Demand) -> int:
        """How many of this tenant and priority wait."""
        return self._sizes[_flow(demand)] if self._waiting else 0

    def ahead_of(self, demand: Demand) -> int:
        """How many that wait now would be served before `demand`."""
        return bisect_left(self._waiting, (demand.priority, self._start(demand), self._count), key=_order)

    def join(self, waiter: Waiter) -> None:
        """Put a request in line."""
        demand = waiter.demand
        start = self._start(demand)
        waiter.order = (demand.priority, start, self._count)
        self._count += 1
        self._ends[_flow(demand)] = start + _cost(demand)
        self._lanes[waiter.lane] += 1
        self._sizes[_flow(demand)] += 1
        self._weights[_flow(demand)] = demand.weight
        insort(self._waiting, waiter, key=_order)

    def serve(self, waiter: Waiter) -> None:
        """Take a request out because its turn has come."""
        self._now[waiter.demand.priority] = waiter.order[1]
        self._take_out(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Take a request out that was not served; nothing where it is not in line any more.

        If it was its tenant's last, the tenant has paid nothing for it.
        """
        if waiter in self:
            flow = _flow(waiter.demand)
            if self._ends[flow] == waiter.order[1] + _cost(waiter.demand):
                self._ends[flow] = waiter.order[1]
            self._take_out(waiter)

    def __contains__(self, waiter: object) -> bool:
        if not isinstance(waiter, Waiter):
            return False
        at = bisect_left(self._waiting, waiter.order, key=_order)
        return at < len(self._waiting) and self._waiting[at] is waiter

    def weakest(self, than: Demand) -> Waiter | None:
        """Return whom a full line should give up for `than`: the last of the longest queue; None: `than` itself.

        Queues are compared by priority, then by their length for their tenant's weight. Not for an empty line.
        """
        length, longest = max(((flow[0], self._sizes[flow] / self._weights[flow]), flow) for flow in self._sizes)
        if length <= (than.priority, (self._sizes[_flow(than)] + 1) / than.weight):
            return None
        return next(waiter for waiter in reversed(self._waiting) if _flow(waiter.demand) == longest)

    def _start(self, demand: Demand) -> float:
        return max(self._now.get(demand.priority, 0.0), self._ends.get(_flow(demand), 0.0))

    def _take_out(self, waiter: Waiter) -> None:
        del self._waiting[bisect_left(self._waiting, waiter.order, key=_order)]
        flow, lane = _flow(waiter.demand), waiter.lane
        self._lanes[lane] -= 1
        if not self._lanes[lane]:
            del self._lanes[lane]
        self._sizes[flow] -= 1
        if not self._sizes[flow]:
            del self._sizes[flow], self._weights[flow]
            self._forget_who_owes_nothing(flow[0])

    def _forget_who_owes_nothing(self, priority: int) -> None:
        """Remember no tenant for ever: when nobody of a priority waits, its time starts anew."""
        if all(flow[0] != priority for flow in self._sizes):
            self._now.pop(priority, None)
            self._ends = {flow: end for flow, end in self._ends.items() if flow[0] != priority}
        elif len(self._ends) > 2 * len(self._sizes) + _SPARE_TENANTS:
            self._ends = {flow: end for flow, end in self._ends.items() if end > self._now.get(flow[0], 0.0)}


def _flow(demand: Demand) -> _Flow:
    return (demand.priority, demand.tenant)


def _cost(demand: Demand) -> float:
    return (demand.prefill_tokens + _COST_OF_AN_ANSWER) / demand.weight


def _order(waiter: Waiter) -> _Order:
    return waiter.order
