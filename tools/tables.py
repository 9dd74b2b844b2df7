"""Rewrite what is generated in documents and chart: `python tools/tables.py`, or `make docs`. Tests hold it current.

`--check` writes nothing and fails where something is not current.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_GENERATORS = ("tools.document_tables", "tools.chart", "tools.dashboards", "tools.metrics_page")


def main() -> int:
    """Have every generator do its part; the exit code is that of the worst."""
    parser = ArgumentParser(description="Rewrite what is generated in documents and chart.", allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something is not current")
    arguments = ["--check"] if parser.parse_args().check else []
    commands = [[sys.executable, "-m", generator, *arguments] for generator in _GENERATORS]
    return max(subprocess.run(command, cwd=_ROOT, check=False).returncode for command in commands)


if __name__ == "__main__":
    sys.exit(main())
