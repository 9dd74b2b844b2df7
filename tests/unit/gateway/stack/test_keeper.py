import os
import sys
from pathlib import Path

from gateway.stack.child import ChildSpec
from gateway.stack.keeper import GaveUp, Keeper, RestartBudget

CHILDREN = str(Path(__file__).with_name("children.py"))


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def keeper(folder: Path, kind: str, said: list[str]) -> Keeper:
    argv = (sys.executable, CHILDREN, kind)
    spec = ChildSpec("gateway", argv, folder / "gateway.log", 1.0, dict(os.environ))
    return Keeper(spec, RestartBudget(restarts=2, first_wait_seconds=0.01), said.append)


def test_each_wait_is_twice_the_one_before_up_to_a_limit() -> None:
    budget = RestartBudget(restarts=7, clock=FakeClock())
    assert [budget.spend() for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]


def test_no_restart_is_left_after_the_budget_until_the_window_has_passed() -> None:
    clock = FakeClock()
    budget = RestartBudget(restarts=2, window_seconds=300, clock=clock)
    assert [budget.spend(), budget.spend(), budget.spend()] == [0.5, 1, None]
    clock.now = 299.9
    assert budget.spend() is None
    clock.now = 300
    assert budget.spend() == 0.5


async def test_a_child_that_keeps_ending_is_given_up_with_its_last_lines(tmp_path: Path) -> None:
    said: list[str] = []
    gave_up = await keeper(tmp_path, "crash", said).keep()
    log = tmp_path / "gateway.log"
    assert gave_up == GaveUp(f"The gateway keeps ending (exit code 1):\n  It broke.\n  (from {log})", 1)
    assert said == [
        f"The gateway ended (exit code 1); it starts again in {wait} s. Its log is {log}." for wait in ("0.01", "0.02")
    ]


async def test_a_child_that_can_never_run_is_not_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    gave_up = await keeper(tmp_path, "permanent", said).keep()
    assert gave_up.exit_code == 3
    assert "  The model is gated." in gave_up.sentence.splitlines()
    assert said == []
