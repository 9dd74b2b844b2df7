"""`x-ratelimit-*` as OpenAI's SDKs read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import Headers
from gateway.quota.bucket import Rule
from gateway.quota.headers import LimitHeaders, go_duration

MINUTE = Rule("minute", 60, 60)
HOUR = Rule("hour", 100, 3600)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (0.0001, "1ms"),
        (0.012, "12ms"),
        (0.0121, "13ms"),
        (0.999, "999ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (1.5, "1.5s"),
        (8.64, "8.64s"),
        (10, "10s"),
        (59.9999, "1m0s"),
        (60, "1m0s"),
        (100, "1m40s"),
        (360, "6m0s"),
        (360.25, "6m0.25s"),
        (3600, "1h0m0s"),
        (7380, "2h3m0s"),
        (7380.001, "2h3m0.001s"),
        (90_000, "25h0m0s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e6))
def test_a_duration_is_never_shorter_than_the_wait_and_at_most_a_millisecond_longer(seconds: float) -> None:
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?|(\d+)ms", go_duration(seconds))
    assert found
    hours, minutes, rest, milliseconds = (float(part or 0) for part in found.groups())
    read = hours * 3600 + minutes * 60 + rest + milliseconds / 1000
    assert seconds - 1e-6 <= read <= seconds + 0.001 + 1e-6


@pytest.mark.parametrize(
    ("balances", "expected"),
    [
        ((60.0, 100.0), (b"60", b"60", b"0s")),
        ((62.5, 104.2), (b"60", b"62", b"0s")),
        ((59.0, 99.0), (b"60", b"59", b"1s")),
        ((59.9, 50.0), (b"100", b"50", b"30m0s")),
        ((0.4, 99.0), (b"60", b"0", b"59.6s")),
        ((-3.0, 99.0), (b"60", b"0", b"1m3s")),
    ],
)
def test_the_tightest_bucket_is_shown(balances: tuple[float, float], expected: tuple[bytes, bytes, bytes]) -> None:
    limit, remaining, reset = expected
    shown: Headers = [
        (b"x-ratelimit-limit-requests", limit),
        (b"x-ratelimit-remaining-requests", remaining),
        (b"x-ratelimit-reset-requests", reset),
    ]
    assert LimitHeaders((MINUTE, HOUR)).of(balances) == shown


def test_requests_and_tokens_have_headers_of_their_own() -> None:
    tokens, day = Rule("tokens_minute", 600, 60, counts_tokens=True), Rule("tokens_day", 10_000, 86_400, True)
    shown = LimitHeaders((MINUTE, tokens, HOUR, day)).of((30.0, 540.0, 90.0, -50.5))
    assert shown == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"30"),
        (b"x-ratelimit-reset-requests", b"30s"),
        (b"x-ratelimit-limit-tokens", b"10000"),
        (b"x-ratelimit-remaining-tokens", b"0"),
        (b"x-ratelimit-reset-tokens", b"24h7m16.32s"),
    ]


def test_without_limits_no_header_is_sent() -> None:
    assert LimitHeaders(()).of(()) == []
