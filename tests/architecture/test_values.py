"""Values of a request are frozen where that is checked: by mypy."""

from __future__ import annotations

from pathlib import Path

from mypy import api

from gateway.domain import Asked, Call, Demand, EngineRequest, Prompt, Usage
from gateway.quota.estimate import Expected


def test_nobody_writes_to_one(tmp_path: Path) -> None:
    written, wanted = "", []
    for kind in (Call, Asked, Prompt, Demand, EngineRequest, Usage, Expected):
        name, member = kind.__name__, next(iter(kind.__annotations__))
        written += f"from {kind.__module__} import {name}\n"
        written += f"def write_{name}(one: {name}, other: {name}) -> None: one.{member} = other.{member}\n"
        wanted.append(f'Property "{member}" defined in "{name}" is read-only')
    (tmp_path / "writes.py").write_text(written, encoding="utf-8")
    said, _, _ = api.run(["--strict", str(tmp_path / "writes.py")])
    assert [text for text in wanted if text not in said] == []
