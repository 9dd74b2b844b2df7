"""The `openai` package from npm, installed as the lock file says, and the script that talks with it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "node"
SCRIPT = FOLDER / "chat.mjs"
_INSTALLED = FOLDER / "node_modules" / ".package-lock.json"
_LOCK = FOLDER / "package-lock.json"


def node_with_openai() -> str:
    """Return the path of node, with the package installed; once for all runs. Skips where there is no node."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("node and npm are not installed")
    if not _INSTALLED.exists() or _INSTALLED.stat().st_mtime < _LOCK.stat().st_mtime:
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return found
