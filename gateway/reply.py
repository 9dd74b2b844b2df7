"""A reply under way: the engine's answer together with everything that must be let go when it ends."""

from __future__ import annotations

from contextlib import ExitStack

from gateway.domain import Prompt
from gateway.sessions import Recall
from gateway.settlement import Settlement
from gateway.upstream import Answer, StreamedAnswer


class Reply:
    """Owns the answer, its place, its permit and its session from the moment it is made."""

    def __init__(
        self, answer: Answer, prompt: Prompt, recall: Recall, settlement: Settlement, owned: ExitStack
    ) -> None:
        self._answer = answer
        self._prompt = prompt
        self._recall = recall
        self._settlement = settlement
        self._owned = owned
        settlement.first_token()

    @property
    def answer(self) -> Answer:
        """The engine's answer, to be read and not to be closed."""
        return self._answer

    async def acknowledge(self) -> None:
        """Append question and answer to the session, if there is one.

        To be awaited before the client is told that the answer is complete. Raises StoreDown if it is not kept.
        """
        answer = self._answer
        await self._recall.append(self._prompt.new_messages, answer.text, answer.finish_reason)

    async def finish(self) -> None:
        """After the last byte for the client: let the engine's connection be used again."""
        if isinstance(self._answer, StreamedAnswer):
            await self._answer.finish()

    def close(self) -> None:
        """Note the usage and let everything go, at once and any number of times: nothing here waits."""
        try:
            self._settlement.usage = self._answer.usage
        finally:
            self._owned.close()
