"""Generated files, written where they are not current; with `--check` they are only named."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path


def renew(texts: Mapping[Path, str], arguments: Sequence[str] | None = None) -> None:
    """Write the files that have not these texts. Raises SystemExit instead, naming them, where that is asked for."""
    parser = ArgumentParser(allow_abbrev=False)
    parser.add_argument("--check", action="store_true")
    only_check = parser.parse_args(arguments).check
    stale = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if only_check and stale:
        raise SystemExit(f"not current: {', '.join(map(str, stale))}; run: python tools/tables.py")
    for path in stale:
        path.write_text(texts[path], encoding="utf-8")
