"""The documents' tables of parameters, from the policy tables. Pure.

`python -m gateway.prompt.describe` prints those of chats; with `completions` or `responses` after it, those.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from gateway.domain import Endpoint
from gateway.prompt.policy import TABLES, Action, Parameter
from gateway.prompt.response_policy import RESPONSES

DESCRIBED = {
    "chats": TABLES[Endpoint.CHAT],
    "completions": TABLES[Endpoint.COMPLETIONS],
    "responses": RESPONSES,
}
_USES = {Action.PASS: "the engine", Action.CAP: "the engine", Action.GATEWAY: "the gateway"}


def parameter_tables(table: Mapping[str, Parameter]) -> str:
    """Return Markdown: what an endpoint uses, what it accepts without effect, what it refuses and why."""
    rows = table.values()
    return "\n\n".join(
        [
            _table(
                ("parameter", "used by", "must be", "note"),
                [(f"`{row.name}`", _USES[row.action], _wanted(row), row.note) for row in rows if row.action in _USES],
            ),
            f"Accepted without effect: {_names(row for row in rows if row.action is Action.IGNORE)}.",
            _table(
                ("refused with 400", "why"),
                [(_names(refused), note) for note, refused in _by_note(rows).items()],
            ),
        ]
    )


def _wanted(row: Parameter) -> str:
    """Return the check's own words, which is what a client is told: no check takes a plain object."""
    return (row.check.problem(object()) or "") if row.check else ""


def _by_note(rows: Iterable[Parameter]) -> dict[str, list[Parameter]]:
    found: dict[str, list[Parameter]] = {}
    for row in rows:
        if row.action in (Action.REFUSE, Action.SET):
            found.setdefault(row.note, []).append(row)
    return found


def _names(rows: Iterable[Parameter]) -> str:
    return ", ".join(f"`{row.name}`" for row in rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


if __name__ == "__main__":
    print(parameter_tables(DESCRIBED[sys.argv[1] if sys.argv[1:] else "chats"]))
