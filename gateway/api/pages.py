"""The shape of every list."""

from __future__ import annotations

from gateway.domain import JsonObject


def page(data: list[JsonObject], *, more: bool = False) -> JsonObject:
    """Return one page of a list; `more` says that there are entries after it."""
    return {
        "object": "list",
        "data": data,
        "has_more": more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
