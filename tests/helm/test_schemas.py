"""Every object is one that Kubernetes, or the operator it is for, takes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.helm.chart import KUBERNETES, OPERATORS, VALUES, environment, render, tool

OWN_KINDS = ("ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute")


def complaints(texts: dict[str, str], folder: Path, kube: str) -> list[str]:
    """Return what the strict schemas of one version say of rendered texts, but for kinds that they cannot know."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    files = [str(folder / f"{name}.yaml") for name in texts]
    command = [tool("kubernetes-validate"), "--strict", "-k", kube, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    found = [line for line in lines if " passed for resource " not in line]
    assert len(lines) - len(found) > 10
    return [line for line in found if not any(f"Couldn't find schema for kind {kind} " in line for kind in OWN_KINDS)]


@pytest.mark.parametrize("kube", KUBERNETES)
def test_kubernetes_takes_every_object(kube: str, tmp_path: Path) -> None:
    texts = {values.stem: render(values, kube=kube).text for values in VALUES}
    assert complaints(texts, tmp_path, kube) == []


def test_a_wrong_object_would_be_found(tmp_path: Path) -> None:
    text = render().text.replace("containerPort: 8000", 'containerPort: "8000"')
    assert complaints({"wrong": text}, tmp_path, "1.33")


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_operators_take_their_objects(values: Path) -> None:
    objects = [each for each in render(values).objects if each["apiVersion"] in OPERATORS]
    assert models(objects) == [f"checked {len(objects)}"]


def test_a_wrong_custom_resource_would_be_found() -> None:
    (monitor,) = render().of("ServiceMonitor")
    monitor["spec"]["endpoints"][0]["port"] = 8000
    assert len(models([monitor])) == 2


def models(objects: list[dict[str, object]]) -> list[str]:
    """Return what the operators' own schemas say."""
    folder = Path(environment()["HELM_CHECK_TOOLS"]) / "npm"
    if not (folder / "node_modules").is_dir():
        pytest.skip("the chart's test tool npm could not be installed")
    script = Path(__file__).parent / "resources.mjs"
    done = subprocess.run(
        [tool("node"), script, folder], input=json.dumps(objects), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
