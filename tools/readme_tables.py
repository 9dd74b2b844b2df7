"""The tables of README.md that the code prints: `python -m tools.readme_tables` renews them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tools.renewal import renew

_README = Path(__file__).resolve().parents[1] / "README.md"
_GENERATORS = {
    "settings": ("config.describe",),
    "parameters": ("gateway.prompt.describe",),
    "completion parameters": ("gateway.prompt.describe", "completions"),
}


def readme_text() -> str:
    """Return the README with each generator's output between its markers."""
    text = _README.read_text(encoding="utf-8")
    for name, command in _GENERATORS.items():
        table = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=True).stdout
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda found, table=table: f"{found[1]}{table.strip()}\n{found[2]}", text)
        if count != 1:
            raise SystemExit(f"README.md has no place for the table of {name}")
    return text


def main() -> None:
    """Rewrite the page."""
    renew({_README: readme_text()})


if __name__ == "__main__":
    main()
