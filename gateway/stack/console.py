"""What `serve` shows: sentences that stay, and one live line about what is waited for."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TextIO

from gateway.domain import Clock

_REPEAT_SECONDS = 10.0


class Console:
    """Writes to `output`. On a terminal the live line is rewritten in place; elsewhere it is a line now and then.

    A terminal that is gone is no reason to fail: the children still have to be stopped.
    """

    def __init__(self, output: TextIO, clock: Clock = time.monotonic) -> None:
        self._output = output
        self._tty = output.isatty()
        self._clock = clock
        self._stage = ""
        self._shown_at = 0.0
        self._line_open = False

    def say(self, text: str) -> None:
        """Write a sentence, or several lines, that stay."""
        self.end_live()
        self._write(f"{text}\n")

    def live(self, stage: str, seconds: float) -> None:
        """Show what is waited for and since when; off a terminal when it changes and at least each 10 s."""
        text = f"{stage} ({seconds:.0f} s)"
        if self._tty:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r\x1b[2K{text[:width]}")
            self._line_open = True
        elif stage != self._stage or self._clock() - self._shown_at >= _REPEAT_SECONDS:
            self._stage, self._shown_at = stage, self._clock()
            self._write(f"{text}\n")

    def end_live(self) -> None:
        """Take the live line away."""
        if self._line_open:
            self._write("\r\x1b[2K")
            self._line_open = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._output.write(text)
            self._output.flush()
