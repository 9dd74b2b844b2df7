"""The life of a chat request, verb by verb. READ THIS FIRST.

    authenticate → parse → recall → compose → admit → place → relay → settle

Authentication has happened when a Call gets here (`identity/middleware.py`, before a byte of the body was read).
Everything up to `pop_all()` unwinds by itself when it fails: the place is given back, the permit refunded, the session
freed. After it the Reply owns all of that, and whoever has the Reply must close it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from config import Settings
from gateway.counting import PromptCounter, check_fits
from gateway.domain import NO_HISTORY, Asked, Call, Demand, Endpoint, EngineClient, Prompt, Usage
from gateway.errors import (
    EngineBroke,
    EngineErred,
    EngineFailure,
    EngineRefused,
    EngineUnreachable,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
)
from gateway.owned import Owned
from gateway.prompt import Policy, compose, defaults_of, home_of, media_limits, parse
from gateway.quota import Expected, Limiter, Permit
from gateway.reply import Reply
from gateway.routing import Fleet, Place
from gateway.sessions import Recall, SessionRoom
from gateway.settlement import Settlement
from gateway.upstream import Answer, TokenCount, ask

_NEAR = 0.8
"""Of the context. An estimate is rather too much than too little."""
_MOST_CUTS = 4
"""Each takes at least a turn, and usually the first is enough: what a turn holds is known but for estimates."""


class Pipeline:
    """The rooms in their order. One for a gateway process; it keeps nothing of a request."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        limiter: Limiter,
        sessions: SessionRoom,
        engines: EngineClient,
        salt_secret: bytes,
    ) -> None:
        self._settings = settings
        # What each request asks for, out of the settings' models: these take ten times as long to tell.
        self._keep_partial = settings.sessions.keep_partial
        self._max_answer_bytes = settings.stream.max_answer_bytes
        self._max_model_len_tokens = settings.engine.max_model_len_tokens
        self._prompt_settings = settings.prompt
        self._fleet = fleet
        self._limiter = limiter
        self._sessions = sessions
        self._engines = engines
        self._media = media_limits(settings)
        self._defaults = defaults_of(settings.prompt)
        self._policy = Policy(settings.prompt, fleet.models, salt_secret, self._media)
        self._counter = PromptCounter(fleet, engines)

    async def serve(self, call: Call, settlement: Settlement, hold: Callable[[Prompt], None]) -> Reply:
        """Return the reply to `call`, its first content already here; the caller owns it and must close() it.

        `hold` is called once, when the request is admitted and may have to wait: from then on a streaming client can
        be kept alive. Raises GatewayError, with nothing held or charged.
        """
        with Owned() as owned:
            asked = self._parse(call, settlement)
            recall = await self._sessions.recall(call.caller, asked, settlement.is_begun)
            if recall.open:
                owned.enter(recall)
            settlement.session_id = recall.session_id
            home = self._home(call, asked, recall)
            prompt = self._compose(call, asked, recall)
            room_tokens = self._room_to_trim_to(prompt, recall)
            permit = owned.enter(await self._admit(call, prompt, home, settlement, room_tokens))
            settlement.headers = permit.headers
            hold(prompt)
            prefill_tokens = permit.prompt_tokens
            if room_tokens:
                prompt = await self._trimmed(call, asked, recall, prompt, room_tokens, settlement)
                permit.prompt, prefill_tokens = prompt, prompt.prefill_tokens
            demand = _demand(call, prompt, home, prefill_tokens)
            answer, place = await self._relay(call, prompt, demand, permit, settlement, owned, keeps_text=recall.open)
            return Reply(answer, prompt, place, recall, permit, settlement, owned.pop_all(), self._keep_partial)

    async def count_tokens(self, call: Call, settlement: Settlement) -> TokenCount:
        """Return how many prompt tokens `call` would have. Nothing is reserved or generated. Raises GatewayError."""
        prompt = compose(self._parse(call, settlement), NO_HISTORY, self._settings.prompt, self._media)
        if _is_ids(prompt) or prompt.prompts > 1:
            raise InvalidRequest("'prompt' must be one text to be counted.", param="prompt", code="invalid_value")
        with await self._limiter.reserve(call.caller, call.request_id, prompt.model, Expected(0, 0)) as permit:
            settlement.headers = permit.headers
            demand = _demand(call, prompt, 0, prompt.prefill_tokens)
            counted = await self._counter.count(prompt, demand, call.request_id, settlement)
            permit.sent, permit.usage = True, Usage(0, 0)
            return counted

    async def _admit(self, call: Call, prompt: Prompt, home: int, settlement: Settlement, room_tokens: int) -> Permit:
        """Reserve what the prompt is expected to cost, counted by an engine where an estimate is not good enough.

        One that will be trimmed to `room_tokens`, where that is not 0, costs no more than these.
        """
        expected = self._limiter.expected(call.caller, prompt)
        if room_tokens:
            expected = replace(expected, prompt_tokens=min(expected.prompt_tokens, room_tokens))
        elif _is_ids(prompt):
            self._check_fits(call, prompt, prompt.counted_tokens, max(self._context_tokens(prompt)))
        elif self._is_near_a_limit(call, prompt, expected):
            demand = _demand(call, prompt, home, expected.prompt_tokens)
            longest_tokens = max(self._context_tokens(prompt))
            counted = await self._counter.try_to_count(prompt, longest_tokens, demand, call.request_id, settlement)
            if counted is not None:
                self._check_fits(call, prompt, counted.tokens, max(longest_tokens, counted.max_model_len_tokens))
                expected = replace(expected, prompt_tokens=counted.tokens)
        return await self._limiter.reserve(call.caller, call.request_id, prompt.model, expected, prompt)

    def _check_fits(self, call: Call, prompt: Prompt, tokens: int, context_tokens: int) -> None:
        check_fits(prompt, tokens, context_tokens)
        self._limiter.check_fits(call.caller, prompt, tokens)

    def _is_near_a_limit(self, call: Call, prompt: Prompt, expected: Expected) -> bool:
        """Whether the estimated prompt is so near to the model's context, or a bucket's size, that it may not fit.

        Several prompts in one are left to the engine, which counts but one at a time and refuses each by itself.
        """
        if prompt.prompts > 1:
            return False
        if expected.prompt_tokens > _NEAR * min(self._context_tokens(prompt)):
            return True
        return self._limiter.is_near_capacity(call.caller, prompt, expected)

    def _compose(self, call: Call, asked: Asked, recall: Recall) -> Prompt:
        priority = call.caller.priority
        return compose(asked, recall.history, self._prompt_settings, self._media, priority, self._defaults)

    def _home(self, call: Call, asked: Asked, recall: Recall) -> int:
        """Return the conversation's home; 0, for none, where there is but one engine to choose from."""
        if len(self._fleet.members) < 2:
            return 0
        return home_of(call.caller.tenant, recall.session_id, asked.body)

    def _room_to_trim_to(self, prompt: Prompt, recall: Recall) -> int:
        """Return how many tokens a session's prompt may have, 0 where it is known to have no more.

        Nearly always it is known: history was counted with the last answer, and what is new has no more tokens than
        bytes.
        """
        if not (recall.open and self._settings.sessions.trim):
            return 0
        room_tokens = self._room_tokens(prompt)
        most_tokens = prompt.counted_tokens + prompt.text_bytes + prompt.media_tokens
        return room_tokens if most_tokens > room_tokens > 0 else 0

    async def _trimmed(
        self, call: Call, asked: Asked, recall: Recall, prompt: Prompt, room_tokens: int, settlement: Settlement
    ) -> Prompt:
        """Return the prompt of a session, counted by the engine, without its oldest turns if it has no room for them.

        It was admitted before: counting costs the engine something, and nobody without a quota is to make it count.
        """
        home = self._home(call, asked, recall)
        for _ in range(_MOST_CUTS):
            demand = _demand(call, prompt, home, prompt.prefill_tokens)
            counted = await self._counter.count(prompt, demand, call.request_id, settlement)
            excess_tokens = counted.tokens - int(room_tokens * self._settings.sessions.trim_to)
            if counted.tokens <= room_tokens or not recall.trim(excess_tokens):
                longest_tokens = max(*self._context_tokens(prompt), counted.max_model_len_tokens)
                check_fits(prompt, counted.tokens, longest_tokens)
                return replace(prompt, counted_tokens=counted.tokens - prompt.media_tokens, text_bytes=0)
            prompt = self._compose(call, asked, recall)
        return prompt

    def _room_tokens(self, prompt: Prompt) -> int:
        """Return how long the prompt may be beside the answer it may get, at any engine."""
        return min(self._context_tokens(prompt)) - prompt.output_tokens_limit

    def _context_tokens(self, prompt: Prompt) -> list[int]:
        """Return how long prompt and answer together may be, at each engine that has said so."""
        return self._fleet.context_tokens(prompt.model) or [self._max_model_len_tokens]

    def _parse(self, call: Call, settlement: Settlement) -> Asked:
        if self._policy.models is not self._fleet.models:
            self._policy = replace(self._policy, models=self._fleet.models)
        try:
            asked = parse(call, self._policy)
        except ModelNotFound:
            self._fleet.check_models_known()
            raise
        settlement.asked(asked)
        return asked

    async def _relay(
        self,
        call: Call,
        prompt: Prompt,
        demand: Demand,
        permit: Permit,
        settlement: Settlement,
        owned: Owned,
        *,
        keeps_text: bool,
    ) -> tuple[Answer, Place]:
        """Place and ask, at another engine if the first fails before its first content.

        The answer is the caller's to close; `owned` gets its place.

        From the moment an engine is asked, leaving early is not free: what it has counted is charged, or else what
        was reserved. All is given back where the engine failed before it said anything, and where it refused.
        """
        tried: set[str] = set()
        suspect = False
        while True:
            place = await self._fleet.place(demand, avoiding=tried)
            settlement.placed(place.replica)
            permit.sent, permit.usage = True, None
            try:
                answer = await ask(
                    self._engines,
                    place.replica,
                    prompt,
                    call.request_id,
                    keeps_text,
                    self._max_answer_bytes,
                    permit.counted,
                    settlement.traceparent,
                )
            except EngineFailure as failure:
                place.failed(failure)
                permit.sent = _has_cost(failure, permit.usage)
                tried.add(place.replica.name)
                suspect = suspect or failure.suspect
                if permit.sent:
                    settlement.usage = permit.usage
                else:
                    settlement.not_sent()
                if not self._fleet.may_try_again(demand, failure, tried, suspect):
                    raise
                settlement.retried(failure)
            except BaseException as error:
                place.release()
                # An engine's own refusal of the request, such as a prompt too long, cost it nothing.
                permit.sent = not isinstance(error, GatewayError)
                settlement.usage = permit.usage
                raise
            else:
                place.answered()
                owned.callback(place.release)
                return answer, place


def _is_ids(prompt: Prompt) -> bool:
    """Whether it is a completion's token ids, whose number needs no counting."""
    return prompt.endpoint is Endpoint.COMPLETIONS and prompt.counted_tokens > 0


def _has_cost(failure: EngineFailure, counted: Usage | None) -> bool:
    """Whether an engine that has failed so may have worked on the request. One that erred has what it has counted."""
    if isinstance(failure, EngineErred):
        return counted is not None
    return not isinstance(failure, EngineUnreachable | EngineRefused | EngineBroke)


def _demand(call: Call, prompt: Prompt, home: int, prefill_tokens: int) -> Demand:
    caller = call.caller
    return Demand(prompt.model, caller.tenant, prefill_tokens, prompt.media, home, caller.weight, caller.priority)
