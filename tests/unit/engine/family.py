"""A scripted child with all that it starts, and whether any of it is left."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil

from engine.command import Command

CHILDREN = str(Path(__file__).parent / "children.py")


class Family:
    """Knows the processes that a child of `children.py` and its forks noted in their folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def argv(self, kind: str, port: int | None = None) -> tuple[str, ...]:
        """Return the command line of a child."""
        return (sys.executable, CHILDREN, kind, str(self.folder), *([str(port)] if port else []))

    def command(self, kind: str) -> Command:
        """Return the command of a child."""
        return Command(self.argv(kind))

    def pids(self) -> list[int]:
        """Return all process ids noted so far."""
        noted = self.folder / "pids"
        return [int(line) for line in noted.read_text().split()] if noted.exists() else []

    async def of(self, count: int) -> list[int]:
        """Return the process ids once there are so many."""
        async with asyncio.timeout(10):
            while len(self.pids()) < count:
                await asyncio.sleep(0.01)
        return self.pids()

    def left(self) -> list[int]:
        """Return those that still run."""
        return [pid for pid in self.pids() if is_running(pid)]


def is_running(pid: int) -> bool:
    """Whether it runs; one that ended and that nobody has asked about does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def eventually_gone(pids: list[int], seconds: float = 5.0) -> bool:
    """Whether all of them end in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while any(is_running(pid) for pid in pids):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True
