"""torchvision and its kin are removed where they do not import, and left alone where they do."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import repair
from engine.repair import repair_torch_extras

ALL = {"torch": "2.13.0", "torchvision": "0.28.0", "torchaudio": "2.13.0", "torchcodec": "0.9.0"}


class Environment:
    """Packages, and which of them break on import."""

    def __init__(self, versions: dict[str, str], *broken: str, pip_works: bool = True) -> None:
        self.versions = versions
        self.broken = broken
        self.pip_works = pip_works
        self.commands: list[list[str]] = []

    def run(self, command: list[str]) -> bool:
        self.commands.append(command[1:])
        if command[1] == "-c":
            return command[2].removeprefix("import ") not in self.broken
        return self.pip_works


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Environment]:
    def make(versions: dict[str, str], *broken: str, pip_works: bool = True) -> Environment:
        made = Environment(versions, *broken, pip_works=pip_works)
        monkeypatch.setattr(repair, "_versions", lambda: made.versions)
        monkeypatch.setattr(repair, "_run", made.run)
        return made

    return make


Make = Callable[..., Environment]


def test_what_imports_is_left_and_not_tried_again(environment: Make, tmp_path: Path) -> None:
    made = environment(ALL)
    assert repair_torch_extras(tmp_path / "data") is None
    assert made.commands == [["-c", "import torchvision"], ["-c", "import torchaudio"]]
    assert repair_torch_extras(tmp_path / "data") is None
    assert len(made.commands) == 2


def test_other_versions_are_tried_again(environment: Make, tmp_path: Path) -> None:
    made = environment(dict(ALL))
    repair_torch_extras(tmp_path)
    made.versions["torch"] = "2.14.0"
    repair_torch_extras(tmp_path)
    assert len(made.commands) == 4


@pytest.mark.parametrize("broken", ["torchvision", "torchaudio"])
def test_one_that_does_not_import_takes_all_with_it(environment: Make, tmp_path: Path, broken: str) -> None:
    made = environment(ALL, broken)
    assert repair_torch_extras(tmp_path) is None
    assert made.commands[-1] == ["-m", "pip", "uninstall", "-y", "torchvision", "torchaudio", "torchcodec"]
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_installed_is_removed(environment: Make, tmp_path: Path) -> None:
    made = environment({"torch": "2", "torchaudio": "2"}, "torchaudio")
    assert repair_torch_extras(tmp_path) is None
    assert made.commands[-1][-1] == "torchaudio"
    assert "torchvision" not in made.commands[-1]


def test_a_removal_that_fails_is_a_sentence_with_the_command(environment: Make, tmp_path: Path) -> None:
    environment(ALL, "torchvision", pip_works=False)
    sentence = repair_torch_extras(tmp_path)
    assert sentence is not None
    assert f"run: {sys.executable} -m pip uninstall -y torchvision torchaudio torchcodec" in sentence


def test_without_them_nothing_is_done(environment: Make, tmp_path: Path) -> None:
    made = environment({"torch": "2", "torchcodec": "1"})
    assert repair_torch_extras(tmp_path / "data") is None
    assert made.commands == []
    assert not (tmp_path / "data").exists()


def test_a_child_finds_out_what_imports() -> None:
    assert repair._imports("json")
    assert not repair._imports("no_such_module_at_all")


def test_one_that_never_comes_back_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "_TIMEOUT_SECONDS", 0.2)
    assert not repair._run([sys.executable, "-c", "import time; time.sleep(60)"])


def test_versions_are_those_of_the_installed_packages() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "from importlib.metadata import version; print(version('torch'))"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert repair._versions().get("torch", "") == shown.stdout.strip()


@pytest.mark.parametrize("package", ["torchvision", "torchaudio"])
def test_the_install_left_nothing_that_does_not_import(package: str) -> None:
    if importlib.util.find_spec(package) is not None:
        done = subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
