"""The processes of a benchmark: the simulated engine, a Redis as `serve` runs it, and what is measured between."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

from config.load import ALIASES, PREFIX
from gateway.stack.redis_child import find_redis_server, redis_spec
from tests.bench.measure import MEASURED_CORE, OTHER_CORE, ROOT, ProcessTree, on_core
from tests.fakes.ports import free_port

MODEL = "gemma-3n"
KEY = "sk-bench"
CHAT = "/v1/chat/completions"

_POLL_SECONDS = 0.05
_REDIS_SECONDS = 20.0
_STOP_SECONDS = 10.0


class NotStarted(Exception):
    """A process ended, or did not get ready in time. The message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Started:
    """A running server: where chats go, and what to measure."""

    base_url: str
    tree: ProcessTree

    @property
    def chat_url(self) -> str:
        """The URL of the chat completions."""
        return self.base_url + CHAT


@contextmanager
def simulated_engine(itl_ms: float) -> Iterator[Started]:
    """Run the simulated engine on the other core."""
    command = [sys.executable, "-m", "tests.bench.simulated_engine", "--model", MODEL, "--itl-ms", str(itl_ms)]
    with on_core(OTHER_CORE):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    with process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().split()[1])
            yield Started(f"http://127.0.0.1:{port}", ProcessTree(process.pid))
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class BenchRedis:
    """A running Redis."""

    url: str
    tree: ProcessTree


@contextmanager
def bench_redis() -> Iterator[BenchRedis]:
    """Run a Redis with the very settings that `serve` gives it, on the other core."""
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder:
        socket = Path(folder) / "redis.sock"
        command = redis_spec(find_redis_server(), socket, Path(folder), {}).argv
        with on_core(OTHER_CORE):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with process:
            try:
                _wait_for_redis(socket)
                yield BenchRedis(f"unix://{socket}", ProcessTree(process.pid))
            finally:
                process.kill()


def _wait_for_redis(socket: Path) -> None:
    deadline = time.monotonic() + _REDIS_SECONDS
    with redis.Redis(unix_socket_path=str(socket)) as client:
        while True:
            try:
                client.ping()
                return
            except redis.RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)


@contextmanager
def measured_server(
    command: Sequence[str],
    port: int,
    log: Path,
    *,
    variables: Mapping[str, str] | None = None,
    ready_path: str = "/health",
    patience_seconds: float = 30.0,
) -> Iterator[Started]:
    """Run `command`, which listens on `port`, on the measured core, its output in `log`. Raises NotStarted."""
    environ = {name: value for name, value in os.environ.items() if name not in ALIASES and not name.startswith(PREFIX)}
    with log.open("wb") as output, on_core(MEASURED_CORE):
        try:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**environ, **(variables or {})}, stdout=output, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise NotStarted(f"{command[0]}: {error.strerror}") from None
    started = Started(f"http://127.0.0.1:{port}", ProcessTree(process.pid))
    try:
        _wait_until_ready(process, started.base_url + ready_path, log, patience_seconds)
        yield started
    finally:
        _stop(process, started.tree)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while not _answers(url):
        if process.poll() is not None:
            raise NotStarted(f"ended with {process.returncode}: {_last_lines(log)}")
        if time.monotonic() > deadline:
            raise NotStarted(f"not ready after {patience_seconds:g} s: {_last_lines(log)}")
        time.sleep(_POLL_SECONDS)


def _answers(url: str) -> bool:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
    try:
        with urllib.request.urlopen(request, timeout=2):
            return True
    except OSError:  # HTTPError is one too: 503 while it is not ready.
        return False


def _last_lines(log: Path) -> str:
    return " / ".join(log.read_text(encoding="utf-8", errors="replace").split("\n")[-4:]).strip(" /")[-300:]


def _stop(process: subprocess.Popen[bytes], tree: ProcessTree) -> None:
    """End a process with everything that it has started: asked first, children included, then killed."""
    processes = tree.processes()
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                ask(each)
        _, processes = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
    process.wait()


@contextmanager
def gateway(
    engine: Started, redis_url: str, settings: Mapping[str, str] | None = None, *, module: Sequence[str] = ("gateway",)
) -> Iterator[Started]:
    """Run our gateway, or another `module` of ours that reads the same settings, its log in a file."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as folder:
        wanted = {
            "data_dir": folder,
            "redis.url": redis_url,
            "server.port": str(port),
            "routing.engines": engine.base_url,
            "engine.served_model_name": MODEL,
            "auth.api_key": KEY,
            **(settings or {}),
        }
        variables = {f"GEMMA_{name.replace('.', '__').upper()}": value for name, value in wanted.items()}
        command = [sys.executable, "-m", *module]
        with measured_server(command, port, Path(folder) / "log", variables=variables) as started:
            yield started
