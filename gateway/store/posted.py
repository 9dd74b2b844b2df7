"""A call that nobody waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gateway.errors import StoreDown
from gateway.store.node import Node, Redirect
from gateway.store.scripts import NotLoaded, Script


class Follows(Protocol):
    """Who knows the other nodes."""

    def redirected(self, redirect: Redirect) -> Node:
        """Return the node that was named, ready to be asked. Raises StoreDown."""

    def refused(self, error: Exception) -> None:
        """Note that Redis will not do what was posted: nobody else is told."""


class Posted:
    """Stands where a caller's future would, and costs less: no callback is scheduled when the reply is there."""

    __slots__ = ("_follows", "_lost", "_node", "_packed", "_script")

    def __init__(
        self, follows: Follows, node: Node, packed: bytes, script: Script | None, lost: Callable[[], object] | None
    ) -> None:
        self._follows = follows
        self._node = node
        self._packed = packed
        self._script = script
        self._lost = lost
        """Called, once, where Redis may not have run it."""

    def send(self) -> None:
        """Send it with the others of this turn."""
        try:
            connection = self._node.connected()
        except StoreDown:
            self._give_up()
        else:
            packed = self._packed if self._script is None else connection.worded(self._script, self._packed)
            connection.expect(packed, self)

    def done(self) -> bool:
        """Nobody cancels it."""
        return False

    def set_result(self, reply: Any) -> None:
        """See what became of it; nearly always it has been done."""
        if isinstance(reply, Exception):
            self._failed(reply)

    def _failed(self, error: Exception) -> None:
        """Send it again, where another Redis must have it, or this one has forgotten its script."""
        if self._script is not None and isinstance(error, (Redirect, NotLoaded)):
            self._packed, self._script = self._script.in_full(self._packed), None
        if isinstance(error, Redirect):
            try:
                self._node = self._follows.redirected(error)
            except StoreDown:
                self._give_up()
            else:
                self.send()
        elif isinstance(error, NotLoaded) and self._node.breaker.closed:
            self.send()
        elif isinstance(error, (StoreDown, NotLoaded)):
            self._give_up()
        else:
            self._follows.refused(error)

    def _give_up(self) -> None:
        if self._lost is not None:
            self._lost()
