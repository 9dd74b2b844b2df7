"""Settings → what `serve` will run: each child's command and environment, every port decided."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from config import Settings
from gateway.flags import Assignment, variables_of
from gateway.stack.child import ChildSpec
from gateway.stack.ports import free_port
from gateway.stack.redis_child import find_redis_server, redis_spec

_GRACE_SECONDS = 15.0
"""What a child gets beyond its own deadline for running requests, before it is killed."""


@dataclass(frozen=True, slots=True)
class Commands:
    """What the children are, apart from Redis. Tests put stand-ins here."""

    gateway: tuple[str, ...] = (sys.executable, "-m", "gateway", "gateway")
    engine: tuple[str, ...] = (sys.executable, "-m", "engine")


@dataclass(frozen=True, slots=True)
class Plan:
    """The children, None where somebody else runs it, and the settings as they will all see them."""

    settings: Settings
    redis: ChildSpec | None
    redis_socket: Path
    engine: ChildSpec | None
    gateway: ChildSpec


def make_plan(settings: Settings, environ: Mapping[str, str], redis_socket: Path, commands: Commands) -> Plan:
    """Return the plan. `environ` must already say what the flags say. Raises StackError for what cannot run here."""
    settings = _with_ports(settings)
    data_dir, engine = settings.data_dir, settings.engine
    own_redis = not settings.redis.url.get_secret_value()
    shared = {**environ, **variables_of(_decided(settings))}
    for_gateway = shared
    if own_redis:
        for_gateway = {**shared, **variables_of([("redis.url", f"unix://{quote(str(redis_socket))}")])}
    logs = data_dir / "logs"
    return Plan(
        settings=settings,
        redis=redis_spec(find_redis_server(), redis_socket, data_dir, environ) if own_redis else None,
        redis_socket=redis_socket,
        engine=None
        if settings.routing.sources
        else ChildSpec(
            "engine",
            commands.engine,
            logs / "engine-supervisor.log",
            engine.shutdown_timeout_seconds + _GRACE_SECONDS,
            shared,
        ),
        gateway=ChildSpec(
            "gateway",
            commands.gateway,
            logs / "gateway.log",
            settings.server.drain_seconds + _GRACE_SECONDS,
            for_gateway,
        ),
    )


def _with_ports(settings: Settings) -> Settings:
    """Decide on every port that is 0: the children must agree on it, and people must be told."""
    server, engine = settings.server, settings.engine
    port = free_port(server.host, server.port, "server.port")
    changes: dict[str, Any] = {"server": server.model_copy(update={"port": port})}
    if not settings.routing.sources:
        ports = {
            "port": free_port(engine.host, engine.port, "engine.port"),
            "status_port": free_port(engine.host, engine.status_port, "engine.status_port"),
        }
        changes["engine"] = engine.model_copy(update=ports)
    return settings.model_copy(update=changes)


def _decided(settings: Settings) -> list[Assignment]:
    return [
        ("data_dir", str(settings.data_dir)),
        ("server.port", str(settings.server.port)),
        ("engine.port", str(settings.engine.port)),
        ("engine.status_port", str(settings.engine.status_port)),
    ]
