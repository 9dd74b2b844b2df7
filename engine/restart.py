"""When to start again, pure: exponential backoff, within a budget that fills up again."""

from __future__ import annotations

from dataclasses import dataclass

from config import EngineSettings

EXIT_PERMANENT = 3
"""Exit code for what would fail the same way again; uvicorn uses the same number for a failed start."""

_MOST_DOUBLINGS = 100
"""Far above every longest wait; a float ends at 1023."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Bounds of restarting. Times are seconds of whatever clock the caller uses throughout."""

    initial_seconds: float
    max_seconds: float
    budget: int
    window_seconds: float

    @classmethod
    def of(cls, settings: EngineSettings) -> RestartPolicy:
        """Return the policy that the settings describe."""
        return cls(
            initial_seconds=settings.restart_initial_seconds,
            max_seconds=settings.restart_max_seconds,
            budget=settings.restart_budget,
            window_seconds=settings.restart_window_seconds,
        )

    def next_wait_seconds(self, restarts: tuple[float, ...], now: float) -> float | None:
        """Return how long to wait before the next start, or None when the budget is used up.

        `restarts` are the times of earlier restarts; those older than the window are forgotten.
        """
        recent = len(self.recent(restarts, now))
        if recent >= self.budget:
            return None
        doublings = min(recent, _MOST_DOUBLINGS)
        return min(self.max_seconds, self.initial_seconds * 2.0**doublings)

    def recent(self, restarts: tuple[float, ...], now: float) -> tuple[float, ...]:
        """Return the restarts that still count."""
        return tuple(at for at in restarts if now - at < self.window_seconds)
