"""Rewrite what is generated in documents and chart: `python tools/tables.py`, or `make docs`. Tests hold it current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_README = Path(__file__).resolve().parents[1] / "README.md"
_GENERATORS = {
    "settings": ("config.describe",),
    "parameters": ("gateway.prompt.describe",),
    "completion parameters": ("gateway.prompt.describe", "completions"),
}


def main() -> None:
    """Put each generator's output between its markers, and renew the chart's part."""
    text = _README.read_text(encoding="utf-8")
    for name, command in _GENERATORS.items():
        table = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=True).stdout
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda found, table=table: f"{found[1]}{table.strip()}\n{found[2]}", text)
        if count != 1:
            raise SystemExit(f"README.md has no place for the table of {name}")
    _README.write_text(text, encoding="utf-8")
    for module in ("tools.chart", "tools.dashboards", "tools.metrics_page"):
        subprocess.run([sys.executable, "-m", module], check=True)


if __name__ == "__main__":
    main()
