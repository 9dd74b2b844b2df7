"""How many tokens prompts have, asked of an engine: only where an estimate is not good enough."""

from __future__ import annotations

import asyncio
from enum import StrEnum

from gateway.domain import Demand, Endpoint, EngineClient, Prompt, RequestId
from gateway.errors import ContextTooLong, EngineFailure, GatewayError
from gateway.routing import Fleet
from gateway.settlement import Settlement
from gateway.upstream import TokenCount, count_tokens

_MAX_AT_ONCE = 4
_MAX_SECONDS = 1.0
"""32,000 tokens are counted in less than a tenth of it."""
_MAX_BYTES_PER_TOKEN = 32
"""A text of more for each token of the context can hardly fit. An engine refuses it by its length, for nothing."""


class Counted(StrEnum):
    """What became of a prompt that was to be counted before it is admitted."""

    COUNTED = "counted"
    BUSY = "busy"
    TOO_LARGE = "too_large"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


class PromptCounter:
    """One for a gateway process."""

    def __init__(self, fleet: Fleet, engines: EngineClient) -> None:
        self._fleet = fleet
        self._engines = engines
        self._at_once = 0

    async def count(self, prompt: Prompt, demand: Demand, request_id: RequestId, settlement: Settlement) -> TokenCount:
        """Return what an engine counts; another is asked where the first fails. Raises GatewayError."""
        tried: set[str] = set()
        suspect = False
        while True:
            place = await self._fleet.place(demand, avoiding=tried)
            try:
                settlement.replica = place.replica.name
                return await count_tokens(self._engines, place.replica, prompt, request_id)
            except EngineFailure as failure:
                place.failed(failure)
                tried.add(place.replica.name)
                suspect = suspect or failure.suspect
                if not self._fleet.may_try_again(demand, failure, tried, suspect):
                    raise
                settlement.retried(failure)
            finally:
                place.release()

    async def try_to_count(
        self, prompt: Prompt, context_tokens: int, demand: Demand, request_id: RequestId, settlement: Settlement
    ) -> TokenCount | None:
        """Return what an engine counts, if that can be had at once; None where the estimate must do.

        It is free for whoever asks, so it is bounded: in time, in how many at once, and in the text's length.
        """
        counted: TokenCount | None = None
        if prompt.text_bytes > _MAX_BYTES_PER_TOKEN * context_tokens:
            outcome = Counted.TOO_LARGE
        elif self._at_once >= _MAX_AT_ONCE:
            outcome = Counted.BUSY
        else:
            outcome, counted = await self._count_in_time(prompt, demand, request_id, settlement)
        settlement.metrics.prompts_counted.labels(outcome.value).inc()
        return counted

    async def _count_in_time(
        self, prompt: Prompt, demand: Demand, request_id: RequestId, settlement: Settlement
    ) -> tuple[Counted, TokenCount | None]:
        self._at_once += 1
        try:
            async with asyncio.timeout(_MAX_SECONDS):
                return Counted.COUNTED, await self.count(prompt, demand, request_id, settlement)
        except TimeoutError:
            return Counted.TIMED_OUT, None
        except GatewayError:
            # The engine that is asked for the answer will say what is wrong.
            return Counted.FAILED, None
        finally:
            self._at_once -= 1


def check_fits(prompt: Prompt, tokens: int, context_tokens: int) -> None:
    """Raise ContextTooLong, in OpenAI's words, for a prompt of `tokens` that leaves no room for an answer.

    Where there is room, but not for `max_tokens`, vLLM gives a shorter answer.
    """
    if tokens < context_tokens:
        return
    name, verb = ("messages", "resulted in") if prompt.endpoint is Endpoint.CHAT else ("prompt", "has")
    raise ContextTooLong(
        f"This model's maximum context length is {context_tokens} tokens. However, your {name} {verb} {tokens} tokens. "
        f"Please reduce the length of the {name}.",
        param=name,
    )
