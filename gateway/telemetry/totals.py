"""What the registry's metrics add up to, for the live view."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Distribution:
    """`counts[i]` observations were at most `bounds[i]`; the last is of those above all bounds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]


def totals(counter: Collector, *labels: str) -> dict[tuple[str, ...], float]:
    """Return the counter's sums by `labels`, in their order."""
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for family in counter.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                sums[tuple(sample.labels[label] for label in labels)] += sample.value
    return dict(sums)


def distribution(histogram: Collector) -> Distribution:
    """Return the histogram's buckets, summed over its labels: cumulative, as Prometheus has them."""
    sums: dict[float, float] = defaultdict(float)
    for family in histogram.collect():
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                sums[float(sample.labels["le"])] += sample.value
    bounds = sorted(sums)
    return Distribution(
        tuple(bound for bound in bounds if bound != math.inf), tuple(int(sums[bound]) for bound in bounds)
    )
