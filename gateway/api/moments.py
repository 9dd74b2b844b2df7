"""Points in time as requests give them."""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import Field

from gateway.errors import InvalidRequest

UnixTime = Annotated[int, Field(ge=0, le=253_402_300_799)]
"""Seconds, to the end of the year 9999: what every reader of a number can hold."""


def in_the_future(expires_at: int | None) -> None:
    """Check an end. Raises InvalidRequest for one that has passed."""
    if expires_at is not None and expires_at <= time.time():
        raise InvalidRequest("'expires_at' is not in the future.", param="expires_at", code="invalid_value")
