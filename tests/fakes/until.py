"""Wait for what has been started to come together. It blocks, also an event loop that it is called in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.02


def until(condition: Callable[[], Any], complaint: str, passing: tuple[type[Exception], ...]) -> None:
    """Return once `condition()` is true; errors in `passing` count as not yet. Fails with `complaint` after 30 s."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            if condition():
                return
        except passing:
            pass
        assert time.monotonic() < deadline, complaint
        time.sleep(_LOOK_SECONDS)
