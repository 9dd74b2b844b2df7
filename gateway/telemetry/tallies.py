"""Counters and histograms of what every request does: plain numbers, which are made samples when they are asked for.

Only the event loop adds to them, so that they need no lock; prometheus_client's take one at each step, which together
was a twentieth of a request.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


@dataclass(slots=True)
class Tally:
    """One count."""

    value: float = 0.0
    since: float = field(default_factory=time.time)

    def add(self, amount: float = 1.0) -> None:
        """Count `amount` more."""
        self.value += amount


@dataclass(slots=True)
class Distribution:
    """How many values there were up to each bound, and above all of them; and their sum."""

    bounds: Sequence[float]
    sum: float = 0.0
    since: float = field(default_factory=time.time)
    counts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Take in one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


RowT = TypeVar("RowT", Tally, Distribution)


class Tallies(Collector, Generic[RowT]):
    """A row for each set of labels, made when it is first asked for."""

    _type = ""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name = name
        self._labelnames = tuple(labels)
        self._documentation = documentation
        self._rows: dict[tuple[str, ...], RowT] = {}
        registry.register(self)

    def of(self, *labels: str) -> RowT:
        """Return the row with these labels."""
        row = self._rows.get(labels)
        if row is None:
            if len(labels) != len(self._labelnames):
                raise ValueError(f"{self._name} has the labels {self._labelnames}")
            row = self._rows[labels] = self._new()
        return row

    def collect(self) -> Iterator[Metric]:
        """Yield the family with its samples, in the order in which their rows were made."""
        family = Metric(self._name, self._documentation, self._type)
        # A list at once: a scrape of the metrics' own port comes from another thread.
        for labels, row in list(self._rows.items()):
            self._sample(family, dict(zip(self._labelnames, map(str, labels), strict=True)), row)
        yield family

    def describe(self) -> Iterator[Metric]:
        """Yield the family without its samples."""
        yield Metric(self._name, self._documentation, self._type)

    @abstractmethod
    def _new(self) -> RowT:
        """Return a row that has counted nothing."""

    @abstractmethod
    def _sample(self, family: Metric, labels: dict[str, str], row: RowT) -> None:
        """Add the row's samples to the family."""


class TallyCounter(Tallies[Tally]):
    """As prometheus_client's Counter."""

    _type = "counter"

    def _new(self) -> Tally:
        return Tally()

    def _sample(self, family: Metric, labels: dict[str, str], row: Tally) -> None:
        family.add_sample(f"{self._name}_total", labels, row.value)
        family.add_sample(f"{self._name}_created", labels, row.since)


class TallyHistogram(Tallies[Distribution]):
    """As prometheus_client's Histogram. Without labels its one row is there from the beginning."""

    _type = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._bounds = tuple(map(float, buckets))
        super().__init__(name, documentation, labels, registry)
        if not labels:
            self.of()

    def _new(self) -> Distribution:
        return Distribution(self._bounds)

    def _sample(self, family: Metric, labels: dict[str, str], row: Distribution) -> None:
        count = 0
        for bound, many in zip((*self._bounds, math.inf), row.counts, strict=True):
            count += many
            family.add_sample(
                f"{self._name}_bucket", {**labels, "le": "+Inf" if bound == math.inf else str(bound)}, count
            )
        family.add_sample(f"{self._name}_count", labels, count)
        family.add_sample(f"{self._name}_sum", labels, row.sum)
        family.add_sample(f"{self._name}_created", labels, row.since)
