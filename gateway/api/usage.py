"""`/v1/usage`: what the caller has used; `/admin/usage`: what everybody has. JSON, or CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, fields
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import JSONResponse

from gateway.api.pages import page
from gateway.api.state import AdminOf, CallerOf, RoomsOf
from gateway.errors import InvalidRequest
from gateway.quota.ledger import UsageRow, days_between

router = APIRouter(tags=["usage"])

_DEFAULT_DAYS = 30
_MAX_DAYS = 366
_COLUMNS = [field.name for field in fields(UsageRow)]
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Range:
    """The days that are asked for, in UTC: the last thirty unless said otherwise."""

    def __init__(
        self,
        start: Annotated[date | None, Query(description="First day, `2026-01-31`.")] = None,
        end: Annotated[date | None, Query(description="Last day; today without it.")] = None,
    ) -> None:
        last = end or datetime.now(UTC).date()
        first = start or _days_before(last)
        if first > last:
            raise InvalidRequest("'start' must not be after 'end'.", param="start", code="invalid_value")
        if (last - first).days >= _MAX_DAYS:
            raise InvalidRequest(f"At most {_MAX_DAYS} days at once.", param="start", code="invalid_value")
        self.days = days_between(first, last)


def _days_before(last: date) -> date:
    """Return the first of the days that are shown up to `last`. Raises InvalidRequest."""
    try:
        return last - timedelta(days=_DEFAULT_DAYS - 1)
    except OverflowError:
        # The calendar begins with the year 1.
        raise InvalidRequest("'end' is too long ago.", param="end", code="invalid_value") from None


Format = Annotated[Literal["json", "csv"] | None, Query(description="`csv`, or `Accept: text/csv`; else JSON.")]
Accept = Annotated[str, Header(include_in_schema=False)]


@router.get("/v1/usage")
async def own_usage(
    rooms: RoomsOf,
    caller: CallerOf,
    asked: Annotated[Range, Depends()],
    format: Format = None,  # noqa: A002
    accept: Accept = "",
) -> Response:
    """Say what the caller has used: requests and tokens by day and model."""
    rows = await rooms.ledger.of_tenant(caller.tenant, asked.days, caller.user)
    return _written(rows, format, accept)


@router.get("/admin/usage")
async def all_usage(
    rooms: RoomsOf,
    admin: AdminOf,
    asked: Annotated[Range, Depends()],
    tenant: str | None = None,
    format: Format = None,  # noqa: A002
    accept: Accept = "",
) -> Response:
    """Say what everybody has used, or one tenant: requests and tokens by tenant, day, user and model."""
    del admin
    if tenant is None:
        rows = await rooms.ledger.of_all(asked.days)
    elif set("{}") & set(tenant):
        rows = []
    else:
        rows = await rooms.ledger.of_tenant(tenant, asked.days)
    return _written(rows, format, accept)


def _written(rows: list[UsageRow], wanted: str | None, accept: str) -> Response:
    if wanted == "csv" or (wanted is None and "text/csv" in accept):
        return Response(as_csv(rows), media_type="text/csv; charset=utf-8")
    return JSONResponse(page([{"id": _id_of(row), "object": "usage", **asdict(row)} for row in rows]))


def _id_of(row: UsageRow) -> str:
    return "/".join(quote(part, safe="") for part in (row.day, row.tenant, row.user, row.model))


def as_csv(rows: list[UsageRow]) -> str:
    """Return the rows below their columns' names. What a spreadsheet would take for a formula is made text."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([_harmless(value) for value in asdict(row).values()])
    return out.getvalue()


def _harmless(value: str | int) -> str | int:
    """Return a cell that no spreadsheet runs: https://owasp.org/www-community/attacks/CSV_Injection."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value
