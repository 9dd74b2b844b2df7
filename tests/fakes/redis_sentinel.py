"""A Redis with a replica and three Sentinels that watch them, on this machine."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import redis

from gateway.stack.redis_child import find_redis_server
from tests.fakes.ports import free_port
from tests.fakes.until import until

NAME = "myMaster"
PASSWORD = "secret"
SENTINEL_PASSWORD = "watch"


class WatchedRedis:
    """Starts the five, and ends them one by one or all."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sentinel-")
        self.ports = [free_port() for _ in range(5)]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.url = f"redis://:{PASSWORD}@{NAME}/0"

    @property
    def sentinels(self) -> list[str]:
        """Where the Sentinels are."""
        return [f"127.0.0.1:{port}" for port in self.ports[2:]]

    def start(self) -> None:
        """Start them and wait until each Sentinel knows the replica and the others."""
        first, second, *sentinels = self.ports
        for port in (first, second):
            self._run(port, ["requirepass", PASSWORD], ["masterauth", PASSWORD], ["save", '""'])
        _wait(self.client(first).ping)
        _wait(self.client(second).ping)
        self.client(second).replicaof("127.0.0.1", first)
        _wait(lambda: self.client(second).info("replication")["master_link_status"] == "up")
        for port in sentinels:
            self._watch(port, first)
        for port in sentinels:
            _wait(partial(self._sees_all, port))

    def _watch(self, port: int, master: int) -> None:
        self._run(
            port,
            ["requirepass", SENTINEL_PASSWORD],
            ["sentinel", "sentinel-pass", SENTINEL_PASSWORD],
            ["sentinel", "monitor", NAME, "127.0.0.1", str(master), "2"],
            ["sentinel", "auth-pass", NAME, PASSWORD],
            ["sentinel", "down-after-milliseconds", NAME, "500"],
            ["sentinel", "failover-timeout", NAME, "3000"],
            arguments=["--sentinel"],
        )

    def _run(self, port: int, *lines: list[str], arguments: list[str] | None = None) -> None:
        file = Path(self._folder.name) / f"{port}.conf"
        (Path(self._folder.name) / str(port)).mkdir()
        own = [["port", str(port)], ["bind", "127.0.0.1"], ["dir", f"{self._folder.name}/{port}"]]
        file.write_text("".join(f"{' '.join(line)}\n" for line in [*own, *lines]), encoding="utf-8")
        command = [find_redis_server(), str(file), *(arguments or [])]
        self._processes[port] = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def client(self, port: int) -> Any:
        """Return a client of one of them."""
        return redis.Redis(port=port, password=PASSWORD if port in self.ports[:2] else SENTINEL_PASSWORD)

    def _sees_all(self, port: int) -> bool:
        master = self.client(port).sentinel_masters()[NAME]
        return bool(master["num-slaves"] == 1 and master["num-other-sentinels"] == 2)

    def kill(self, port: int) -> None:
        """End one of them at once."""
        self._processes[port].kill()
        self._processes[port].wait()

    def freeze(self, port: int) -> None:
        """Let one keep its connections and answer nothing."""
        self._processes[port].send_signal(signal.SIGSTOP)

    def thaw(self, port: int) -> None:
        """Undo freeze()."""
        self._processes[port].send_signal(signal.SIGCONT)

    def hand_over(self) -> None:
        """Have the Sentinels make the replica the master, while the master lives."""
        self.client(self.ports[2]).execute_command("SENTINEL", "FAILOVER", NAME)

    def remove(self) -> None:
        """End all and delete their folder."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._folder.cleanup()


def _wait(condition: Callable[[], Any]) -> None:
    until(condition, "the Sentinels did not come together", (redis.RedisError, KeyError))
