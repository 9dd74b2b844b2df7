"""`python -m engine`: preflight, then supervise vLLM; with `--exec`, become it (one process fewer in a container)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
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
from engine.address import bind
from engine.command import Command, Distribution, command_for, is_demo, on_cpu
from engine.life import Rules
from engine.preflight import installed_distribution, problems_of
from engine.probe import Lookout, PatientLookout, client_for
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
    # Until the supervisor takes the signals over, SIGTERM is what Ctrl-C is: it unwinds, and nothing is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 0


def _run(options: argparse.Namespace) -> int:
    flags: dict[str, Any] = {"engine": {"profile": options.profile}} if options.profile else {}
    try:
        settings = load_settings(flags, options.config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_PERMANENT
    prepared = _prepare(settings, supervised=not options.exec)
    if isinstance(prepared, int):
        return prepared
    if options.exec:
        return _become(prepared)
    return asyncio.run(_supervise(settings, prepared))


def _become(command: Command) -> int:
    """Replace this process by `command`; returns only where that cannot be."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would hand that on.
    try:
        os.execvpe(command.argv[0], command.argv, command.environment(os.environ))  # noqa: S606 - no shell is wanted
    except OSError as error:
        print(f"{command.argv[0]} cannot be run: {error.strerror}", file=sys.stderr)
        return EXIT_PERMANENT


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


def _prepare(settings: Settings, *, supervised: bool) -> Command | int:
    """Return the command to run, or the exit code after saying why there is none."""
    problems = problems_of(settings, supervised=supervised)
    for problem in problems:
        print(problem.sentence, file=sys.stderr)
    if problems:
        return EXIT_PERMANENT if any(problem.permanent for problem in problems) else 1
    if settings.engine.command:
        return command_for(settings, settings.engine.model, Distribution.VLLM)
    # Only pip's choice for a CPU may not fit; and on a GPU the image tower needs torchvision.
    sentence = repair_torch_extras(settings.data_dir) if on_cpu(settings) else None
    if sentence:
        print(sentence, file=sys.stderr)
        return EXIT_PERMANENT
    model = str(demo.MODEL) if is_demo(settings) else settings.engine.model
    return command_for(settings, model, installed_distribution() or Distribution.VLLM)


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
        try:
            port = bind(engine.host, engine.status_port)
        except OSError as error:  # Somebody was quicker, after the preflight.
            print(f"engine.status_port: {engine.status_port} cannot be listened on: {error}", file=sys.stderr)
            return 1
        async with _serving(status, port):
            code = await supervisor.run()
    if code:
        for line in EngineProcess.tail(log, _SHOWN_LINES):
            print(line, file=sys.stderr)
        print(f"The engine stopped: {supervisor.life.reason}. Its log: {log}", file=sys.stderr)
    return code


def _supervisor(settings: Settings, command: Command, log: Path, client: httpx.AsyncClient) -> Supervisor:
    engine = settings.engine
    lookout = PatientLookout(Lookout(client, engine), engine.hang_seconds)
    return Supervisor(Rules.of(engine), start=lambda: EngineProcess.start(command, log), look=lookout.look)


def _stage(supervisor: Supervisor) -> str:
    process = supervisor.process
    return stage_of(process.log_lines()) if isinstance(process, EngineProcess) else str(supervisor.life.phase)


@asynccontextmanager
async def _serving(status: StatusApp, port: socket.socket) -> AsyncIterator[None]:
    """Serve the status on a bound socket until exit. The supervisor's signals stay its own."""
    config = uvicorn.Config(
        status.app(),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign]
    # Left to bind by itself, uvicorn would end this process where the port is taken, and the engine with it.
    serving = asyncio.create_task(server.serve(sockets=[port]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


if __name__ == "__main__":
    sys.exit(main())
