import os
import socket
from pathlib import Path

import pytest

from config import EngineSettings, RedisSettings, RoutingSettings, ServerSettings, Settings
from gateway.stack.errors import StackError
from gateway.stack.plan import Commands, Plan, make_plan

COMMANDS = Commands(gateway=("the-gateway",), engine=("the-engine",))
FREE = {"server": ServerSettings(port=0), "engine": EngineSettings(port=0, status_port=0)}


def plan(folder: Path, **groups: object) -> Plan:
    settings = Settings.model_validate({"data_dir": folder, **FREE, **groups})
    return make_plan(settings, dict(os.environ), folder / "redis.sock", COMMANDS)


def test_ports_that_are_0_are_decided_and_all_children_are_told(tmp_path: Path) -> None:
    made = plan(tmp_path)
    assert made.engine is not None
    ports = [made.settings.server.port, made.settings.engine.port, made.settings.engine.status_port]
    assert 0 not in ports
    for child in (made.gateway, made.engine):
        told = [child.variables[f"GEMMA_{name}"] for name in ("SERVER__PORT", "ENGINE__PORT", "ENGINE__STATUS_PORT")]
        assert told == [str(port) for port in ports]


def test_the_gateway_is_given_the_redis_that_serve_starts(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    made = plan(folder)
    assert made.redis is not None
    assert made.gateway.variables["GEMMA_REDIS__URL"] == f"unix://{str(folder).replace(' ', '%20')}/redis.sock"


def test_a_redis_or_engines_of_somebody_else_are_not_started(tmp_path: Path) -> None:
    theirs = plan(
        tmp_path,
        redis=RedisSettings.model_validate({"url": "redis://db"}),
        routing=RoutingSettings(engines=("http://gpu:8100",)),
    )
    assert (theirs.redis, theirs.engine) == (None, None)
    assert "GEMMA_REDIS__URL" not in theirs.gateway.variables


def test_a_port_in_use_is_a_sentence_that_names_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"^server\.port: 127\.0\.0\.1:{port} cannot .*: Address already in use"):
            plan(tmp_path, server=ServerSettings(port=port))
