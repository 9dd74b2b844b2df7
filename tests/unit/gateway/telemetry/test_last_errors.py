"""The last errors: so many, the newest first."""

from __future__ import annotations

from gateway.domain import Outcome
from gateway.telemetry.last_errors import FailedRequest, LastErrors


def failed(number: int) -> FailedRequest:
    return FailedRequest(float(number), f"req_{number}", "/v1", "t", "m", None, 503, Outcome.REFUSED, "code")


def test_the_newest_comes_first_and_the_oldest_goes() -> None:
    errors = LastErrors()
    assert errors.newest_first() == []
    for number in range(25):
        errors.note(failed(number))
    assert errors.newest_first() == [failed(number) for number in range(24, 4, -1)]
