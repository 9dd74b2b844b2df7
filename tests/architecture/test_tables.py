"""What is generated in documents and chart is renewed by one command, which can also only look."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.renewal import renew

ROOT = Path(__file__).parents[2]


def tables(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command and return how it ended."""
    command = [sys.executable, "tools/tables.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_everything_is_current() -> None:
    done = tables("--check")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_an_argument_that_nobody_knows_is_refused_and_nothing_is_written() -> None:
    done = tables("--chek")
    assert (done.returncode, "unrecognized arguments: --chek" in done.stderr) == (2, True), done.stderr


def test_what_is_not_current_is_named_and_written_only_where_that_is_wanted(tmp_path: Path) -> None:
    old, new, current = (tmp_path / name for name in ("old", "new", "current"))
    old.write_text("before", encoding="utf-8")
    current.write_text("as it is", encoding="utf-8")
    texts = {old: "after", new: "made", current: "as it is"}
    with pytest.raises(SystemExit) as stopped:
        renew(texts, ["--check"])
    assert (str(old) in str(stopped.value), str(new) in str(stopped.value)) == (True, True)
    assert str(current) not in str(stopped.value)
    assert (old.read_text(encoding="utf-8"), new.exists()) == ("before", False)
    renew(texts, [])
    assert {path: path.read_text(encoding="utf-8") for path in texts} == texts
    renew(texts, ["--check"])
