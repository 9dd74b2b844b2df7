"""The series of vLLM that dashboards, alerts and the chart's autoscaling read are in its real `/metrics`."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.fakes.exposition import families_in, names_in, queries_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "tests" / "fakes" / "recordings" / "metrics.txt"
SCALED_BY = ("vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")


def test_every_series_of_dashboards_and_alerts_is_there(direct: httpx.Client) -> None:
    families = families_in(direct.get("/metrics").text)
    named = {name for query in queries_of(ROOT) for name in names_in(query) if name.startswith("vllm:")}
    assert len(named) > 10
    assert named - families == set()


def test_what_was_recorded_is_still_counted(direct: httpx.Client) -> None:
    families = families_in(direct.get("/metrics").text)
    recorded = families_in(RECORDED.read_text(encoding="utf-8"))
    assert {name for name in recorded if name.startswith("vllm:")} - families == set()


@pytest.mark.parametrize("name", SCALED_BY)
def test_what_engines_are_scaled_by_names_the_served_model(direct: httpx.Client, name: str) -> None:
    lines = [line for line in direct.get("/metrics").text.splitlines() if line.startswith(f"{name}{{")]
    assert lines
    assert all('model_name="gemma-3n-demo"' in line for line in lines)
