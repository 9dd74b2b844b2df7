"""Shows log files on the terminal as they grow, for `serve --verbose`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

_POLL_SECONDS = 0.2


class LogTail:
    """Follows one file from the end it has now. Children write their files themselves, so this may lag or stop."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        self._position = self._size()
        self._rest = b""

    def new_lines(self) -> list[str]:
        """Return the whole lines that came since the last call, each with the name before it."""
        size = self._size()
        if size < self._position:
            self._position, self._rest = 0, b""
        if size == self._position:
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            grown = self._rest + file.read()
            self._position = file.tell()
        *lines, self._rest = grown.split(b"\n")
        return [f"{self._name} | {line.decode('utf-8', 'replace')}" for line in lines]

    def _size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0


async def follow(tails: Iterable[LogTail], say: Callable[[str], None]) -> None:
    """Say every new line until cancelled."""
    tails = list(tails)
    while True:
        for tail in tails:
            for line in tail.new_lines():
                say(line)
        await asyncio.sleep(_POLL_SECONDS)
