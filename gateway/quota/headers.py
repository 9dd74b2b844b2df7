"""`x-ratelimit-*` as OpenAI writes them: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from gateway.domain import Headers
from gateway.quota.bucket import Rule

_NAMES = {
    counts_tokens: tuple(f"x-ratelimit-{what}-{kind}".encode() for what in ("limit", "remaining", "reset"))
    for counts_tokens, kind in ((False, "requests"), (True, "tokens"))
}


class _Shown(NamedTuple):
    """A bucket, as it is shown where it is the tightest."""

    place: int
    capacity: float
    refill_per_second: float
    limit: tuple[bytes, bytes]
    remaining: bytes
    reset: bytes


def go_duration(seconds: float) -> str:
    """Return `seconds` as Go prints a duration: `0s`, `12ms`, `1.5s`, `6m0s`, `2h3m0s`."""
    return _in_go(seconds).decode()


def _in_go(seconds: float) -> bytes:
    return _of_milliseconds(math.ceil(max(0.0, seconds) * 1000))


@lru_cache(maxsize=4096)
def _of_milliseconds(all_milliseconds: int) -> bytes:
    whole, milliseconds = divmod(all_milliseconds, 1000)
    if milliseconds and not whole:
        return b"%dms" % milliseconds
    minutes, rest = divmod(whole, 60)
    text = (b"%d.%03d" % (rest, milliseconds)).rstrip(b"0") + b"s" if milliseconds else b"%ds" % rest
    if not minutes:
        return text
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%b" % (hours, minutes, text) if hours else b"%dm%b" % (minutes, text)


class LimitHeaders:
    """The headers of some buckets, but for their balances."""

    __slots__ = ("_kinds",)

    def __init__(self, rules: Sequence[Rule]) -> None:
        kinds: dict[bool, list[_Shown]] = {}
        for index, rule in enumerate(rules):
            limit, remaining, reset = _NAMES[rule.counts_tokens]
            shown = _Shown(
                index, rule.capacity, rule.refill_per_second, (limit, b"%d" % rule.capacity), remaining, reset
            )
            kinds.setdefault(rule.counts_tokens, []).append(shown)
        self._kinds = tuple(kinds.values())

    def of(self, balances: Sequence[float]) -> Headers:
        """Return the headers of the tightest bucket of each kind; the reset is when that bucket is full again."""
        headers: Headers = []
        for kind in self._kinds:
            least = math.inf
            for shown in kind:
                share = balances[shown.place] / shown.capacity
                if share < least:
                    least, tightest = share, shown
            place, capacity, refill_per_second, limit, remaining, reset = tightest
            balance = balances[place]
            full_in_seconds = (capacity - balance) / refill_per_second
            left = b"%d" % balance if balance > 0 else b"0"
            headers += (limit, (remaining, left), (reset, _in_go(full_in_seconds)))
        return headers
