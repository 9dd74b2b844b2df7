"""Every kind of URL, against a real Redis: sockets, TCP, TLS, passwords, users, databases."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from config import RedisSettings
from gateway.errors import StoreDown
from gateway.store import Store, open_store
from gateway.store.address import Address, Who
from gateway.telemetry.metrics import Metrics
from tests.fakes.redis_server import RedisServer

OpenAt = Callable[..., Store]
OpenPort = Callable[[ssl.SSLContext | None], Awaitable[int]]


@pytest.fixture
async def open_at(metrics: Metrics) -> AsyncIterator[OpenAt]:
    """Open stores by their URL; patient by default, as the machine may be busy."""
    opened: list[Store] = []

    def store_of(url: str, patience_seconds: float = 5, password: str = "") -> Store:
        settings = RedisSettings(
            url=SecretStr(url),
            password=SecretStr(password),
            timeout_seconds=patience_seconds,
            connect_timeout_seconds=patience_seconds,
        )
        opened.append(open_store(settings, metrics))
        return opened[-1]

    yield store_of
    for store in opened:
        await store.aclose()


@pytest.fixture
async def port_of(private_redis: RedisServer) -> AsyncIterator[OpenPort]:
    """Make the Redis, which has a unix socket only, answer on a TCP port, with TLS or without."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(private_redis.socket_path)
        for each in (_carry(reader, inner_writer), _carry(inner_reader, writer)):
            task = asyncio.create_task(each)
            tasks.add(task)

    async def open_port(tls: ssl.SSLContext | None) -> int:
        servers.append(await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls))
        port: int = servers[-1].sockets[0].getsockname()[1]
        return port

    yield open_port
    for server in servers:
        server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
    finally:
        writer.transport.abort()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that it has signed itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=redis"
    options = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run([openssl, *command.split(), *options], check=True, capture_output=True)
    return paths


def tls_server(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """Return what a server with this certificate needs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


def database_with(server: RedisServer, key: str) -> set[int]:
    """Return which databases have the key."""
    found = set()
    for number in range(4):
        with redis.Redis(unix_socket_path=server.socket_path, db=number, username="root", password="r") as client:
            if client.exists(key):
                found.add(number)
    return found


@pytest.fixture
def guarded_redis(private_redis: RedisServer) -> RedisServer:
    """A Redis with a password, with a user, and with another user for the test itself."""
    with redis.Redis(unix_socket_path=private_redis.socket_path) as client:
        client.execute_command("ACL", "SETUSER", "root", "on", ">r", "~*", "&*", "+@all")
        client.execute_command("ACL", "SETUSER", "ann", "on", ">p@ss/ü", "~*", "+@all")
        client.config_set("requirepass", "secret")
    return private_redis


@pytest.mark.parametrize(
    ("who", "query", "database"),
    [
        (":secret@", "", 0),
        (":secret@", "db=2", 2),
        ("ann:p%40ss%2F%C3%BC@", "", 0),
        ("ann:p%40ss%2F%C3%BC@", "db=3", 3),
        ("", "username=ann&password=p%40ss%2F%C3%BC&db=1&client_name=gateway", 1),
    ],
)
async def test_password_user_and_database_hold_on_a_unix_socket(
    guarded_redis: RedisServer, open_at: OpenAt, who: str, query: str, database: int
) -> None:
    store = open_at(f"unix://{who}{guarded_redis.socket_path}?{query}")
    assert await store.call("SET", "k", "v") == b"OK"
    assert await store.call("GET", "k") == b"v"
    assert database_with(guarded_redis, "k") == {database}
    assert await store.call("CLIENT", "GETNAME") == (b"gateway" if "client_name" in query else None)


@pytest.mark.parametrize(("who", "database"), [(":secret@", 0), (":secret@", 2), ("ann:p%40ss%2F%C3%BC@", 1)])
async def test_password_user_and_database_hold_on_tcp(
    guarded_redis: RedisServer, open_at: OpenAt, port_of: OpenPort, who: str, database: int
) -> None:
    store = open_at(f"redis://{who}127.0.0.1:{await port_of(None)}/{database}")
    assert await store.call("SET", "k", "v") == b"OK"
    assert database_with(guarded_redis, "k") == {database}


@pytest.mark.parametrize(
    ("who", "password", "holds"),
    [
        ("ann@", ">p@ss/ü", False),
        ("ann@", "p@ss/ü", True),
        ("", "secret", True),
        (":secret@", "p@ss/ü", True),
        (":wrong@", "secret", False),
    ],
)
async def test_a_password_that_is_no_part_of_the_url_is_taken_as_it_is_where_the_url_has_none(
    guarded_redis: RedisServer, open_at: OpenAt, port_of: OpenPort, who: str, password: str, holds: bool
) -> None:
    for url in (f"unix://{who}{guarded_redis.socket_path}", f"redis://{who}127.0.0.1:{await port_of(None)}/0"):
        store = open_at(url, password=password)
        if holds:
            assert await store.call("PING") == b"PONG"
            continue
        with pytest.raises(StoreDown):
            await store.call("PING")


@pytest.mark.parametrize("password", ["a/b", "a#b", "a?b", "a%41b", "a@b:c"])
async def test_a_password_may_hold_what_a_url_cannot(
    private_redis: RedisServer, open_at: OpenAt, port_of: OpenPort, password: str
) -> None:
    with redis.Redis(unix_socket_path=private_redis.socket_path) as client:
        client.config_set("requirepass", password)
    assert await open_at(f"redis://127.0.0.1:{await port_of(None)}/0", password=password).call("PING") == b"PONG"


@pytest.mark.parametrize("who", ["", ":wrong@", "ann:secret@"])
async def test_wrong_credentials_count_as_away(
    guarded_redis: RedisServer, open_at: OpenAt, metrics: Metrics, who: str
) -> None:
    store = open_at(f"unix://{who}{guarded_redis.socket_path}")
    with pytest.raises(StoreDown):
        await store.call("PING")
    assert not store.healthy
    assert metrics.registry.get_sample_value("gateway_redis_failures_total", {"error": "NotAllowed"}) == 1


async def test_a_database_that_is_not_there_counts_as_away(private_redis: RedisServer, open_at: OpenAt) -> None:
    store = open_at(f"{private_redis.url}?db=99")
    with pytest.raises(StoreDown):
        await store.call("SET", "k", "v")
    assert await open_at(private_redis.url).call("EXISTS", "k") == 0


async def test_tls_with_a_certificate_that_is_trusted(
    guarded_redis: RedisServer, open_at: OpenAt, port_of: OpenPort, certificate: tuple[Path, Path]
) -> None:
    port = await port_of(tls_server(certificate))
    store = open_at(f"rediss://:secret@127.0.0.1:{port}/1?ssl_ca_certs={certificate[0]}")
    assert await asyncio.gather(*(store.call("ECHO", "x" * 100_000) for _ in range(10))) == [b"x" * 100_000] * 10
    await store.call("SET", "k", "v")
    assert database_with(guarded_redis, "k") == {1}


@pytest.mark.parametrize("query", ["", "ssl_cert_reqs=required"])
async def test_tls_with_a_certificate_that_nobody_trusts_counts_as_away(
    open_at: OpenAt, port_of: OpenPort, certificate: tuple[Path, Path], query: str
) -> None:
    store = open_at(f"rediss://127.0.0.1:{await port_of(tls_server(certificate))}?{query}")
    with pytest.raises(StoreDown):
        await store.call("PING")


async def test_tls_with_a_certificate_for_another_host_counts_as_away(
    open_at: OpenAt, port_of: OpenPort, certificate: tuple[Path, Path]
) -> None:
    port = await port_of(tls_server(certificate))
    with pytest.raises(StoreDown):
        await open_at(f"rediss://localhost:{port}?ssl_ca_certs={certificate[0]}").call("PING")


async def test_tls_that_checks_no_certificate(
    open_at: OpenAt, port_of: OpenPort, certificate: tuple[Path, Path]
) -> None:
    port = await port_of(tls_server(certificate))
    assert await open_at(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none").call("PING") == b"PONG"


async def test_tls_at_a_port_without_it_counts_as_away(open_at: OpenAt, port_of: OpenPort) -> None:
    with pytest.raises(StoreDown):
        await open_at(f"rediss://127.0.0.1:{await port_of(None)}", patience_seconds=0.5).call("PING")


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "redis://localhost?db=x"])
def test_a_url_that_is_none_is_refused_at_once(url: str, metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="URL"):
        open_store(RedisSettings(url=SecretStr(url)), metrics)


def test_an_address_that_is_shown_does_not_show_the_password() -> None:
    assert "secret" not in repr(Address(Who("ann", "secret"), "localhost", 6379))
