"""The chart as Helm renders it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import Settings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm"
VALUES = sorted((Path(__file__).parent / "values").glob("*.yaml"))
BY_VALUES = pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
OPERATORS = ("monitoring.coreos.com/v1", "keda.sh/v1alpha1", "gateway.networking.k8s.io/v1")
HELMS = ("helm4", "helm3")
KUBERNETES = tuple(f"1.{minor}" for minor in range(28, 38))

Object = dict[str, Any]


def tool(name: str) -> str:
    """Return the path of a tool; a test that needs one that could not be had is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"the chart's test tool {name} could not be installed")
    return found


def helm(*arguments: str | Path, version: str = "helm4") -> subprocess.CompletedProcess[str]:
    """Run Helm and return how it ended."""
    command = [tool(version), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@dataclass(frozen=True, slots=True)
class Rendered:
    """What `helm template` printed, and the objects in it."""

    text: str
    objects: list[Object] = field(repr=False)

    def of(self, kind: str) -> list[Object]:
        """Return the objects of one kind."""
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind: str, component: str) -> Object:
        """Return the one object of this kind and component."""
        label = "app.kubernetes.io/component"
        (found,) = (each for each in self.of(kind) if each["metadata"]["labels"][label] == component)
        return found

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Yield name and template of everything that becomes a pod."""
        for found in self.objects:
            if found["kind"] == "Pod":
                yield found["metadata"]["name"], found
            elif "template" in found.get("spec", {}):
                yield found["metadata"]["name"], found["spec"]["template"]


def render(
    *values: Path | str,
    chart: Path = CHART,
    version: str = "helm4",
    kube: str = "1.33",
    apis: Sequence[str] = OPERATORS,
) -> Rendered:
    """Return the chart rendered with files of values and `--set` assignments."""
    arguments: list[str | Path] = ["template", "g", chart, "--namespace", "chat", "--kube-version", f"{kube}.0"]
    for value in values:
        arguments += ["--values", value] if isinstance(value, Path) else ["--set", value]
    for api in apis:
        arguments += ["--api-versions", api]
    done = helm(*arguments, version=version)
    assert done.returncode == 0, done.stderr
    return Rendered(done.stdout, [each for each in yaml.safe_load_all(done.stdout) if each])


def refusal(*assignments: str, version: str = "helm4") -> str:
    """Return what Helm says to values that it must refuse."""
    arguments = [part for assignment in assignments for part in ("--set", assignment)]
    done = helm("template", "g", CHART, *arguments, version=version)
    assert done.returncode != 0, f"{assignments} were taken"
    return done.stderr


def environment(**more: str) -> dict[str, str]:
    """Return the environment with `more`."""
    return {**os.environ, **more}


def settings_in(rendered: Rendered, component: str) -> Settings:
    """Return the settings of a ConfigMap, read by the schema that the program reads them with."""
    return Settings.model_validate(yaml.safe_load(rendered.one("ConfigMap", component)["data"]["gateway.yaml"]))


def container(template: Object) -> Object:
    """Return a pod's one container."""
    (found,) = template["spec"]["containers"]
    return dict(found)


def variables(template: Object) -> dict[str, Any]:
    """Return a container's variables by name."""
    return {entry["name"]: entry for entry in container(template)["env"]}


def sleep_of(spec: Object) -> int:
    """Return how long a pod sleeps before its SIGTERM."""
    return int(spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"])


def service(rendered: Rendered, name: str) -> Object:
    """Return the spec of a Service."""
    (found,) = (each for each in rendered.of("Service") if each["metadata"]["name"] == name)
    return dict(found["spec"])
