"""Tallies are scraped as prometheus_client's own metrics are."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from gateway.telemetry.tallies import TallyCounter, TallyHistogram

LABELS = ["model"]
BUCKETS = (0.5, 1, 10)


def text(registry: CollectorRegistry) -> str:
    """Return what is scraped, without the times at which series began."""
    return re.sub(r"(_created\S*) \S+", r"\1", generate_latest(registry).decode())


def test_counters_are_scraped_alike() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = TallyCounter("c", "Counted.", LABELS, ours)
    counter = Counter("c", "Counted.", LABELS, registry=theirs)
    for model, amount in (("a", 1), ("b", 2.5), ("a", 4)):
        tally.of(model).add(amount)
        counter.labels(model).inc(amount)
    assert text(ours) == text(theirs)


@pytest.mark.parametrize("labels", [[], LABELS])
def test_histograms_are_scraped_alike(labels: list[str]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = TallyHistogram("h", "Seen.", labels, BUCKETS, ours)
    histogram = Histogram("h", "Seen.", labels, buckets=BUCKETS, registry=theirs)
    assert text(ours) == text(theirs)
    for value in (0.1, 0.5, 0.7, 10, 11):
        values = ["m"] if labels else []
        tally.of(*values).observe(value)
        (histogram.labels(*values) if labels else histogram).observe(value)
    assert text(ours) == text(theirs)


def test_a_row_has_as_many_labels_as_its_family() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        TallyCounter("c", "Counted.", LABELS, CollectorRegistry()).of()
