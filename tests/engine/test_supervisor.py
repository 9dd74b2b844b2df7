"""The supervisor with the real vLLM: it comes back from every death and hang, and leaves nothing when it is stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.unit.engine.family import eventually_gone
from tests.unit.engine.launcher import Launcher

LOADING_SECONDS = 200.0


def engine_core(pid: int) -> psutil.Process:
    """Return the process of vLLM that runs the model, apart from the one that speaks HTTP."""
    for child in psutil.Process(pid).children(recursive=True):
        if "EngineCore" in " ".join(child.cmdline()):
            return child
    raise AssertionError("vLLM has no engine core")


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_real_vllm_is_kept_running_and_leaves_nothing(tmp_path: Path) -> None:
    it = Launcher(tmp_path, hang_seconds="10", shutdown_timeout_seconds="2")
    stages: set[str] = set()

    def is_ready(status: dict[str, Any]) -> bool:
        stages.add(status["stage"])
        return bool(status["ready"])

    await it.start()
    try:
        first = await it.until(is_ready, LOADING_SECONDS)
        assert {"importing vLLM", "reading the model's configuration", "starting the engine core"} <= stages
        family = [first["pid"], *(child.pid for child in psutil.Process(first["pid"]).children(recursive=True))]

        os.kill(first["pid"], signal.SIGKILL)
        second = await it.until(lambda status: status["ready"] and status["pid"] != first["pid"], LOADING_SECONDS)
        assert (second["restarts"], second["last_exit"]) == (1, -signal.SIGKILL)
        assert await eventually_gone(family)

        # It hangs with nothing to do: its HTTP goes on answering, and its counters say that nothing runs.
        engine_core(second["pid"]).send_signal(signal.SIGSTOP)
        hung = await it.until(lambda status: status["state"] == "restarting" or status["pid"] != second["pid"], 40)
        assert hung["reason"] == "it had requests and made no step for 10 s"

        await it.until(lambda status: status["state"] == "starting" and status["elapsed_seconds"] > 3)
        it.signal(signal.SIGTERM)
        assert (await it.ended())[0] == 0
        assert await it.nothing_left()
    finally:
        await it.close()
