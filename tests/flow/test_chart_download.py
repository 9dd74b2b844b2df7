"""The script of the chart's init container, with the real client of Hugging Face and a hub of a few files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.model_hub import COMMIT, FILES, MODEL, ModelHub, model_hub

SCRIPT = Path(__file__).resolve().parents[2] / "helm" / "files" / "download.py"


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    with model_hub() as served:
        yield served


def downloaded(home: Path, url: str, **given: str) -> tuple[int, str]:
    """Run the script as its pod does; return its exit code and the last line of what it says."""
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    hub = {"HF_HOME": str(home), "HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0"}
    environ = inherited | hub | {"MODEL": MODEL, "REVISION": COMMIT} | given
    text = SCRIPT.read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", text], env=environ, capture_output=True, text=True, check=False)
    return done.returncode, (done.stderr + done.stdout).strip().splitlines()[-1]


def test_a_commit_is_downloaded_once_and_then_read_without_the_hub(hub: ModelHub, tmp_path: Path) -> None:
    code, words = downloaded(tmp_path, hub.url)
    assert (code, f"{MODEL} at {COMMIT} is in " in words) == (0, True), words
    folder = Path(words.rpartition(" is in ")[2])
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == FILES
    assert sorted(hub.sent) == sorted(FILES)
    assert downloaded(tmp_path, "http://127.0.0.1:9") == (code, words)


def test_a_gated_model_wants_the_token_and_says_so(hub: ModelHub, tmp_path: Path) -> None:
    hub.token = "hf_ours"
    code, words = downloaded(tmp_path, hub.url, HF_TOKEN="hf_other")
    assert (code, words.startswith(f"{MODEL} is gated: accept its licence at")) == (1, True), words
    code, words = downloaded(tmp_path, hub.url, HF_TOKEN="hf_ours")
    assert code == 0, words


def test_what_was_cut_off_is_not_taken_for_the_whole(hub: ModelHub, tmp_path: Path) -> None:
    _, words = downloaded(tmp_path, hub.url)
    folder = Path(words.rpartition(" is in ")[2])
    (folder / "model.safetensors").resolve().unlink()
    (folder / "model.safetensors").unlink()
    hub.token = "hf_ours"
    assert downloaded(tmp_path, hub.url)[0] == 1
    assert downloaded(tmp_path, hub.url, HF_TOKEN="hf_ours")[0] == 0
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_commit_that_is_not_there_is_one_line(hub: ModelHub, tmp_path: Path) -> None:
    code, words = downloaded(tmp_path, hub.url, REVISION="f" * 40)
    assert (code, "cannot be downloaded" in words) == (1, True), words
