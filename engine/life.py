"""The engine's life as a pure state machine: what happened → what to do. Time is a value like any other.

starting ──healthy──▶ ready ──exit, hung──▶ restarting ──wait over──▶ starting
    └──exit, too slow──────────────────────────▲    │ budget used up
any ──stop asked──▶ draining ──exit──▶ stopped ◀────┘
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from config import EngineSettings
from engine.probe import NEVER_READ, Progress, Reading, is_hung, watch
from engine.restart import EXIT_PERMANENT, RestartPolicy

_EARLY_DEATHS = 2
"""An engine that never got ready and ended this often will end so again."""


class Phase(StrEnum):
    """Where the engine is."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    RESTARTING = "restarting"
    STOPPED = "stopped"


class Do(StrEnum):
    """What the supervisor is to do next."""

    NOTHING = "nothing"
    START = "start"
    KILL = "kill"
    TERMINATE = "terminate"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that decide."""

    startup_timeout_seconds: float
    hang_seconds: float
    drain_seconds: float
    policy: RestartPolicy

    @classmethod
    def of(cls, settings: EngineSettings) -> Rules:
        """Return the rules that the settings describe; the drain's deadline leaves vLLM's own time to be the first."""
        return cls(
            startup_timeout_seconds=settings.startup_timeout_seconds,
            hang_seconds=settings.hang_seconds,
            drain_seconds=settings.shutdown_timeout_seconds + 10.0,
            policy=RestartPolicy.of(settings),
        )


@dataclass(frozen=True, slots=True)
class Life:
    """Everything there is to know between two events. `reason` says why in a sentence, for the log and the status."""

    phase: Phase = Phase.STARTING
    since: float = 0.0
    healthy: bool = False
    was_ever_ready: bool = False
    deaths_before_ready: int = 0
    progress: Progress = NEVER_READ
    silent_since: float | None = None
    restarts: tuple[float, ...] = ()
    wake_at: float | None = None
    killed_because: str | None = None
    last_exit: int | None = None
    exit_code: int | None = None
    reason: str = ""

    @property
    def ready(self) -> bool:
        """Whether requests may be sent."""
        return self.phase is Phase.READY and self.healthy


def began(life: Life, now: float) -> Life:
    """A child was started."""
    return replace(
        life, phase=Phase.STARTING, since=now, healthy=False, progress=NEVER_READ, silent_since=None, wake_at=None,
        killed_because=None,
    )  # fmt: skip


def looked(life: Life, reading: Reading, now: float, rules: Rules) -> tuple[Life, Do]:
    """The engine was looked at."""
    if life.phase is Phase.STARTING:
        return _looked_while_starting(life, reading, now, rules)
    if life.phase is Phase.READY and life.killed_because is None:
        return _looked_while_ready(life, reading, now, rules)
    if life.phase is Phase.DRAINING and now - life.since >= rules.drain_seconds and life.killed_because is None:
        return _kill(life, "it did not end in time"), Do.KILL
    return life, Do.NOTHING


def exited(life: Life, code: int, now: float, rules: Rules) -> tuple[Life, Do]:
    """The child has ended."""
    life = replace(life, healthy=False, last_exit=code)
    if life.phase is Phase.DRAINING:
        return _stopped(life, 0, now, "stopped as asked"), Do.LEAVE
    early = 0 if life.phase is Phase.READY or life.was_ever_ready else life.deaths_before_ready + 1
    life = replace(life, deaths_before_ready=early)
    why = life.killed_because or f"it ended by itself with {_describe(code)}"
    if early >= _EARLY_DEATHS:
        return _stopped(life, EXIT_PERMANENT, now, f"it cannot start: {why}"), Do.LEAVE
    wait_seconds = rules.policy.next_wait_seconds(life.restarts, now)
    if wait_seconds is None:
        return _stopped(life, 1, now, f"the restart budget is used up: {why}"), Do.LEAVE
    restarts = (*rules.policy.recent(life.restarts, now), now)
    life = replace(life, phase=Phase.RESTARTING, since=now, restarts=restarts, wake_at=now + wait_seconds, reason=why)
    return life, Do.NOTHING


def ticked(life: Life, now: float) -> tuple[Life, Do]:
    """Time has passed while no child was there."""
    if life.phase is Phase.RESTARTING and life.wake_at is not None and now >= life.wake_at:
        return life, Do.START
    return life, Do.NOTHING


def stop_asked(life: Life, now: float) -> tuple[Life, Do]:
    """Somebody wants it to end. A second time changes nothing."""
    if life.phase in (Phase.STARTING, Phase.READY):
        return replace(life, phase=Phase.DRAINING, since=now, healthy=False, reason="stop asked"), Do.TERMINATE
    if life.phase is Phase.RESTARTING:
        return _stopped(life, 0, now, "stopped as asked"), Do.LEAVE
    return life, Do.NOTHING


def _looked_while_starting(life: Life, reading: Reading, now: float, rules: Rules) -> tuple[Life, Do]:
    if reading.healthy:
        ready = replace(
            life, phase=Phase.READY, since=now, healthy=True, was_ever_ready=True, deaths_before_ready=0,
            progress=watch(NEVER_READ, reading, now), reason="",
        )  # fmt: skip
        return ready, Do.NOTHING
    if now - life.since >= rules.startup_timeout_seconds and life.killed_because is None:
        return _kill(life, f"it was not ready after {rules.startup_timeout_seconds:g} s"), Do.KILL
    return life, Do.NOTHING


def _looked_while_ready(life: Life, reading: Reading, now: float, rules: Rules) -> tuple[Life, Do]:
    if not reading.healthy:
        silent_since = now if life.silent_since is None else life.silent_since
        life = replace(life, healthy=False, silent_since=silent_since)
        if now - silent_since >= rules.hang_seconds:
            return _kill(life, f"it did not answer for {rules.hang_seconds:g} s"), Do.KILL
        return life, Do.NOTHING
    life = replace(life, healthy=True, silent_since=None, progress=watch(life.progress, reading, now))
    if is_hung(life.progress, now, rules.hang_seconds):
        return _kill(life, f"it had requests and made no step for {rules.hang_seconds:g} s"), Do.KILL
    return life, Do.NOTHING


def _kill(life: Life, why: str) -> Life:
    return replace(life, healthy=False, killed_because=why, reason=why)


def _stopped(life: Life, exit_code: int, now: float, why: str) -> Life:
    return replace(life, phase=Phase.STOPPED, since=now, healthy=False, exit_code=exit_code, reason=why)


def _describe(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
