"""Free memory is what a new process may really take."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from engine.memory import GIB, Gpu, free_gib, gpus


def cgroup(folder: Path, limit: str, used: int, file_cache: int) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {file_cache}\nactive_file 0\nslab 7\n")
    return folder


def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path) -> None:
    machine = psutil.virtual_memory().available / GIB
    assert free_gib(tmp_path / "none") == pytest.approx(machine, rel=0.2)
    assert free_gib(cgroup(tmp_path, "max", 1, 1)) == pytest.approx(machine, rel=0.2)


def test_a_containers_limit_counts_and_its_file_cache_is_free(tmp_path: Path) -> None:
    assert free_gib(cgroup(tmp_path, str(GIB), GIB // 2, GIB // 4)) == pytest.approx(0.75)


def test_a_container_over_its_limit_has_nothing_free(tmp_path: Path) -> None:
    assert free_gib(cgroup(tmp_path, str(GIB), 2 * GIB, 0)) == 0


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo '16384, 1024'; echo '24576, 24000.5'", [Gpu(16, 1), Gpu(24, 24000.5 / 1024)]),
        ("echo '[N/A], [N/A]'", []),
        ("echo broken; exit 9", []),
        ("true", []),
    ],
)
def test_gpus_are_those_that_nvidia_smi_tells_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, found: list[Gpu]
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpus() == found


def test_without_nvidia_smi_none_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []
