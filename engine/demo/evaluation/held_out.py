"""The frozen questions, read from their file into values that the judge understands.

`held_out.jsonl` was written before the training data. Do not edit it, and do not train on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HELD_OUT = Path(__file__).parent / "held_out.jsonl"


@dataclass(frozen=True, slots=True)
class Case:
    """One question: what is sent, and what a right answer is."""

    id: str
    skill: str
    messages: tuple[Mapping[str, str], ...]
    expect: Mapping[str, Any]
    tools: tuple[Mapping[str, Any], ...] = ()
    response_format: Mapping[str, Any] | None = None

    def request(self) -> dict[str, Any]:
        """Return the fields of a chat completion request that this case fixes."""
        fields: dict[str, Any] = {"messages": list(self.messages)}
        if self.tools:
            fields["tools"] = list(self.tools)
        if self.response_format is not None:
            fields["response_format"] = self.response_format
        return fields


def read_cases(path: Path = HELD_OUT) -> tuple[Case, ...]:
    """Return the cases of a file, in its order.

    Raises `TypeError` for a line that lacks a field or has one that is unknown, `ValueError` for one that is no JSON.
    """
    return tuple(_case(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines())


def _case(*, messages: list[dict[str, str]], tools: list[dict[str, Any]] | None = None, **rest: Any) -> Case:
    return Case(messages=tuple(messages), tools=tuple(tools or ()), **rest)
