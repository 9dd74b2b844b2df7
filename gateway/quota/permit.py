"""One reserved request, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Self

from gateway.domain import Headers, Prompt, RequestId, Usage
from gateway.quota.calls import Calls
from gateway.quota.estimate import Expected
from gateway.quota.plan import Plan
from gateway.store import Prepared

NO_USAGE = Usage(0, 0)


class Charge(Enum):
    """The three charging rules."""

    NOTHING = "nothing"
    """No engine did any work: everything is given back."""
    USAGE = "usage"
    """The engine's own count, the last that was on the wire."""
    RESERVED = "reserved"
    """An engine had the request and told no count: the prompt's estimate and the reserved answer. Unmetered."""

    def call_of(self, calls: Calls) -> Prepared:
        """Return the call that charges by this rule."""
        if self is Charge.USAGE:
            return calls.usage
        return calls.nothing if self is Charge.NOTHING else calls.reserved


class Permit:
    """Enter it to own it. On exit it is settled, once, by what has become known till then."""

    __slots__ = ("_settle", "alone", "expected", "headers", "plan", "prompt", "request_id", "sent", "usage")

    def __init__(
        self,
        request_id: RequestId,
        plan: Plan,
        prompt: Prompt | None,
        expected: Expected,
        settle: Callable[[Permit], None],
    ) -> None:
        self.request_id = request_id
        self.plan = plan
        self.prompt = prompt
        self.expected = expected
        self.headers: Headers = []
        self.alone = False
        """Whether this process granted it by itself, as Redis was away."""
        self.sent = False
        """Whether an engine has got the request: from then on leaving is not free."""
        self.usage: Usage | None = None
        """The engine's last count."""
        self._settle: Callable[[Permit], None] | None = settle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(self)

    def granted_alone(self) -> None:
        """Note that Redis may not know of it."""
        self.alone = True

    def counted(self, usage: Usage | None) -> None:
        """Note what the engine has counted, if anything."""
        self.usage = usage

    @property
    def prompt_tokens(self) -> int:
        """The prompt's length as estimated or counted before it was sent; rather too much."""
        return self.expected.prompt_tokens

    @property
    def charge(self) -> Charge:
        """What is charged as things stand."""
        if not self.sent:
            return Charge.NOTHING
        return Charge.RESERVED if self.usage is None else Charge.USAGE

    @property
    def used(self) -> Usage:
        """What that comes to."""
        if not self.sent:
            return NO_USAGE
        return self.usage or Usage(self.expected.prompt_tokens, self.expected.output_tokens)
