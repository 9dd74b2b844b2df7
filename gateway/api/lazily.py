"""Parts of a connection that most have no use for, made when one has: a thousand streams are a thousand connections."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import httptools
from uvicorn.protocols.http.flow_control import FlowControl

NOT_MADE_YET: Any = object()
NOT_USED: Any = None


class LazyEvent(asyncio.Event):
    """An Event that takes a tenth of its memory until somebody waits; asyncio's has room for 64 from the start."""

    def __init__(self, *, is_set: bool = False) -> None:
        self._is_set = is_set
        self._event: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<LazyEvent {'set' if self._is_set else 'unset'}>"

    def is_set(self) -> bool:
        """Whether a wait would return at once."""
        return self._is_set

    def set(self) -> None:
        """Wake who waits."""
        self._is_set = True
        if self._event is not None:
            self._event.set()

    def clear(self) -> None:
        """Have waits wait again."""
        self._is_set = False
        if self._event is not None:
            self._event.clear()

    async def wait(self) -> Literal[True]:
        """Return once it is set."""
        if not self._is_set:
            if self._event is None:
                self._event = asyncio.Event()
            await self._event.wait()
        return True


class LazyFlow(FlowControl):
    """uvicorn's, with such an event."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._is_writable_event = LazyEvent(is_set=True)


def request_parser(protocol: object) -> httptools.HttpRequestParser:
    """Return a parser as uvicorn makes one, whose callbacks are the protocol's."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
