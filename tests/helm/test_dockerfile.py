"""hadolint has nothing to say of Dockerfile.gpu."""

from __future__ import annotations

import subprocess

from tests.helm.chart import ROOT, tool


def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run([tool("hadolint"), ROOT / "Dockerfile.gpu"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_careless_one_would_be_found() -> None:
    text = "FROM python\nRUN cd /tmp && sudo apt-get install x\n"
    done = subprocess.run([tool("hadolint"), "-"], input=text, capture_output=True, text=True, check=False)
    assert "DL3004" in done.stdout
