"""Ask the advisory database of PyPI about every locked release: `make audit`, which needs the Internet.

pip-audit passes over releases that its database does not answer for; where that is all of them, nothing was audited,
and that is a failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("gateway.txt", "engine.txt", "build.txt")


def main() -> int:
    """Print each known weakness; exit code 1 where there is one, or where nothing could be asked."""
    releases = [release for name in LOCKS for release in _audited(name)]
    asked = [release for release in releases if "vulns" in release]
    for release in asked:
        for found in release["vulns"]:
            print(
                f"{release['name']} {release['version']}: {found['id']}, fixed in {found['fix_versions'] or 'nothing'}"
            )
    print(f"{len(asked)} of {len(releases)} releases could be audited.")
    return int(not asked or any(release["vulns"] for release in asked))


def _audited(name: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json"]
    done = subprocess.run(
        [*command, "--requirement", str(ROOT / "requirements" / name)], capture_output=True, text=True, check=False
    )
    if not done.stdout.strip():
        sys.exit(f"{name} could not be audited: {done.stderr.strip()}")
    found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    return found


if __name__ == "__main__":
    sys.exit(main())
