"""The garbage collector in tests that collect often."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collecting_only_what_is_made_now() -> Iterator[None]:
    """Have the collector pass over all that a run has imported so far, which costs more than a test here does."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
