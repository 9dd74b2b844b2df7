"""How many examples a property is tried with: all of them in the slow suite, a quarter in the usual one."""

from __future__ import annotations

from hypothesis import settings

FULL = "full"
USUAL = "usual"
_EXAMPLES = 100
"""Of a property that names no number."""


def register_profiles() -> None:
    """Make both profiles known, and take the usual one unless pytest is told `--hypothesis-profile=full`."""
    settings.register_profile(FULL, max_examples=_EXAMPLES)
    settings.register_profile(USUAL, max_examples=_EXAMPLES // 4)
    settings.load_profile(USUAL)


def examples(full: int) -> int:
    """Return how many examples to try in this run, where a proof would try `full`."""
    return max(1, full * settings().max_examples // _EXAMPLES)
