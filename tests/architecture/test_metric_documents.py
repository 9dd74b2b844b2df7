"""Dashboards, alerts and their page are current, and name nothing that nobody counts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tallies import Tallies, TallyCounter, TallyHistogram
from tests.fakes.exposition import families_in, names_in, queries_of
from tools.dashboard_panels import DASHBOARDS
from tools.dashboards import FOLDER, dashboard
from tools.metrics_page import page_text

ROOT = Path(__file__).parents[2]
RENEW = "run: python tools/tables.py"
ADDED_BY_PROMETHEUS = {"namespace", "instance", "job", "le"}
VLLM = families_in((ROOT / "tests/fakes/recordings/metrics.txt").read_text(encoding="utf-8"))


def test_the_page_is_current() -> None:
    assert (ROOT / "docs/metrics.md").read_text(encoding="utf-8") == page_text(), RENEW


def test_the_incident_table_has_a_row_for_every_alert_and_for_no_other() -> None:
    groups = yaml.safe_load((ROOT / "helm/files/alerts.yaml").read_text(encoding="utf-8"))["groups"]
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `Gemma")]
    named = [name for row in rows for name in re.findall(r"`(Gemma\w+)`", row)]
    assert sorted(named) == sorted(rule["alert"] for group in groups for rule in group["rules"])


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_current(name: str) -> None:
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert text == dashboard(name), RENEW
    panels = json.loads(text)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 5
    assert all(panel["targets"] for panel in panels)


def test_every_series_of_vllm_is_one_that_it_has() -> None:
    named = {name for query in queries_of(ROOT) for name in names_in(query) if name.startswith("vllm:")}
    assert len(named) > 10
    assert named - VLLM == set()


def test_a_made_up_series_would_be_found() -> None:
    assert names_in('sum(rate(vllm:gpu_cache_usage_perc{a="b"}[5m]))') - VLLM == {"vllm:gpu_cache_usage_perc"}


def test_every_label_asked_of_the_gateway_is_one_that_it_sets() -> None:
    labels = {
        name: set(metric._labelnames)
        for metric in vars(Metrics()).values()
        if isinstance(metric, Counter | Gauge | Histogram | Tallies)
        for name in families_of(metric)
    }
    for query in queries_of(ROOT):
        names = [name for name in names_in(query) if name.startswith("gateway_")]
        known = ADDED_BY_PROMETHEUS.union(*(labels[name] for name in names)) if names else None
        if known is not None:
            assert labels_in(query) <= known, query


def families_of(metric: Counter | Gauge | Histogram | Tallies[Any]) -> list[str]:
    """Return the names of a metric's samples."""
    if isinstance(metric, Counter | TallyCounter):
        return [f"{metric._name}_total"]
    if isinstance(metric, Histogram | TallyHistogram):
        return [f"{metric._name}{suffix}" for suffix in ("_bucket", "_sum", "_count")]
    return [metric._name]


def labels_in(query: str) -> set[str]:
    """Return the labels that a query groups or selects by."""
    grouped = {name.strip() for found in re.findall(r"\b(?:by|on) \(([^)]*)\)", query) for name in found.split(",")}
    return {name for name in grouped if name} | set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", query))
