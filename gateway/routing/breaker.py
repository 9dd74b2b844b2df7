"""When an engine is taken out for failing requests, and how it comes back. Pure.

An engine may be healthy by its own word and fail every request. `breaker_failures` in a row take it out for a time that
doubles with each time; then one failure is enough until it has come back for good. It comes back slowly: its share of
the requests grows, because an engine with cold caches that is given everybody at once fails again.
"""

from __future__ import annotations

from config import RoutingSettings
from gateway.routing.member import Member

_FIRST_SHARE = 0.1
_MOST_DOUBLINGS = 16


def answered(member: Member) -> None:
    """Note that a request got its answer, or what its client wanted of it."""
    member.failures = 0


def tripped(member: Member, settings: RoutingSettings) -> bool:
    """Note a failed request; return whether the engine should be taken out."""
    member.failures += 1
    on_trial = member.ejections > 0
    return member.failures >= (1 if on_trial else settings.breaker_failures)


def eject(member: Member, settings: RoutingSettings, now: float) -> None:
    """Take the engine out for its time."""
    seconds = settings.breaker_seconds * 2.0 ** min(member.ejections, _MOST_DOUBLINGS)
    member.ejected_until = now + min(seconds, settings.breaker_max_seconds)
    member.ejections += 1
    member.failures = 0


def come_back(member: Member) -> None:
    """Begin with a small share."""
    member.share = _FIRST_SHARE


def grow(member: Member, settings: RoutingSettings, seconds: float) -> None:
    """Give an engine that has been well for `seconds` more of its share; with all of it, the past is forgotten."""
    if member.share < 1.0:
        member.share = min(1.0, member.share + seconds / settings.slow_start_seconds)
        if member.share == 1.0:
            member.ejections = 0
