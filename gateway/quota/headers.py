"""`x-ratelimit-*` as OpenAI writes them: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers."""

from __future__ import annotations

import math

from gateway.domain import Headers
from gateway.quota.bucket import Rule


def go_duration(seconds: float) -> str:
    """Return `seconds` as Go prints a duration: `0s`, `12ms`, `1.5s`, `6m0s`, `2h3m0s`."""
    milliseconds = math.ceil(max(0.0, seconds) * 1000)
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def request_headers(rules: tuple[Rule, ...], balances: tuple[float, ...]) -> Headers:
    """Return the headers of the tightest bucket; the reset is when that bucket is full again."""
    if not rules:
        return []
    rule, balance = min(zip(rules, balances, strict=True), key=lambda pair: pair[1] / pair[0].capacity)
    reset = (rule.capacity - balance) / rule.refill_per_second
    return [
        (b"x-ratelimit-limit-requests", str(rule.capacity).encode()),
        (b"x-ratelimit-remaining-requests", str(max(0, math.floor(balance))).encode()),
        (b"x-ratelimit-reset-requests", go_duration(reset).encode()),
    ]
