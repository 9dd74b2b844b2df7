"""Choose an engine: filter, then score, then pick. Pure.

`affinity` is consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam: arXiv:1608.01350) over rendezvous
hashing (Thaler, Ravishankar, 1998): each conversation has an order of all engines and goes to the first that has not
more than its share. So the engine that has its prefix cached is asked again, an engine more or less moves only that
engine's share of the conversations, and no engine is flooded because a popular prompt lives there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from config import Settings
from config.routing import RoutingPolicy
from gateway.domain import NO_MEDIUM, Demand, Medium
from gateway.routing.member import Member, State

_READY = State.READY
_MASK = 2**64 - 1
_FREE_OF_SHARE = 4.0
"""With so little to do an engine keeps its conversations, whatever the others have: batching makes it nearly free."""
_FULL_KV_CACHE = 0.95
"""Above this, vLLM begins to put running requests back."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one engine is given. `load_factor`: how many times its share before a conversation goes elsewhere."""

    max_in_flight: int
    max_prefill_tokens: int
    load_factor: float = 1.25
    longest_prompt_tokens: int = 0

    def shared_by(self, gateways: int) -> Bounds:
        """Return what one of so many gateways may give an engine: together they give it no more, but for rounding.

        The longest prompt fits each part: else it would have to wait until this gateway has no other there.
        """
        longest_tokens = min(self.longest_prompt_tokens, self.max_prefill_tokens)
        return replace(
            self,
            max_in_flight=_share_of(gateways, self.max_in_flight),
            max_prefill_tokens=max(_share_of(gateways, self.max_prefill_tokens), longest_tokens),
        )


def bounds_of(settings: Settings) -> Bounds:
    """Return what an engine is given by all gateways together: what is set, or else what vLLM's queue allows."""
    routing, engine = settings.routing, settings.engine
    return Bounds(
        max_in_flight=routing.max_in_flight or engine.queued_requests_bound,
        max_prefill_tokens=routing.max_prefill_tokens or engine.queued_tokens_bound,
        load_factor=routing.affinity_load_factor,
        longest_prompt_tokens=engine.max_model_len_tokens,
    )


def _share_of(gateways: int, bound: int) -> int:
    return -(-bound // gateways)


def choose(
    members: Sequence[Member],
    demand: Demand,
    avoiding: Collection[str],
    bounds: Bounds,
    policy: RoutingPolicy = RoutingPolicy.AFFINITY,
    turn: int = 0,
) -> Member | None:
    """Return the engine for `demand`, None where each is unfit or full. `turn` counts the choices made so far."""
    open_ = [each for each in members if fits(each, demand, avoiding) and has_room(each, demand, bounds)]
    if len(open_) < 2:
        return open_[0] if open_ else None
    if policy is RoutingPolicy.ROUND_ROBIN:
        return open_[turn % len(open_)]
    if policy is RoutingPolicy.AFFINITY and demand.home:
        return _nearest_home(open_, demand.home, bounds.load_factor) or min(open_, key=load_score)
    return min(open_, key=load_score)


def fits(member: Member, demand: Demand, avoiding: Collection[str]) -> bool:
    """Return whether `member` could serve `demand` at all, full or not."""
    return (
        member.state is _READY
        and demand.model in member.models
        and demand.media <= member.media
        and member.replica.name not in avoiding
    )


def refused_media(members: Sequence[Member], demand: Demand) -> frozenset[Medium]:
    """Return which media of `demand` no engine of its model takes; nothing where one might, once it is ready."""
    able = [each.media for each in members if demand.model in each.models]
    if not able or any(demand.media <= media for media in able) or any(not each.models for each in members):
        return NO_MEDIUM
    return demand.media.difference(*able) or demand.media


def has_room(member: Member, demand: Demand, bounds: Bounds) -> bool:
    """Return whether `member` may be given one more. A prompt that is alone there is never too long."""
    return member.in_flight < bounds.max_in_flight and (
        not member.prefill_tokens or member.prefill_tokens + demand.prefill_tokens <= bounds.max_prefill_tokens
    )


def load_score(member: Member) -> tuple[float, float, str]:
    """Return what the least loaded engine has least of. Ties go to the first by name: the choice can be explained."""
    return (member.busy / (member.weight * member.share), member.load.kv_cache_use, member.replica.name)


def home_score(member: Member, home: int) -> float:
    """Return how near `member` is to a conversation's home; the nearest is it. Weights are shares of conversations."""
    # Multiply-shift, with a multiplier of each engine's own, makes an even number below 2**64 of each pair.
    point = home * member.seed & _MASK
    return point if member.weight == 1 else _MASK * (point / _MASK) ** (1 / member.weight)


def _nearest_home(members: list[Member], home: int, load_factor: float) -> Member | None:
    """Return the nearest engine that has not more than its share, None where all have or their caches are full."""
    busy = weights = 0.0
    for member in members:
        busy += member.busy
        weights += member.weight * member.share
    per_weight = load_factor * (busy + 1) / weights
    near = max(members, key=lambda member: home_score(member, home))
    if _takes_at_home(near, per_weight):
        return near
    others = [member for member in members if _takes_at_home(member, per_weight)]
    return max(others, key=lambda member: home_score(member, home), default=None)


def _takes_at_home(member: Member, per_weight: float) -> bool:
    bound = member.share * max(_FREE_OF_SHARE, per_weight * member.weight)
    return member.busy < bound and member.load.kv_cache_use < _FULL_KV_CACHE
