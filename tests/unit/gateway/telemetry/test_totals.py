"""Sums of the registry's metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.telemetry.totals import Distribution, distribution, totals


def test_a_counter_is_summed_by_the_labels_that_are_asked_for() -> None:
    counter = Counter("c", "-", ["tenant", "kind"], registry=CollectorRegistry())
    assert totals(counter, "tenant") == {}
    counter.labels("a", "prompt").inc(2)
    counter.labels("a", "completion").inc(3)
    counter.labels("b", "prompt").inc(4)
    assert totals(counter, "tenant") == {("a",): 5, ("b",): 4}
    assert totals(counter, "kind", "tenant")[("prompt", "b")] == 4
    assert totals(counter) == {(): 9}


def test_a_histogram_is_summed_over_its_labels() -> None:
    histogram = Histogram("h", "-", ["model"], buckets=(0.5, 1, 10), registry=CollectorRegistry())
    for model, seconds in (("a", 0.1), ("b", 0.7), ("b", 2), ("a", 99)):
        histogram.labels(model).observe(seconds)
    assert distribution(histogram) == Distribution((0.5, 1.0, 10.0), (1, 2, 3, 4))


def test_one_that_has_seen_nothing_has_no_buckets() -> None:
    histogram = Histogram("h", "-", ["model"], buckets=(1,), registry=CollectorRegistry())
    assert distribution(histogram) == Distribution((), ())
