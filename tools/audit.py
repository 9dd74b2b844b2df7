"""Ask the advisory database of PyPI about every locked release: `make audit`, which installs pip-audit into `.audit/`.

The exit code is 1 for a known weakness and for nothing else. What could not be asked is said in capitals: pip-audit
passes over releases that its database does not answer for, and where that is all of them, nothing was audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("gateway.txt", "engine.txt", "build.txt")
CACHE = ROOT / ".audit"
PIP_AUDIT = "pip-audit==2.9.0"


class NotAsked(Exception):
    """The database was not reached, or pip-audit could not be had."""


def main() -> int:
    """Print each known weakness and what was not audited."""
    found = False
    try:
        python = _with_pip_audit()
    except (NotAsked, OSError, subprocess.CalledProcessError) as error:
        print(f"NOT AUDITED: {PIP_AUDIT} could not be installed: {error}")
        return 0
    for name in LOCKS:
        try:
            releases = _audited(python, name)
        except NotAsked as error:
            print(f"NOT AUDITED: {name}: {error}")
            continue
        asked = [release for release in releases if "vulns" in release]
        for release in asked:
            for weakness in release["vulns"]:
                found = True
                fixed = weakness["fix_versions"] or "nothing"
                print(f"{release['name']} {release['version']}: {weakness['id']}, fixed in {fixed}")
        if asked:
            print(f"audited: {name}: the database knows {len(asked)} of {len(releases)} releases.")
        else:
            print(f"NOT AUDITED: {name}: the database answered for none of {len(releases)} releases. Is it reached?")
    return int(found)


def _with_pip_audit() -> Path:
    """Return the Python of an environment with pip-audit, which is kept; what is audited is not installed in it."""
    python, stamp = CACHE / "bin" / "python", CACHE / ".installed"
    if not (stamp.is_file() and stamp.read_text(encoding="utf-8") == PIP_AUDIT):
        venv.create(CACHE, clear=True, with_pip=True)
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", PIP_AUDIT]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise NotAsked(_last_line(done))
        stamp.write_text(PIP_AUDIT, encoding="utf-8")
    return python


def _audited(python: Path, name: str) -> list[dict[str, Any]]:
    """Return what pip-audit says of a lock's releases. Raises NotAsked."""
    command = [str(python), "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json"]
    done = subprocess.run(
        [*command, "--requirement", str(ROOT / "requirements" / name)], capture_output=True, text=True, check=False
    )
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError, TypeError):
        raise NotAsked(_last_line(done)) from None
    return found


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"it ended with {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
