"""What an SDK sends and gets, attempt by attempt: the SDK itself shows only how it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Attempts:
    """Event hooks for the SDK's HTTP client: `AsyncOpenAI(http_client=DefaultAsyncHttpxClient(event_hooks=…))`."""

    sent_at: list[float] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    hints_ms: list[int | None] = field(default_factory=list)

    async def sent(self, request: Any) -> None:
        """Note an attempt."""
        self.sent_at.append(time.monotonic())
        self.counts.append(request.headers["x-stainless-retry-count"])

    async def answered(self, response: Any) -> None:
        """Note its answer, and how long it asks to wait."""
        self.answered_at.append(time.monotonic())
        self.statuses.append(response.status_code)
        hint = response.headers.get("retry-after-ms")
        self.hints_ms.append(int(hint) if hint else None)

    @property
    def hooks(self) -> dict[str, list[Any]]:
        """For `event_hooks`."""
        return {"request": [self.sent], "response": [self.answered]}

    def waited_as_told(self) -> bool:
        """Whether each attempt came when the answer before it had said, and not a second later."""
        waits = [sent - answered for answered, sent in zip(self.answered_at, self.sent_at[1:], strict=False)]
        hints = [None if hint is None else hint / 1000 for hint in self.hints_ms[: len(waits)]]
        return all(hint is not None and hint <= wait < hint + 1 for hint, wait in zip(hints, waits, strict=True))
