"""`python -m engine`: preflight, then supervise vLLM; with `--exec`, become it (one process fewer in a container)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import structlog
import uvicorn

from config import Settings, SettingsError, load_settings
from engine import demo
from engine.command import Command, Distribution, command_for, is_demo
from engine.life import Rules
from engine.preflight import installed_distribution, problems_of
from engine.probe import client_for, read
from engine.process import EngineProcess
from engine.repair import repair_torch_extras
from engine.restart import EXIT_PERMANENT
from engine.stage import stage_of
from engine.status import StatusApp
from engine.supervisor import Supervisor

_SHOWN_LINES = 15


def main() -> int:
    """Read the settings and run; problems are sentences on standard error."""
    options = _options()
    _configure_logging()
    flags: dict[str, Any] = {"engine": {"profile": options.profile}} if options.profile else {}
    try:
        settings = load_settings(flags, options.config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_PERMANENT
    prepared = _prepare(settings)
    if isinstance(prepared, int):
        return prepared
    if options.exec:
        os.execvpe(prepared.argv[0], prepared.argv, {**os.environ, **prepared.env})  # noqa: S606 - no shell is wanted
    return asyncio.run(_supervise(settings, prepared))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m engine", description="Launch and supervise vLLM.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings")
    parser.add_argument("--profile", metavar="NAME", help="gpu, cpu, demo or auto")
    parser.add_argument("--exec", action="store_true", help="become vLLM instead of supervising it")
    return parser.parse_args()


def _configure_logging() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


def _prepare(settings: Settings) -> Command | int:
    """Return the command to run, or the exit code after saying why there is none."""
    problems = problems_of(settings)
    for problem in problems:
        print(problem.sentence, file=sys.stderr)
    if problems:
        return EXIT_PERMANENT if any(problem.permanent for problem in problems) else 1
    if settings.engine.command:
        return command_for(settings, settings.engine.model, Distribution.VLLM)
    sentence = repair_torch_extras(settings.data_dir)
    if sentence:
        print(sentence, file=sys.stderr)
        return EXIT_PERMANENT
    model = _demo_model(settings.data_dir) if is_demo(settings) else settings.engine.model
    if model is None:
        return EXIT_PERMANENT
    return command_for(settings, model, installed_distribution() or Distribution.VLLM)


def _demo_model(data_dir: Path) -> str | None:
    """Return the folder of the demo model, built first where it is missing; None if that failed (and was said)."""
    folder = demo.model_dir(data_dir)
    if not demo.is_built(folder):
        structlog.get_logger().info("demo_model_building", folder=str(folder))
        done = subprocess.run([sys.executable, "-m", "engine.demo.build", str(folder)], check=False)  # noqa: S603
        if done.returncode:
            print(f"The demo model could not be built in {folder}.", file=sys.stderr)
            return None
    return str(folder)


async def _supervise(settings: Settings, command: Command) -> int:
    engine = settings.engine
    log = settings.data_dir / "logs" / "engine.log"
    async with client_for(engine.host, engine.port) as client:
        supervisor = _supervisor(settings, command, log, client)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.stop)
        about = {"profile": engine.profile, "model": engine.model, "served_model_name": engine.served_model_name}
        status = StatusApp(supervisor, about, lambda: _stage(supervisor))
        async with _serving(status, settings):
            code = await supervisor.run()
    if code:
        for line in EngineProcess.tail(log, _SHOWN_LINES):
            print(line, file=sys.stderr)
        print(f"The engine stopped: {supervisor.life.reason}. Its log: {log}", file=sys.stderr)
    return code


def _supervisor(settings: Settings, command: Command, log: Path, client: httpx.AsyncClient) -> Supervisor:
    return Supervisor(
        Rules.of(settings.engine), start=lambda: EngineProcess.start(command, log), look=lambda: read(client)
    )


def _stage(supervisor: Supervisor) -> str:
    process = supervisor.process
    return stage_of(process.log_lines()) if isinstance(process, EngineProcess) else str(supervisor.life.phase)


@asynccontextmanager
async def _serving(status: StatusApp, settings: Settings) -> AsyncIterator[None]:
    """Serve the status port until exit. The supervisor's signals stay its own."""
    config = uvicorn.Config(
        status.app(),
        host=settings.engine.host,
        port=settings.engine.status_port,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign]
    serving = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await serving


if __name__ == "__main__":
    sys.exit(main())
