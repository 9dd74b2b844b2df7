"""`python -m engine` as a whole: a real process, a real child that speaks vLLM's HTTP, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from engine import __main__ as main_module
from engine.command import Command
from tests.unit.engine.family import Family, eventually_gone
from tests.unit.engine.launcher import launched
from tests.unit.engine.settings import settings_of


async def test_from_start_to_stop(tmp_path: Path) -> None:
    async with launched(tmp_path / "data", hang_seconds="0.5", served_model_name="gemma-3n") as it:
        ready = await it.until(lambda status: status["ready"])
        assert (ready["state"], ready["stage"], ready["restarts"], ready["model"]) == ("ready", "ready", 0, "demo")
        assert (await it.get("/livez")).status_code == 200
        assert (await it.get("/readyz")).status_code == 200
        assert "engine_ready 1.0" in (await it.get("/metrics")).text

        os.kill(ready["pid"], signal.SIGKILL)
        again = await it.until(lambda status: status["ready"] and status["pid"] != ready["pid"])
        assert (again["restarts"], again["last_exit"]) == (1, -signal.SIGKILL)

        os.kill(again["pid"], signal.SIGSTOP)
        silent = await it.until(lambda status: not status["ready"])
        assert (await it.get("/readyz")).status_code == 503
        assert (await it.get("/livez")).status_code == 200
        assert silent["stage"] != "ready"
        third = await it.until(lambda status: status["ready"] and status["pid"] != again["pid"])
        assert third["restarts"] == 2

        it.signal(signal.SIGTERM)
        code, said = await it.ended()
        assert code == 0
        assert "did not answer for 0.5 s" in said
        assert "engine_draining" in said
        assert await it.nothing_left()


async def test_everything_wrong_is_said_at_once_with_exit_code_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with launched(tmp_path, command="no-such-command", status_port=str(port)) as it:
            code, said = await it.ended()
    assert code == 3
    assert "engine.command: there is no command no-such-command that can be run." in said
    assert f"engine.status_port: 127.0.0.1:{port} cannot be listened on" in said
    assert "Traceback" not in said


async def test_what_may_pass_is_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with launched(tmp_path, port=str(taken.getsockname()[1])) as it:
            assert (await it.ended())[0] == 1


async def test_settings_that_are_wrong_are_exit_code_3(tmp_path: Path) -> None:
    async with launched(tmp_path, prot="1") as it:
        code, said = await it.ended()
    assert (code, said) == (3, "GEMMA_ENGINE__PROT: no such setting (from the environment)\n")


async def test_an_engine_that_cannot_start_is_exit_code_3_with_what_it_said(tmp_path: Path) -> None:
    family = Family(tmp_path)
    async with launched(tmp_path / "data", command=",".join(family.argv("dies"))) as it:
        code, said = await it.ended()
    assert code == 3
    assert "It cannot load." in said
    assert "The engine stopped: it cannot start: it ended by itself with exit code 9." in said
    assert f"Its log: {tmp_path / 'data' / 'logs' / 'engine.log'}" in said
    assert family.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_while_the_engine_starts_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    family = Family(tmp_path)
    async with launched(tmp_path / "data", command=",".join(family.argv("polite"))) as it:
        await it.until(lambda status: status["state"] == "starting")
        await family.of(2)
        assert (await it.get("/readyz")).status_code == 503
        it.signal(number)
        assert (await it.ended())[0] == 0
    assert family.left() == []


@pytest.mark.parametrize("delay_seconds", [0.15, 0.3, 0.45, 0.6])
async def test_a_stop_at_any_time_of_the_start_leaves_nothing(tmp_path: Path, delay_seconds: float) -> None:
    family = Family(tmp_path)
    async with launched(tmp_path / "data", command=",".join(family.argv("polite"))) as it:
        await asyncio.sleep(delay_seconds)
        it.signal(signal.SIGTERM)
        code, said = await it.ended()
        # Before the first line of main() has run, the signal ends Python as it ends every program.
        assert code in (0, -signal.SIGTERM)
        assert "Traceback" not in said
        assert await it.nothing_left()
    assert family.left() == []


async def test_killed_it_takes_the_engine_with_it(tmp_path: Path) -> None:
    async with launched(tmp_path / "data") as it:
        ready = await it.until(lambda status: status["ready"])
        it.signal(signal.SIGKILL)
        await it.ended()
        assert await eventually_gone([ready["pid"]])


async def test_exec_becomes_the_command_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "my-engine"
    tool.write_text("#!/bin/sh\necho I am $$\nenv\ngrep SigIgn /proc/$$/status\nexit 5\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("GATEWAY_API_KEY", "gg_secret")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        # Nothing listens on the status port then, so that it is taken does not matter.
        status_port = str(taken.getsockname()[1])
        async with launched(tmp_path / "data", "--exec", command="my-engine", status_port=status_port) as it:
            code, said = await it.ended()
            assert (code, said.splitlines()[0]) == (5, f"I am {it.process.pid}")
    assert "GEMMA_" not in said
    assert "gg_secret" not in said
    assert "VLLM_NO_USAGE_STATS=1" in said
    ignored = int(said.rsplit("SigIgn:", 1)[1].split()[0], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)


def test_exec_of_what_cannot_be_run_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGPIPE)
    try:
        assert main_module._become(Command((str(tmp_path),))) == 3
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert "cannot be run: Permission denied" in capsys.readouterr().err


async def test_a_status_port_lost_after_the_preflight_is_a_sentence_and_no_engine_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family = Family(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_of(data_dir=tmp_path / "data", status_port=taken.getsockname()[1])
        assert await main_module._supervise(settings, family.command("polite")) == 1
    assert "engine.status_port" in capsys.readouterr().err
    assert family.pids() == []
