"""checkov finds nothing but what is written down with a reason."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.chart import VALUES, render, tool

SKIPS: dict[str, str] = yaml.safe_load((Path(__file__).parent / "policy-skips.yaml").read_text(encoding="utf-8"))
OF_A_TEST = frozenset({"CKV_K8S_8", "CKV_K8S_9"})
"""Probes; the pod of `helm test` ends by itself."""


CARELESS = "careless"


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, str]]]:
    """Id and resource of each check that fails, by file of values, and for a chart with one careless line."""
    folder = tmp_path_factory.mktemp("rendered")
    texts = {values.stem: render(values).text for values in VALUES}
    careful, careless = "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"
    texts[CARELESS] = texts["default"].replace(careful, careless)
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    command = [tool("checkov"), "-d", str(folder), "--framework", "kubernetes", "--skip-download", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["summary"]["passed"] > 1000
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in texts}
    for failed in report["results"]["failed_checks"]:
        found[Path(failed["file_path"]).stem].add((failed["check_id"], failed["resource"]))
    return found


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_nothing_fails_that_is_not_explained(values: Path, failures: dict[str, set[tuple[str, str]]]) -> None:
    unexplained = {
        (check, resource)
        for check, resource in failures[values.stem]
        if check not in SKIPS and not (check in OF_A_TEST and resource.startswith("Pod."))
    }
    assert unexplained == set()


def test_every_skip_is_needed(failures: dict[str, set[tuple[str, str]]]) -> None:
    assert {check for check, _ in failures["default"]} >= set(SKIPS)


def test_a_careless_pod_would_be_found(failures: dict[str, set[tuple[str, str]]]) -> None:
    assert "CKV_K8S_20" in {check for check, _ in failures[CARELESS]}
