"""What Kubernetes does not let an upgrade change stays the same, whatever changes around it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helm.chart import CHART, VALUES, Object, Rendered, render

FIRST_RELEASE = Path(__file__).parent / "immutable-0.1.0.json"
CHANGES = [
    "commonLabels.environment=prod",
    "gateway.podLabels.environment=prod",
    "engine.podLabels.environment=prod",
    "settings.limits.requests_per_minute=7",
    "gateway.replicas=5",
    "engine.replicas=3",
    "engine.gpu.count=2",
    "redis.maxMemory=1gb",
    "profile=gpu,settings.engine.max_num_seqs=8",
]


def immutable(rendered: Rendered) -> dict[str, Any]:
    """Return what the API server refuses to change, by object."""
    found: dict[str, Any] = {}
    for each in rendered.objects:
        name = f"{each['kind']}/{each['metadata']['name']}"
        spec = each.get("spec", {})
        if each["kind"] == "Deployment":
            found[name] = {"selector": spec["selector"]}
        elif each["kind"] == "StatefulSet":
            found[name] = {
                "selector": spec["selector"],
                "serviceName": spec["serviceName"],
                "podManagementPolicy": spec.get("podManagementPolicy"),
                "volumeClaimTemplates": spec.get("volumeClaimTemplates", []),
            }
        elif each["kind"] == "Service":
            found[name] = {"clusterIP": spec.get("clusterIP")}
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_labels_and_values_do_not_reach_what_cannot_change(change: str) -> None:
    assert immutable(render(change)) == immutable(render())


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_a_new_version_does_not_reach_what_cannot_change(values: Path, tmp_path: Path) -> None:
    newer = tmp_path / "helm"
    shutil.copytree(CHART, newer)
    chart = newer / "Chart.yaml"
    text = re.sub(r"^(version|appVersion): .*$", r"\1: 9.9.9", chart.read_text(encoding="utf-8"), flags=re.MULTILINE)
    chart.write_text(text, encoding="utf-8")
    later = render(values, chart=newer)
    assert "9.9.9" in later.text
    assert immutable(later) == immutable(render(values))


def test_the_first_release_can_be_upgraded() -> None:
    first: Object = json.loads(FIRST_RELEASE.read_text(encoding="utf-8"))
    now = immutable(render())
    assert {name: now.get(name) for name in first} == first
