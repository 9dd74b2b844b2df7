"""A Redis Cluster of three nodes on this machine, without replicas."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import redis

from gateway.stack.redis_child import find_redis_server
from tests.fakes.until import until

_SLOTS = 16384
_BUS = 10_000


class RedisCluster:
    """Starts three nodes that share the slots between them, and stops them."""

    def __init__(self) -> None:
        self._folders = [tempfile.TemporaryDirectory(prefix="cluster-") for _ in range(3)]
        self.ports = _free_ports(3)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.url = f"redis://127.0.0.1:{self.ports[0]}"

    @property
    def clients(self) -> list[Any]:
        """A client for each node."""
        return [redis.Redis(port=port) for port in self.ports]

    def start(self) -> None:
        """Start the nodes and wait until each of them sees the whole cluster."""
        for port, folder in zip(self.ports, self._folders, strict=True):
            arguments = ["--port", str(port), "--dir", folder.name, "--save", "", "--cluster-enabled", "yes"]
            self._processes.append(subprocess.Popen([find_redis_server(), *arguments], stdout=subprocess.DEVNULL))
        for index, client in enumerate(self.clients):
            _wait(client.ping)
            share = range(_SLOTS * index // 3, _SLOTS * (index + 1) // 3)
            client.execute_command("CLUSTER", "ADDSLOTS", *share)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        # Only then: who knows of another node may not choose its epoch any more.
        for client in self.clients:
            for port in self.ports:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", port)
        for client in self.clients:
            _wait(partial(_is_whole, client))

    def fail_over(self, index: int, to: int) -> None:
        """Kill a node for good and give its slots, without what was in them, to another: as a replica takes over."""
        self._processes[index].kill()
        self._processes[index].wait()
        share = range(_SLOTS * index // 3, _SLOTS * (index + 1) // 3)
        alive = [client for number, client in enumerate(self.clients) if number != index]
        for client in alive:
            client.execute_command("CLUSTER", "DELSLOTS", *share)
        self.clients[to].execute_command("CLUSTER", "ADDSLOTS", *share)
        for client in alive:
            _wait(partial(_is_whole, client))

    def remove(self) -> None:
        """End the nodes and delete their folders."""
        for process in self._processes:
            process.kill()
            process.wait()
        for folder in self._folders:
            folder.cleanup()


def _free_ports(count: int) -> list[int]:
    """Return ports whose cluster bus port, 10,000 above, is free too."""
    found: list[int] = []
    for port in range(21_000, 31_000):
        try:
            for each in (port, port + _BUS):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", each))
        except OSError:
            continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no ports are free")


def _is_whole(client: Any) -> bool:
    return bool(client.cluster("INFO")["cluster_state"] == "ok")


def _wait(condition: Callable[[], Any]) -> None:
    until(condition, "the cluster did not start", (redis.RedisError,))
