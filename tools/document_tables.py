"""The tables of documents that the code prints: `python -m tools.document_tables` renews them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tools.renewal import renew

_ROOT = Path(__file__).resolve().parents[1]
_GENERATORS = {
    "README.md": {
        "settings": ("config.describe",),
        "parameters": ("gateway.prompt.describe",),
        "completion parameters": ("gateway.prompt.describe", "completions"),
    },
    "docs/responses.md": {"response parameters": ("gateway.prompt.describe", "responses")},
}


def text_of(document: Path, generators: dict[str, tuple[str, ...]]) -> str:
    """Return the document with each generator's output between its markers."""
    text = document.read_text(encoding="utf-8")
    for name, command in generators.items():
        table = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=True).stdout
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda found, table=table: f"{found[1]}{table.strip()}\n{found[2]}", text)
        if count != 1:
            raise SystemExit(f"{document.name} has no place for the table of {name}")
    return text


def main() -> None:
    """Rewrite the pages."""
    renew({_ROOT / name: text_of(_ROOT / name, generators) for name, generators in _GENERATORS.items()})


if __name__ == "__main__":
    main()
