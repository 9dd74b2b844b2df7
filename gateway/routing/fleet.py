"""The table of engines, the requests in flight at each, and the places there.

Counts are this process's own: they are exact at once, where an engine's metrics lag by seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable

from config import Settings
from config.telemetry import LogLevel
from gateway.domain import Demand, Medium
from gateway.errors import (
    EngineBroke,
    EngineErred,
    EngineFailure,
    EngineTimedOut,
    EngineUnreachable,
    InvalidRequest,
    Overloaded,
)
from gateway.routing import breaker
from gateway.routing.choose import bounds_of, choose, fits, home_score, load_score, refused_media
from gateway.routing.listing import Listing, listed_in
from gateway.routing.member import Member, State
from gateway.routing.place import Place
from gateway.routing.retry_budget import RetryBudget
from gateway.routing.waiting import Refusal, Waiting
from gateway.telemetry.logging import get_logger
from gateway.telemetry.metrics import Metrics

_STARTING_RETRY_MS = 2000
_SUSPECT_ATTEMPTS = 2
"""Engines that get a request which may be what killed the first."""
_COUNTED_BY_BREAKER = (EngineUnreachable, EngineBroke, EngineErred, EngineTimedOut)


class Fleet:
    """The engines. Every change happens on the event loop, so no lock is needed."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.members: list[Member] = []
        self.on_joined: list[Callable[[Member], None]] = []
        self.on_gone: list[Callable[[Member], None]] = []
        self._routing = settings.routing
        self._bounds = self._bounds_of_all = bounds_of(settings)
        self._models = frozenset({settings.engine.served_model_name})
        self._metrics = metrics
        self._logger = get_logger()
        self._explains = settings.telemetry.log_level is LogLevel.DEBUG
        self._retries = RetryBudget(self._routing.retry_share)
        self._waiting = Waiting(self._routing, self)
        self._turn = 0
        # Read when asked for: a gauge that is set at every turn of a request costs more than the turn.
        metrics.queued.set_function(lambda: len(self._waiting.line))
        self.update(listed_in(settings))

    @property
    def models(self) -> frozenset[str]:
        """The models that engines serve; before any has answered, the one that the settings name."""
        return self._models

    @property
    def ready(self) -> bool:
        """Whether a request sent now could start."""
        return any(member.state is State.READY for member in self.members)

    def share_with(self, gateways: int) -> None:
        """Take a fair part of what engines are given, where there are so many gateways with this one."""
        bounds = self._bounds_of_all.shared_by(gateways)
        if bounds != self._bounds:
            self._bounds = bounds
            self._waiting.grant()

    def check_models_known(self) -> None:
        """Raise Overloaded while an engine has not said what it serves: a model that is not known here may be its."""
        listed = [member for member in self.members if not member.leaving]
        if not listed or not all(member.answered for member in listed):
            text = "No engine is known to serve this model, and not every engine has answered yet."
            raise Overloaded(text, param="model", retry_after_ms=_STARTING_RETRY_MS)

    def context_tokens(self, model: str) -> list[int]:
        """Return how long a prompt and its answer together may be, of each engine that serves `model` and says so."""
        return [
            each.max_model_len_tokens for each in self.members if each.max_model_len_tokens and model in each.models
        ]

    def could_serve(self, demand: Demand, avoiding: Collection[str] = ()) -> bool:
        """Whether an engine is ready for `demand`, full or not."""
        return any(fits(member, demand, avoiding) for member in self.members)

    # Places.

    async def place(self, demand: Demand, avoiding: Collection[str] = ()) -> Place:
        """Return a place at an engine, waiting up to routing.queue_seconds for one. Raises Overloaded, and
        InvalidRequest where no engine will ever take the images or audio that `demand` has.
        """
        if not avoiding:
            self._retries.deposit()
        line = self._waiting.line
        # Who waits for the same engines goes first, also where its prompt is too long for the room there is.
        first = not line or not line.waits((demand.model, demand.media, frozenset(avoiding)))
        member = self.take(demand, avoiding) if first else None
        if member is None:
            if not self.could_serve(demand, avoiding):
                self._check_media(demand)
                self.count_refusal(Refusal.NO_ENGINE)
                raise Overloaded("No engine is ready for this request right now.", retry_after_ms=_STARTING_RETRY_MS)
            member = await self._wait(demand, frozenset(avoiding))
        return Place(member, self, demand.prefill_tokens, time.monotonic())

    def _check_media(self, demand: Demand) -> None:
        refused = refused_media(self.members, demand)
        if refused:
            kinds = " and ".join(sorted("images" if each is Medium.IMAGE else "audio" for each in refused))
            text = f"'messages' must hold no {kinds}: no engine of '{demand.model}' takes them."
            raise InvalidRequest(text, param="messages", code="invalid_value")

    async def _wait(self, demand: Demand, avoiding: frozenset[str]) -> Member:
        since = time.monotonic()
        try:
            return await self._waiting.wait(demand, avoiding)
        finally:
            self._metrics.queue_wait.observe(time.monotonic() - since)

    def take(self, demand: Demand, avoiding: Collection[str]) -> Member | None:
        """Count a request in at the engine that is chosen for it; None where all are full."""
        self._turn += 1
        member = choose(self.members, demand, avoiding, self._bounds, self._routing.policy, self._turn)
        if member is not None:
            member.in_flight += 1
            member.prefill_tokens += demand.prefill_tokens
            if self._explains:
                self._explain(member, demand)
        return member

    def give_back(self, member: Member, demand: Demand) -> None:
        """Count a request out that was never sent."""
        self._count_out(member, demand.prefill_tokens)

    def in_flight(self) -> int:
        """Requests that engines serve now."""
        return sum(member.in_flight for member in self.members)

    def count_refusal(self, reason: Refusal) -> None:
        """Note that a request got no place."""
        self._metrics.place_refused.labels(reason.value).inc()

    # What places tell.

    def answered(self, place: Place) -> None:
        """Note a first content: the prompt has been read."""
        place.member.prefill_tokens -= place.prefill_tokens
        if self._waiting.line:
            self._waiting.grant()

    def leave(self, place: Place) -> None:
        """Count a request out."""
        if place.has_content:
            # Only now: an engine that begins every answer and ends none does not work.
            if place.member.failures and not place.has_failed:
                breaker.answered(place.member)
            self._waiting.rate.ended(time.monotonic() - place.taken_at)
            self._count_out(place.member, 0)
        else:
            self._count_out(place.member, place.prefill_tokens)

    def failed(self, place: Place, failure: EngineFailure) -> None:
        """Note a failed request: an engine that cannot be reached is out at once, one that fails many for a while."""
        member = place.member
        trips = isinstance(failure, _COUNTED_BY_BREAKER) and breaker.tripped(member, self._routing)
        if trips and self._has_another(member):
            breaker.eject(member, self._routing, time.monotonic())
            self._metrics.replica_ejections.labels(member.replica.name).inc()
            self.mark_sick(member, failure.message)
        elif isinstance(failure, EngineUnreachable):
            self.mark_sick(member, failure.message)

    def may_try_again(self, demand: Demand, failure: EngineFailure, tried: Collection[str], suspect: bool) -> bool:
        """Whether `demand` may go to an engine that is not in `tried`, which the retry budget then counts.

        Not where none is ready: the first failure says more than a 503. `suspect`: it may have killed one of them.
        """
        attempts = min(self._routing.max_attempts, _SUSPECT_ATTEMPTS) if suspect else self._routing.max_attempts
        if not failure.again or len(tried) >= attempts or not self.could_serve(demand, tried):
            return False
        if self._retries.withdraw():
            return True
        self._metrics.retries_denied.inc()
        return False

    # Members.

    def learned(self, member: Member, models: frozenset[str]) -> None:
        """Note what an engine serves."""
        member.models, member.answered = models, True
        self._models = frozenset(name for each in self.members for name in each.models) or self._models
        self._waiting.grant()

    def mark_sick(self, member: Member, reason: str) -> None:
        """Take an engine out of the choice until the watcher finds it healthy again, and have it look at once."""
        member.last_error = reason
        member.doubted.set()
        if member.state is State.READY:
            self.set_state(member, State.SICK)
            self._recall_ejected()

    def set_state(self, member: Member, state: State) -> None:
        """Set an engine's state, unless it drains; one that becomes ready takes from the queue."""
        was, member.state = member.state, State.DRAINING if member.held or member.leaving else state
        if was is State.SICK and member.state is State.READY:
            breaker.come_back(member)
        self._metrics.replica_ready.labels(member.replica.name).set(member.state is State.READY)
        if member.state is not was:
            self._logger.info("replica_state", replica=member.replica.name, state=member.state, was=was)
        self._waiting.grant()

    def hold(self, member: Member, held: bool) -> None:
        """Drain an engine, or take it back: then it starts anew, and the watcher looks at once."""
        if member.held != held:
            member.held = held
            self.set_state(member, State.STARTING)
            member.doubted.set()

    def update(self, listings: Iterable[Listing]) -> None:
        """Have the engines that are listed: new ones start; one that is not listed ends what it has, and is gone."""
        wanted = {listing.replica.name: listing for listing in listings}
        for member in tuple(self.members):
            listing = wanted.pop(member.replica.name, None)
            if listing is not None:
                member.weight, member.stated_media = listing.weight, listing.media
            if member.leaving != (listing is None):
                member.leaving = listing is None
                self.set_state(member, State.STARTING)
                member.doubted.set()
                self._remove_if_done(member)
        for listing in wanted.values():
            self._add(Member(listing.replica, stated_media=listing.media, weight=listing.weight))

    def _add(self, member: Member) -> None:
        self.members = [*self.members, member]
        self._metrics.replica_joined(member.replica.name, lambda: member.in_flight, lambda: member.prefill_tokens)
        for told in self.on_joined:
            told(member)

    def _remove_if_done(self, member: Member) -> None:
        if member.leaving and not member.in_flight and member.state is not State.GONE:
            member.state = State.GONE
            self.members = [each for each in self.members if each is not member]
            self._metrics.replica_gone(member.replica.name)
            self._logger.info("replica_state", replica=member.replica.name, state=State.GONE, was=State.DRAINING)
            for told in self.on_gone:
                told(member)

    def _recall_ejected(self) -> None:
        """Take ejected engines back where nobody else is left: one that fails often is better than none."""
        now = time.monotonic()
        for member in self.members:
            if member.state is State.SICK and member.ejected_until > now and not self._has_another(member):
                member.ejected_until = 0.0
                self.set_state(member, State.READY)

    def _has_another(self, member: Member) -> bool:
        """Whether the models of `member` are served without it: the last engine is asked, whatever it does."""
        return all(
            any(each is not member and each.state is State.READY and model in each.models for each in self.members)
            for model in member.models
        )

    def _count_out(self, member: Member, prefill_tokens: int) -> None:
        member.in_flight -= 1
        member.prefill_tokens -= prefill_tokens
        if member.leaving:
            self._remove_if_done(member)
        if self._waiting.line:
            self._waiting.grant()

    def _explain(self, chosen: Member, demand: Demand) -> None:
        scores = {
            each.replica.name: {
                "state": each.state,
                "load": round(load_score(each)[0], 3),
                "home": home_score(each, demand.home) / 2**64 if demand.home else None,
                "in_flight": each.in_flight,
                "prefill_tokens": each.prefill_tokens,
                "kv_cache_use": each.load.kv_cache_use,
            }
            for each in self.members
        }
        self._logger.debug("placed", replica=chosen.replica.name, model=demand.model, scores=scores)
