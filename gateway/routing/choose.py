"""Choose an engine: filter, then score, then pick. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gateway.routing.member import Member, State


def choose(members: Iterable[Member], model: str, avoiding: Collection[str], max_in_flight: int) -> Member | None:
    """Return the ready engine with the fewest requests in flight, None where each is unfit or full.

    Ties go to the first by name, so that the choice can be explained.
    """
    fit = [member for member in members if fits(member, model, avoiding) and member.in_flight < max_in_flight]
    return min(fit, key=lambda member: (member.in_flight, member.replica.name), default=None)


def fits(member: Member, model: str, avoiding: Collection[str]) -> bool:
    """Return whether `member` could serve `model` at all, full or not."""
    return member.state is State.READY and model in member.models and member.replica.name not in avoiding
