"""The gateway forked from a process that has imported it, as `python -m gateway` would run it.

Its imports are a second of work, which would else be done for every gateway that a test starts. That it also runs by
its command line is for `tests/flow/test_serve.py` and `tests/unit/gateway/test_cli.py`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_STDOUT = 1
_POLL_SECONDS = 0.01


class ForkedGateway:
    """A running gateway. `stdout` is for one reader; it ends when the process has ended."""

    stdout: asyncio.StreamReader

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._read_end, write_end = os.pipe()
        context = _context()
        self._process = context.Process(target=_run, args=(list(argv), dict(environ), _Output(write_end)), daemon=True)
        try:
            with chdir(_ROOT):
                self._process.start()
        finally:
            os.close(write_end)

    async def listen(self) -> None:
        """Make `stdout`, for the loop that runs now."""
        self.stdout = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(self.stdout)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(self._read_end, "rb", 0))

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, of a signal less than 0; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Return its exit code, once it has ended."""
        while (code := self.returncode) is None:
            await asyncio.sleep(_POLL_SECONDS)
        return code


class _Output:
    """One end of a pipe on its way to the new process."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> Any:
        return _received, (DupFd(self._number),)


def _received(sent: Any) -> int:
    number: int = sent.detach()
    return number


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gateway.cli", "gateway.server"])
    with chdir(_ROOT):  # Where modules are looked for first.
        forkserver.ensure_running()
    return context


def _run(argv: list[str], environ: dict[str, str], output: int) -> None:
    """Be the gateway: in the new process."""
    os.chdir(_ROOT)
    os.environ.clear()
    os.environ.update(environ)
    os.dup2(output, _STDOUT)
    os.close(output)
    # Here, since in the process of the tests nothing else needs the command line.
    from gateway.cli import main  # noqa: PLC0415

    sys.exit(main(argv))
