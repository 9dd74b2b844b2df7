"""What a request holds on its way, let go in reverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self, TypeVar


class Ownable(Protocol):
    """A context, of which only the end is the owner's to decide: it is exited without a word, not even of no error."""

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> object: ...


OwnableT = TypeVar("OwnableT", bound=Ownable)


class Owned:
    """An ExitStack for contexts that nothing tells of an error: it keeps no more than how each is let go."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def enter(self, context: OwnableT) -> OwnableT:
        """Enter `context` and own it; to be used as it is, whatever entering returns."""
        context.__enter__()
        self._held.append(context.__exit__)
        return context

    def callback(self, let_go: Callable[[], object]) -> None:
        """Own what is let go by this."""
        self._held.append(let_go)

    def pop_all(self) -> Owned:
        """Hand everything over: it is the new owner's from here on, and nothing is left here."""
        new = Owned()
        new._held, self._held = self._held, new._held
        return new

    def close(self) -> None:
        """Let everything go, the last first; also the rest where one fails, which is raised then."""
        while self._held:
            try:
                self._held.pop()()
            except BaseException:
                self.close()
                raise
