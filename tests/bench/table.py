"""Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Cell = str | float | int | None


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a Markdown table; None is a dash, a number has as many digits as it is worth."""
    lines = [head, ["---"] * len(head), *([shown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(cell: Cell) -> str:
    """Return a cell's text: three significant digits, and no fewer than the whole number has."""
    if cell is None:
        return "–"
    if isinstance(cell, str | int):
        return f"{cell:,}" if isinstance(cell, int) else cell
    if abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"


def listed(errors: Mapping[str, int]) -> str:
    """Return errors as `12 × status 503`, 0 where there are none."""
    return ", ".join(f"{count:,} × {kind}" for kind, count in errors.items()) or "0"


def percent(share: float) -> str:
    """Return a share as a reader wants it."""
    return f"{share:.0%}"


def ratio(cost: float | None, reference: float | None) -> float | None:
    """Return how many times `reference` a cost is; None where either is missing."""
    return cost / reference if cost and reference else None
