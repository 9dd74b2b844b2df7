"""An engine is there when it answers, and hung when it has work and its step counter stands still."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import EngineSettings
from engine.probe import (
    NEVER_READ,
    Lookout,
    PatientLookout,
    Progress,
    Reading,
    check,
    is_hung,
    reading_of,
    recall,
    remember,
    watch,
)
from tests.fakes.process import EngineProcess

ROOT = Path(__file__).resolve().parents[3]

METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a model of mine"} 3.0
vllm:num_requests_running{engine="1",model_name="a model of mine"} 1.0
vllm:num_requests_waiting{engine="0",model_name="a model of mine"} 9.0
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="a model of mine"} 77.0
vllm:iteration_tokens_total_sum{engine="0",model_name="a model of mine"} 1000.0
vllm:iteration_tokens_total_count{engine="0",model_name="a model of mine"} 40.0
vllm:iteration_tokens_total_count{engine="1",model_name="a model of mine"} 2.0
process_start_time_seconds 1.79540850582e+09
"""


def busy(steps: float, started: float | None = None) -> Reading:
    return Reading(healthy=True, running=1, steps=steps, started=started)


IDLE = Reading(healthy=True, running=0, steps=5)


@pytest.mark.parametrize(
    ("before", "reading", "after"),
    [
        pytest.param(NEVER_READ, busy(5), Progress(5, 100), id="the first look starts the clock"),
        pytest.param(Progress(5, 10), busy(5), Progress(5, 10), id="no step: the clock runs on"),
        pytest.param(Progress(5, 10), busy(6), Progress(6, 100), id="a step starts it anew"),
        pytest.param(Progress(5, 10), busy(0), Progress(0, 100), id="fewer steps are another run"),
        pytest.param(Progress(5, 10), IDLE, Progress(5, 100), id="without work it starts anew"),
        pytest.param(
            Progress(5, 10), Reading(healthy=True, running=1), Progress(None, 100), id="without a counter too"
        ),
        pytest.param(Progress(0, 10, 1.0), busy(0, 2.0), Progress(0, 100, 2.0), id="another run may count the same"),
        pytest.param(Progress(5, 500), busy(5), Progress(5, 100), id="a clock that was set back starts anew"),
    ],
)
def test_the_clock_runs_only_while_there_is_work_and_no_step(
    before: Progress, reading: Reading, after: Progress
) -> None:
    assert watch(before, reading, 100) == after


@pytest.mark.parametrize(
    ("progress", "now", "hung"),
    [(Progress(5, 10), 29.9, False), (Progress(5, 10), 30.0, True), (NEVER_READ, 1e9, False)],
)
def test_it_is_hung_after_hang_seconds(progress: Progress, now: float, hung: bool) -> None:
    assert is_hung(progress, now, 20) is hung


@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(0, 2), st.floats(0.1, 9)), max_size=30))
def test_hung_means_no_step_and_always_work_for_all_that_time(looks: list[tuple[int, int, float]]) -> None:
    progress, now, still_since = NEVER_READ, 0.0, 0.0
    last: int | None = None
    for running, steps, seconds in looks:
        now += seconds
        if last != steps or not running:
            still_since = now
        last = steps
        progress = watch(progress, Reading(True, running, steps), now)
        assert is_hung(progress, now, 10) == (now - still_since >= 10)


def test_metrics_are_summed_over_the_engines_parts() -> None:
    assert reading_of(METRICS) == Reading(healthy=True, running=4, steps=42, started=1795408505.82)


@pytest.mark.parametrize("text", ["", "<html>no metrics</html>", "vllm:num_requests_running{} many"])
def test_an_engine_without_metrics_is_healthy_and_never_idle(text: str) -> None:
    reading = reading_of(text)
    assert (reading.healthy, reading.steps, reading.idle) == (True, None, False)


Handler = Callable[[httpx.Request], httpx.Response]


def lookout(handler: Handler, **engine: Any) -> Lookout:
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler), base_url="http://engine")
    return Lookout(client, EngineSettings(**{"hang_seconds": 20, **engine}))


def fails(error: type[httpx.TransportError], path: str = "/health") -> Handler:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == path:
            raise error("scripted", request=request)
        return httpx.Response(200, text=METRICS)

    return handler


async def test_a_look_reads_health_and_metrics() -> None:
    assert await lookout(lambda request: httpx.Response(200, text=METRICS)).read() == reading_of(METRICS)


@pytest.mark.parametrize(
    "handler",
    [
        lambda request: httpx.Response(503),
        fails(httpx.ConnectError),
        fails(httpx.ReadTimeout),
        fails(httpx.RemoteProtocolError),
        fails(httpx.ReadTimeout, "/metrics"),
    ],
)
async def test_silence_and_errors_are_unhealthy(handler: Handler) -> None:
    assert await lookout(handler).read() == Reading(healthy=False)


async def test_a_look_ends_in_time_even_where_bytes_keep_dripping() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"x: y\r\n")
            await asyncio.sleep(0.02)
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        started = time.monotonic()
        assert not (await Lookout(client, EngineSettings(hang_seconds=0.2)).read()).healthy
    assert time.monotonic() - started < 2
    await gone.wait()
    server.close()


async def test_a_nudge_asks_for_one_token() -> None:
    asked: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append({"path": request.url.path, **json.loads(request.content)})
        return httpx.Response(200)

    assert await lookout(handler, served_model_name="mine").nudge(IDLE) == IDLE
    assert [(one["path"], one["model"], one["max_tokens"]) for one in asked] == [("/v1/completions", "mine", 1)]


@pytest.mark.parametrize(
    ("handler", "running"),
    [
        (lambda request: httpx.Response(404), 0),
        (lambda request: httpx.Response(503), 0),
        (fails(httpx.ReadError, "/v1/completions"), 0),
        (fails(httpx.ReadTimeout, "/v1/completions"), 1),
    ],
)
async def test_only_a_nudge_without_an_answer_is_work(handler: Handler, running: float) -> None:
    assert (await lookout(handler).nudge(IDLE)).running == running


class Engine:
    """An engine that counts nudges, and steps for each of them unless it is hung."""

    def __init__(self) -> None:
        self.steps = 0
        self.running = 0
        self.nudges = 0
        self.hung = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/completions":
            self.nudges += 1
            if self.hung:
                raise httpx.ReadTimeout("hung", request=request)
            self.steps += 1
        running = f"vllm:num_requests_running {self.running}\n"
        return httpx.Response(200, text=f"{running}vllm:iteration_tokens_total_count {self.steps}\n")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Patient:
    """A patient lookout with its engine and clock. It nudges after 5 idle seconds."""

    def __init__(self) -> None:
        self.engine, self.clock = Engine(), Clock()
        self.lookout = PatientLookout(lookout(self.engine), 20, self.clock)

    async def look_at(self, now: float) -> Reading:
        self.clock.now = now
        return await self.lookout.look()


async def test_an_idle_engine_is_nudged_now_and_then() -> None:
    patient = Patient()
    for second in range(21):
        reading = await patient.look_at(second)
        assert reading.running == 0
    # Each nudge is a step that the next look sees, from which the next five seconds count.
    assert patient.engine.nudges == 3


async def test_an_engine_that_moves_or_works_is_not_nudged() -> None:
    patient = Patient()
    for second in range(40):
        patient.engine.steps += second < 20
        patient.engine.running = int(second >= 20)
        await patient.look_at(second)
    assert patient.engine.nudges == 0


async def test_one_that_hung_while_idle_is_nudged_until_it_answers() -> None:
    patient = Patient()
    await patient.look_at(0)
    patient.engine.hung = True
    assert [(await patient.look_at(second)).running for second in (4, 5, 6, 7)] == [0, 1, 1, 1]
    patient.engine.hung = False
    assert (await patient.look_at(8)).running == 0
    assert patient.engine.nudges == 4


async def test_one_without_a_counter_is_not_nudged() -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200)

    clock = Clock()
    patient = PatientLookout(lookout(handler), 20, clock)
    for second in range(0, 60, 10):
        clock.now = second
        await patient.look()
    assert set(asked) == {"/health", "/metrics"}


def test_a_check_remembers_and_finds_a_hang() -> None:
    progress, problem = check(NEVER_READ, busy(5), 100, 20)
    assert problem is None
    progress, problem = check(progress, busy(5), 119, 20)
    assert problem is None
    progress, problem = check(progress, busy(5), 121, 20)
    assert problem == "the engine has had requests and made no step for 21 s"


def test_an_unhealthy_engine_is_a_problem_and_forgets_what_was_before() -> None:
    progress, problem = check(Progress(5, 10), Reading(healthy=False), 100, 20)
    assert problem == "the engine does not answer /health with 200"
    assert check(progress, busy(5), 101, 20)[1] is None


def test_memory_is_kept_whole(tmp_path: Path) -> None:
    memory = tmp_path / "new" / "probe.json"
    assert recall(memory) == NEVER_READ
    for progress in (Progress(5, 10.5, 3.25), NEVER_READ, Progress(0.0, 1.0)):
        remember(memory, progress)
        assert recall(memory) == progress
    assert list(memory.parent.iterdir()) == [memory]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"steps": 1}', '{"steps": "x", "since": 1, "started": null}', '"steps"']
)
def test_a_memory_that_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    memory = tmp_path / "probe.json"
    memory.write_text(text)
    assert recall(memory) == NEVER_READ


class Probe:
    """`python -m engine.probe` against a scripted engine."""

    def __init__(self, engine: EngineProcess, data_dir: Path) -> None:
        self.engine = engine
        self.variables = {
            "GEMMA_DATA_DIR": str(data_dir),
            "GEMMA_ENGINE__HANG_SECONDS": "0.5",
            "GEMMA_ENGINE__SERVED_MODEL_NAME": "gemma-3n",
        }

    async def check(self, **variables: str) -> tuple[int, str]:
        port = {"GEMMA_ENGINE__PORT": str(self.engine.replica.port), "GEMMA_ENGINE__PROFILE": "demo"}
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "engine.probe"],
            env={**port, **self.variables, **variables},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
async def probe(tmp_path: Path) -> AsyncIterator[Probe]:
    async with EngineProcess() as engine:
        yield Probe(engine, tmp_path / "data")


async def test_the_command_finds_an_engine_that_hung_while_idle(probe: Probe) -> None:
    assert await probe.check() == (0, "ok\n")
    assert await probe.check() == (0, "ok\n")
    await probe.engine.script("hang", times=-1, silent=True)
    await probe.check()
    code, said = await probe.check()
    assert code == 1
    assert "made no step" in said
    await probe.engine.kill()
    assert await probe.check() == (1, "the engine does not answer /health with 200\n")


async def test_the_command_does_not_fail_a_healthy_engine_for_want_of_a_memory(probe: Probe, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, said = await probe.check(GEMMA_DATA_DIR=str(tmp_path / "file" / "data"))
    assert code == 0
    assert "cannot be written" in said
    code, said = await probe.check(GEMMA_ENGINE__PORTT="1")
    assert (code, said) == (1, "GEMMA_ENGINE__PORTT: no such setting (from the environment)\n")
