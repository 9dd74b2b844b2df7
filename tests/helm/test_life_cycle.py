"""Helm installs the last release, upgrades it to this chart, rolls back and removes it, on a simulated server."""

from __future__ import annotations

import base64
import copy
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helm.chart import CHART, VALUES, Object, environment, tool
from tests.helm.cluster.api import Cluster, cluster

LAST_RELEASE = Path(__file__).parent / "releases" / "gemma-gateway-0.1.0.tgz"
OF_THEN = [values for values in VALUES if values.stem != "download"]
SECRET = ("secrets", "g-gemma-gateway")
GATEWAY = ("deployments", "g-gemma-gateway-gateway")
REDIS = ("statefulsets", "g-gemma-gateway-redis")


class Life:
    """A release on a server of its own."""

    def __init__(self, server: Cluster, home: Path) -> None:
        self.server = server
        self._home = home

    def helm(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run Helm against the server."""
        command = [tool("helm4"), "--kube-apiserver", self.server.url, "--namespace", "chat", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env=environment(HOME=str(self._home))
        )

    def done(self, verb: str, *arguments: str | Path) -> str:
        """Run Helm likewise; it has to succeed."""
        known = ["--disable-openapi-validation"] if verb in ("install", "upgrade") else []
        ended = self.helm(verb, "g", *arguments, *known)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def objects(self) -> dict[tuple[str, str], Object]:
        """Return what is there, without Helm's own records and without the server's marks."""
        found = copy.deepcopy({key: each for key, each in self.server.objects.items() if "helm.release" not in key[1]})
        for each in found.values():
            del each["metadata"]["resourceVersion"]
        return found

    def annotations(self, key: tuple[str, str]) -> dict[str, str]:
        """Return those of a workload's pods."""
        return dict(self.server.objects[key]["spec"]["template"]["metadata"]["annotations"])


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    with cluster() as server:
        yield Life(server, tmp_path)


@pytest.mark.parametrize("values", OF_THEN, ids=lambda path: path.stem)
def test_the_last_release_is_upgraded_and_comes_back(values: Path, life: Life) -> None:
    life.done("install", LAST_RELEASE, "--values", values)
    before = life.objects()
    life.done("upgrade", CHART, "--reset-then-reuse-values")
    after = life.objects()
    assert before.keys() <= after.keys()
    assert after.get(SECRET, {}).get("data") == before.get(SECRET, {}).get("data")
    life.done("rollback", "1")
    assert life.objects() == before
    life.done("uninstall")
    assert life.objects() == {}


def test_values_of_the_last_release_do_by_themselves(life: Life) -> None:
    """`--reuse-values` takes none of this chart's defaults: every value that is new has to be one to do without."""
    life.done("install", LAST_RELEASE)
    life.done("upgrade", CHART, "--reuse-values")


def test_an_upgrade_without_a_change_makes_no_pod_anew(life: Life) -> None:
    life.done("install", CHART)
    before = life.objects()
    life.done("upgrade", CHART)
    assert life.objects() == before
    assert "made:" not in life.helm("get", "values", "g", "--all").stdout.split()


@pytest.mark.parametrize(
    ("changed", "pods"), [("jwt-secret", {GATEWAY}), ("redis-password", {GATEWAY, REDIS}), ("more", {GATEWAY})]
)
def test_a_changed_secret_makes_its_readers_anew(changed: str, pods: set[tuple[str, str]], life: Life) -> None:
    life.done("install", CHART)
    before = {key: life.annotations(key) for key in (GATEWAY, REDIS)}
    new = base64.b64encode(b"another").decode()
    life.server.objects[SECRET]["data"][changed] = new
    life.done("upgrade", CHART)
    assert {key for key, annotations in before.items() if annotations != life.annotations(key)} == pods
    if changed != "more":
        assert life.server.objects[SECRET]["data"][changed] == new


def test_what_cannot_change_would_be_refused(life: Life) -> None:
    life.done("install", CHART)
    change = ("--set", "engine.modelCache.size=1Ti", "--disable-openapi-validation")
    ended = life.helm("upgrade", "g", CHART, *change)
    assert (ended.returncode, "volumeClaimTemplates: field is immutable" in ended.stderr) == (1, True), ended.stderr
