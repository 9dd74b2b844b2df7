"""A real Redis that a test owns: the one that `serve` would start, on a unix socket in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import redis

from gateway.stack.redis_child import find_redis_server
from tests.fakes.until import until


class RedisServer:
    """Starts, stops, freezes and kills a Redis process. Append-only, so that a restart finds its data."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        self.socket_path = str(Path(self._folder.name) / "r.sock")
        self.url = f"unix://{self.socket_path}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        arguments = ["--port", "0", "--unixsocket", self.socket_path, "--dir", self._folder.name, "--save", ""]
        arguments += ["--appendonly", "yes", "--appendfsync", "always"]
        self._process = subprocess.Popen(
            [find_redis_server(), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with redis.Redis(unix_socket_path=self.socket_path) as client:
            until(client.ping, "Redis does not answer", (redis.RedisError,))

    def flush(self) -> None:
        """Delete every key."""
        with redis.Redis(unix_socket_path=self.socket_path) as client:
            client.flushall()

    def stop(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Undo stop()."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; its data stays for the next start()."""
        if self._process is not None and self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def remove(self) -> None:
        """End it and delete its folder."""
        self.kill()
        self._folder.cleanup()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)
