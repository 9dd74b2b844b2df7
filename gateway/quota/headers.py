"""`x-ratelimit-*` as OpenAI writes them: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gateway.domain import Headers
from gateway.quota.bucket import Rule

_NAMES = {
    counts_tokens: tuple(f"x-ratelimit-{what}-{kind}".encode() for what in ("limit", "remaining", "reset"))
    for counts_tokens, kind in ((False, "requests"), (True, "tokens"))
}


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


def limit_headers(rules: Sequence[Rule], balances: Sequence[float]) -> Headers:
    """Return the headers of the tightest bucket of each kind; the reset is when that bucket is full again."""
    tightest: dict[bool, tuple[float, Rule, float]] = {}
    for rule, balance in zip(rules, balances, strict=True):
        share = balance / rule.capacity
        found = tightest.get(rule.counts_tokens)
        if found is None or share < found[0]:
            tightest[rule.counts_tokens] = (share, rule, balance)
    headers: Headers = []
    for counts_tokens, (_, rule, balance) in tightest.items():
        limit, remaining, reset = _NAMES[counts_tokens]
        full_in_seconds = (rule.capacity - balance) / rule.refill_per_second
        headers.append((limit, b"%d" % rule.capacity))
        headers.append((remaining, b"%d" % max(0, math.floor(balance))))
        headers.append((reset, go_duration(full_in_seconds).encode()))
    return headers
