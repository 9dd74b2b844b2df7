"""A reply under way: the engine's answer together with everything that must be let go when it ends."""

from __future__ import annotations

from gateway.domain import Prompt
from gateway.errors import EngineFailure, GatewayError
from gateway.owned import Owned
from gateway.quota import Permit
from gateway.routing import Place
from gateway.sessions import Recall
from gateway.settlement import Settlement
from gateway.upstream import Answer, StreamedAnswer

_STOPPED = "cancelled"
_CUT = "error"
"""What an answer's finish_reason in its session says where the engine gave none: the client left, or it failed."""


class Reply:
    """Owns the answer, its place, its permit and its session from the moment it is made.

    The answer, which is the engine's connection, by itself: it may have to wait when nothing else has. The rest in
    `owned`.
    """

    def __init__(
        self,
        answer: Answer,
        prompt: Prompt,
        place: Place,
        recall: Recall,
        permit: Permit,
        settlement: Settlement,
        owned: Owned,
        keep_partial: bool = False,
    ) -> None:
        self._answer = answer
        self._prompt = prompt
        self._place = place
        self._permit = permit
        self._recall = recall
        self._settlement = settlement
        self._owned = owned
        self._keep_partial = keep_partial
        settlement.first_token()

    @property
    def answer(self) -> Answer:
        """The engine's answer, to be read and not to be closed."""
        return self._answer

    async def acknowledge(self) -> None:
        """Append question and answer to the session, if there is one.

        To be awaited before the client is told that the answer is complete. Raises StoreDown if it is not kept.
        """
        self._settlement.last_token()
        answer, recall = self._answer, self._recall
        if recall.open:
            await recall.append(self._prompt.new_messages, answer.message, answer.finish_reason, self._context_tokens)

    async def finish(self) -> None:
        """After the last byte for the client: let everything go, and have the engine's connection used again.

        That alone waits for an engine that keeps the end of its body back; it is still to be closed.
        """
        self._settle()
        if isinstance(self._answer, StreamedAnswer):
            await self._answer.finish()

    def failed(self, error: GatewayError) -> None:
        """Note why the answer goes no further: an engine that breaks off what it has begun fails like any other."""
        if isinstance(error, EngineFailure):
            self._place.failed(error)

    def close(self) -> None:
        """Let everything go, at once and any number of times: nothing here waits."""
        try:
            self._answer.close()
        finally:
            self._settle()

    def _settle(self) -> None:
        """Charge the usage and let go of all but the answer, the first time; later there is nothing left to let go.

        Where the answer was not acknowledged, the session keeps what came of it, if it is set to.
        """
        try:
            self._settlement.usage = self._permit.usage = self._answer.usage
            if self._recall.open and self._keep_partial:
                self._keep_what_came()
        finally:
            self._owned.close()

    @property
    def _context_tokens(self) -> int:
        """Of prompt and answer together; the usage of several choices is that of all."""
        usage = self._answer.usage
        return usage.total_tokens if usage is not None and self._prompt.choices == 1 else 0

    def _keep_what_came(self) -> None:
        """Nothing is kept where no word came, nor of a whole answer that could not be delivered."""
        answer = self._answer
        if isinstance(answer, StreamedAnswer) and answer.message["content"]:
            reason = _CUT if self._settlement.error_code else _STOPPED
            self._recall.keep_partial(self._prompt.new_messages, answer.message, reason, self._context_tokens)
