"""The engine's life as histories: what happened, when, and what was to be done."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import EngineSettings
from engine.life import Do, Life, Phase, Rules, began, exited, looked, not_started, stop_asked, ticked
from engine.probe import Reading
from engine.restart import RestartPolicy
from tests.proofs import examples

RULES = Rules(
    startup_timeout_seconds=100,
    hang_seconds=20,
    drain_seconds=30,
    policy=RestartPolicy(initial_seconds=1, max_seconds=8, budget=3, window_seconds=200),
)
IDLE = Reading(healthy=True, running=0, steps=5)
SILENT = Reading(healthy=False)

Event = Callable[[Life, float], tuple[Life, Do]]


def busy(steps: float) -> Event:
    return look(Reading(healthy=True, running=2, steps=steps))


def look(reading: Reading) -> Event:
    return lambda life, now: looked(life, reading, now, RULES)


def ends(code: int) -> Event:
    return lambda life, now: exited(life, code, now, RULES)


def start(life: Life, now: float) -> tuple[Life, Do]:
    return began(life, now), Do.NOTHING


def tick(life: Life, now: float) -> tuple[Life, Do]:
    return ticked(life, now, RULES)


def cannot_start(life: Life, now: float) -> tuple[Life, Do]:
    return not_started(life, "no space left", now, RULES)


stop, healthy, silent = stop_asked, look(IDLE), look(SILENT)
NOTHING, START, KILL, TERMINATE, LEAVE = Do.NOTHING, Do.START, Do.KILL, Do.TERMINATE, Do.LEAVE
STARTING, READY, DRAINING, RESTARTING, STOPPED = (
    Phase.STARTING,
    Phase.READY,
    Phase.DRAINING,
    Phase.RESTARTING,
    Phase.STOPPED,
)

Step = tuple[float, Event, Do, Phase]

HISTORIES: dict[str, list[Step]] = {
    "it becomes ready when it answers": [
        (0, start, NOTHING, STARTING),
        (5, silent, NOTHING, STARTING),
        (40, healthy, NOTHING, READY),
    ],
    "it may take its time to start, but not for ever, and may then try once more": [
        (0, start, NOTHING, STARTING),
        (99, silent, NOTHING, STARTING),
        (100, silent, KILL, STARTING),
        (101, silent, NOTHING, STARTING),
        (102, ends(-9), NOTHING, RESTARTING),
        (103, start, NOTHING, STARTING),
        (203, silent, KILL, STARTING),
        (204, ends(-9), LEAVE, STOPPED),
    ],
    "one that is killed for its slowness does not get ready any more": [
        (0, start, NOTHING, STARTING),
        (100, silent, KILL, STARTING),
        (100.5, healthy, NOTHING, STARTING),
        (101, ends(-9), NOTHING, RESTARTING),
    ],
    "two deaths before it was ever ready end it": [
        (0, start, NOTHING, STARTING),
        (9, ends(1), NOTHING, RESTARTING),
        (9.9, tick, NOTHING, RESTARTING),
        (10, tick, START, RESTARTING),
        (10, start, NOTHING, STARTING),
        (19, ends(1), LEAVE, STOPPED),
    ],
    "somebody's SIGKILL while it starts is no reason to give up": [
        (0, start, NOTHING, STARTING),
        (1, ends(-9), NOTHING, RESTARTING),
        (2, start, NOTHING, STARTING),
        (3, ends(-9), NOTHING, RESTARTING),
        (5, start, NOTHING, STARTING),
        (9, healthy, NOTHING, READY),
    ],
    "deaths before it was ready are forgotten once it is": [
        (0, start, NOTHING, STARTING),
        (1, ends(1), NOTHING, RESTARTING),
        (2, start, NOTHING, STARTING),
        (3, healthy, NOTHING, READY),
        (4, ends(1), NOTHING, RESTARTING),
        (6, start, NOTHING, STARTING),
        (7, ends(1), NOTHING, RESTARTING),
        (11, start, NOTHING, STARTING),
        (12, ends(1), LEAVE, STOPPED),
    ],
    "a budget that is used up ends it": [
        (0, start, NOTHING, STARTING),
        (1, healthy, NOTHING, READY),
        (2, ends(1), NOTHING, RESTARTING),
        (3, start, NOTHING, STARTING),
        (4, healthy, NOTHING, READY),
        (5, ends(1), NOTHING, RESTARTING),
        (6, tick, NOTHING, RESTARTING),
        (7, tick, START, RESTARTING),
        (7, start, NOTHING, STARTING),
        (8, healthy, NOTHING, READY),
        (9, ends(1), NOTHING, RESTARTING),
        (13, start, NOTHING, STARTING),
        (14, healthy, NOTHING, READY),
        (15, ends(1), LEAVE, STOPPED),
    ],
    "a budget fills up again": [
        (0, start, NOTHING, STARTING),
        (1, healthy, NOTHING, READY),
        (2, ends(1), NOTHING, RESTARTING),
        (3, start, NOTHING, STARTING),
        (4, healthy, NOTHING, READY),
        (5, ends(1), NOTHING, RESTARTING),
        (7, start, NOTHING, STARTING),
        (8, healthy, NOTHING, READY),
        (9, ends(1), NOTHING, RESTARTING),
        (13, start, NOTHING, STARTING),
        (14, healthy, NOTHING, READY),
        (202, ends(1), NOTHING, RESTARTING),
        (205.9, tick, NOTHING, RESTARTING),
        (206, tick, START, RESTARTING),
    ],
    "one that runs requests without a step is hung": [
        (0, start, NOTHING, STARTING),
        (1, busy(7), NOTHING, READY),
        (20, busy(7), NOTHING, READY),
        (21, busy(7), KILL, READY),
        (22, busy(8), NOTHING, READY),
        (23, silent, NOTHING, READY),
        (24, ends(-9), NOTHING, RESTARTING),
    ],
    "one step is enough not to be hung": [
        (0, start, NOTHING, STARTING),
        (1, busy(7), NOTHING, READY),
        (20, busy(8), NOTHING, READY),
        (39, busy(8), NOTHING, READY),
        (40, busy(8), KILL, READY),
    ],
    "one without requests is never hung": [
        (0, start, NOTHING, STARTING),
        (1, healthy, NOTHING, READY),
        (1000, healthy, NOTHING, READY),
        (2000, healthy, NOTHING, READY),
    ],
    "one that falls silent for as long is killed, a shorter silence is forgiven": [
        (0, start, NOTHING, STARTING),
        (1, healthy, NOTHING, READY),
        (2, silent, NOTHING, READY),
        (21, silent, NOTHING, READY),
        (21.5, healthy, NOTHING, READY),
        (30, silent, NOTHING, READY),
        (49, silent, NOTHING, READY),
        (50, silent, KILL, READY),
        (51, silent, NOTHING, READY),
    ],
    "what the last child did is not held against the next": [
        (0, start, NOTHING, STARTING),
        (1, busy(7), NOTHING, READY),
        (2, silent, NOTHING, READY),
        (3, ends(-11), NOTHING, RESTARTING),
        (4, start, NOTHING, STARTING),
        (30, busy(7), NOTHING, READY),
        (31, silent, NOTHING, READY),
        (40, busy(7), NOTHING, READY),
    ],
    "stop while it starts": [
        (0, start, NOTHING, STARTING),
        (1, stop, TERMINATE, DRAINING),
        (2, tick, NOTHING, DRAINING),
        (3, ends(-15), LEAVE, STOPPED),
    ],
    "stop while it is ready; it does not get ready again; a second stop changes nothing": [
        (0, start, NOTHING, STARTING),
        (1, healthy, NOTHING, READY),
        (2, stop, TERMINATE, DRAINING),
        (3, stop, NOTHING, DRAINING),
        (4, healthy, NOTHING, DRAINING),
        (5, ends(0), LEAVE, STOPPED),
        (6, stop, NOTHING, STOPPED),
        (7, tick, NOTHING, STOPPED),
    ],
    "stop while it waits to start again": [
        (0, start, NOTHING, STARTING),
        (1, ends(1), NOTHING, RESTARTING),
        (1.5, stop, LEAVE, STOPPED),
        (9, tick, NOTHING, STOPPED),
    ],
    "stop while it is killed and not yet dead": [
        (0, start, NOTHING, STARTING),
        (1, busy(7), NOTHING, READY),
        (21, busy(7), KILL, READY),
        (22, stop, TERMINATE, DRAINING),
        (60, tick, NOTHING, DRAINING),
        (61, ends(-9), LEAVE, STOPPED),
    ],
    "a drain that does not end in time is ended, once": [
        (0, start, NOTHING, STARTING),
        (1, healthy, NOTHING, READY),
        (2, stop, TERMINATE, DRAINING),
        (31, tick, NOTHING, DRAINING),
        (32, tick, KILL, DRAINING),
        (33, tick, NOTHING, DRAINING),
        (34, ends(-9), LEAVE, STOPPED),
    ],
    "a machine that cannot start a child just now may do so later, up to the budget": [
        (0, cannot_start, NOTHING, RESTARTING),
        (1, tick, START, RESTARTING),
        (1, cannot_start, NOTHING, RESTARTING),
        (3, tick, START, RESTARTING),
        (3, cannot_start, NOTHING, RESTARTING),
        (7, tick, START, RESTARTING),
        (7, cannot_start, LEAVE, STOPPED),
    ],
}


def play(steps: list[Step]) -> Life:
    life = Life()
    for now, event, do, phase in steps:
        life, done = event(life, now)
        assert (now, done, life.phase) == (now, do, phase)
        assert (life.exit_code is not None) == (life.phase is STOPPED)
        assert life.ready == (life.phase is READY and life.healthy)
    return life


@pytest.mark.parametrize("name", HISTORIES)
def test_history(name: str) -> None:
    play(HISTORIES[name])


@pytest.mark.parametrize(
    ("name", "exit_code", "reason"),
    [
        ("two deaths before it was ever ready end it", 3, "it cannot start: it ended by itself with exit code 1"),
        (
            "it may take its time to start, but not for ever, and may then try once more",
            3,
            "it cannot start: it was not ready after 100 s",
        ),
        (
            "a budget that is used up ends it",
            1,
            "the restart budget is used up: it ended by itself with exit code 1",
        ),
        (
            "a machine that cannot start a child just now may do so later, up to the budget",
            1,
            "the restart budget is used up: it could not be started: no space left",
        ),
        ("stop while it starts", 0, "stopped as asked"),
        ("stop while it waits to start again", 0, "stopped as asked"),
        (
            "a drain that does not end in time is ended, once",
            0,
            "stopped as asked; it did not end within 30 s",
        ),
    ],
)
def test_the_end_has_a_code_and_a_reason(name: str, exit_code: int, reason: str) -> None:
    life = play(HISTORIES[name])
    assert (life.exit_code, life.reason) == (exit_code, reason)


@pytest.mark.parametrize(
    ("code", "said"),
    [(1, "exit code 1"), (0, "exit code 0"), (-signal.SIGSEGV, "SIGSEGV"), (-63, "signal 63")],
)
def test_an_end_is_described_in_words(code: int, said: str) -> None:
    life, _ = exited(began(Life(), 0), code, 1, RULES)
    assert life.reason == f"it ended by itself with {said}"
    assert life.last_exit == code


def test_a_silent_engine_is_not_ready_though_it_may_come_back() -> None:
    life = play(HISTORIES["it becomes ready when it answers"])
    life, _ = looked(life, SILENT, 41, RULES)
    assert not life.ready
    life, _ = looked(life, IDLE, 42, RULES)
    assert life.ready


def test_the_drain_leaves_vllm_its_own_time_first() -> None:
    settings = EngineSettings(shutdown_timeout_seconds=7, hang_seconds=3, startup_timeout_seconds=2)
    rules = Rules.of(settings)
    assert (rules.startup_timeout_seconds, rules.hang_seconds) == (2, 3)
    assert rules.drain_seconds > 7


@dataclass
class World:
    """Carries out what a life asks for, as the supervisor does, and watches that it asks for nothing absurd."""

    life: Life = field(default_factory=Life)
    now: float = 0.0
    child: bool = False
    killed: bool = False
    stop_wanted: bool = False
    left: int = 0

    def start(self) -> None:
        assert not self.child, "two children at once"
        assert not self.stop_wanted, "a start after a stop"
        self.child, self.killed = True, False
        self.life = began(self.life, self.now)

    def happens(self, event: Event) -> None:
        self.life, do = event(self.life, self.now)
        if do is START:
            self.start()
        elif do is KILL:
            assert self.child
            assert not self.killed, "killed twice"
            self.killed = True
        elif do is TERMINATE:
            assert self.child
        elif do is LEAVE:
            assert not self.child, "a child left behind"
            self.left += 1
        assert not self.life.ready or (self.child and not self.stop_wanted and not self.killed)
        assert (self.life.exit_code is not None) == (self.life.phase is STOPPED) == (self.left == 1)


EVENTS = st.one_of(
    st.builds(
        lambda running, steps: ("look", look(Reading(True, running, steps))), st.sampled_from([0, 1]), st.integers(0, 2)
    ),
    st.just(("look", silent)),
    st.sampled_from([0, 1, 3, -9, -11, -15]).map(lambda code: ("exit", ends(code))),
    st.just(("tick", tick)),
    st.just(("stop", stop)),
)


@settings(max_examples=examples(500))
@given(st.lists(st.tuples(EVENTS, st.floats(0, 60)), max_size=60))
def test_whatever_happens_it_never_asks_for_the_absurd(history: list[tuple[tuple[str, Event], float]]) -> None:
    world = World()
    world.start()
    for (kind, event), seconds in history:
        world.now += seconds
        if kind == "exit" and world.child:
            world.child = False
            world.happens(event)
        elif (kind == "look" and world.child) or (kind == "tick" and (not world.child or world.life.phase is DRAINING)):
            world.happens(event)
        elif kind == "stop" and not world.left:
            world.stop_wanted = True
            world.happens(event)
        if world.left:
            break
    if world.stop_wanted and not world.left:
        # However a stop was asked for, the child's end is the end of it all.
        world.child = False
        world.happens(ends(0))
        assert (world.left, world.life.exit_code) == (1, 0)
