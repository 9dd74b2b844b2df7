"""Ask the advisory database of PyPI about every locked release: `make audit`, which needs the Internet and pip-audit.

The exit code is 1 for a known weakness and for nothing else. What could not be asked is said in capitals: pip-audit
passes over releases that its database does not answer for, and where that is all of them, nothing was audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("gateway.txt", "engine.txt", "build.txt")


class NotAsked(Exception):
    """The database was not reached, or pip-audit is not there."""


def main() -> int:
    """Print each known weakness and what was not audited."""
    found = False
    for name in LOCKS:
        try:
            releases = _audited(name)
        except NotAsked as error:
            print(f"NOT AUDITED: {name}: {error}")
            continue
        asked = [release for release in releases if "vulns" in release]
        for release in asked:
            for weakness in release["vulns"]:
                found = True
                fixed = weakness["fix_versions"] or "nothing"
                print(f"{release['name']} {release['version']}: {weakness['id']}, fixed in {fixed}")
        said = "audited" if asked else "NOT AUDITED"
        print(f"{said}: {name}: the database knows {len(asked)} of {len(releases)} releases.")
    return int(found)


def _audited(name: str) -> list[dict[str, Any]]:
    """Return what pip-audit says of a lock's releases. Raises NotAsked."""
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json"]
    done = subprocess.run(
        [*command, "--requirement", str(ROOT / "requirements" / name)], capture_output=True, text=True, check=False
    )
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError, TypeError):
        lines = done.stderr.strip().splitlines()
        raise NotAsked(lines[-1] if lines else f"pip-audit ended with {done.returncode}") from None
    return found


if __name__ == "__main__":
    sys.exit(main())
