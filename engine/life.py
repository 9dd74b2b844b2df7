"""The engine's life as a pure state machine: what happened → what to do. Time is a value like any other.

starting ──healthy──▶ ready ──exit, hung──▶ restarting ──wait over──▶ starting
    └──exit, too slow──────────────────────────▲    │ budget used up
any ──stop asked──▶ draining ──exit──▶ stopped ◀────┘
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from enum import StrEnum

from config import EngineSettings
from engine.probe import NEVER_READ, Progress, Reading, is_hung, watch
from engine.restart import EXIT_PERMANENT, RestartPolicy

_EARLY_DEATHS = 2
"""An engine that never got ready and ended this often will end so again."""

_AS_ASKED = "stopped as asked"


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


def not_started(life: Life, why: str, now: float, rules: Rules) -> tuple[Life, Do]:
    """No child could be started: the machine's doing, which may pass."""
    return _start_again(life, f"it could not be started: {why}", now, rules)


def looked(life: Life, reading: Reading, now: float, rules: Rules) -> tuple[Life, Do]:
    """The engine was looked at. One that is killed already has no more to say."""
    if life.killed_because is None and life.phase is Phase.STARTING:
        return _looked_while_starting(life, reading, now, rules)
    if life.killed_because is None and life.phase is Phase.READY:
        return _looked_while_ready(life, reading, now, rules)
    return life, Do.NOTHING


def exited(life: Life, code: int, now: float, rules: Rules) -> tuple[Life, Do]:
    """The child has ended."""
    life = replace(life, healthy=False, last_exit=code)
    if life.phase is Phase.DRAINING:
        how = f"stopped as asked; {life.killed_because}" if life.killed_because else _AS_ASKED
        return _stopped(life, 0, now, how), Do.LEAVE
    why = life.killed_because or f"it ended by itself with {_describe(code)}"
    # SIGKILL is never its own doing: somebody's hand, or the kernel for want of memory.
    its_own = life.killed_because is not None or code != -signal.SIGKILL
    if its_own and not life.was_ever_ready:
        life = replace(life, deaths_before_ready=life.deaths_before_ready + 1)
    if life.deaths_before_ready >= _EARLY_DEATHS:
        return _stopped(life, EXIT_PERMANENT, now, f"it cannot start: {why}"), Do.LEAVE
    return _start_again(life, why, now, rules)


def ticked(life: Life, now: float, rules: Rules) -> tuple[Life, Do]:
    """Time has passed."""
    if life.phase is Phase.RESTARTING and life.wake_at is not None and now >= life.wake_at:
        return life, Do.START
    if life.phase is Phase.DRAINING and life.killed_because is None and now - life.since >= rules.drain_seconds:
        return _kill(life, f"it did not end within {rules.drain_seconds:g} s"), Do.KILL
    return life, Do.NOTHING


def stop_asked(life: Life, now: float) -> tuple[Life, Do]:
    """Somebody wants it to end. A second time changes nothing."""
    if life.phase in (Phase.STARTING, Phase.READY):
        return replace(life, phase=Phase.DRAINING, since=now, healthy=False, reason="stop asked"), Do.TERMINATE
    if life.phase is Phase.RESTARTING:
        return _stopped(life, 0, now, _AS_ASKED), Do.LEAVE
    return life, Do.NOTHING


def _looked_while_starting(life: Life, reading: Reading, now: float, rules: Rules) -> tuple[Life, Do]:
    if reading.healthy:
        ready = replace(
            life, phase=Phase.READY, since=now, healthy=True, was_ever_ready=True, deaths_before_ready=0,
            progress=watch(NEVER_READ, reading, now), reason="",
        )  # fmt: skip
        return ready, Do.NOTHING
    if now - life.since >= rules.startup_timeout_seconds:
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


def _start_again(life: Life, why: str, now: float, rules: Rules) -> tuple[Life, Do]:
    wait_seconds = rules.policy.next_wait_seconds(life.restarts, now)
    if wait_seconds is None:
        return _stopped(life, 1, now, f"the restart budget is used up: {why}"), Do.LEAVE
    restarts = (*rules.policy.recent(life.restarts, now), now)
    life = replace(life, phase=Phase.RESTARTING, since=now, restarts=restarts, wake_at=now + wait_seconds, reason=why)
    return life, Do.NOTHING


def _kill(life: Life, why: str) -> Life:
    return replace(life, healthy=False, killed_because=why, reason=why)


def _stopped(life: Life, exit_code: int, now: float, why: str) -> Life:
    return replace(life, phase=Phase.STOPPED, since=now, healthy=False, exit_code=exit_code, reason=why)


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
