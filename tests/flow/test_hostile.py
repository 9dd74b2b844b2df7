"""Hostile input: thousands of requests to each route that takes a body, and nothing but 4xx for what is wrong."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow import hostile
from tests.flow.hostile import Fate, Shot, Target
from tests.flow.raw_http import Answer, RawConnection
from tests.proofs import examples

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

BODY_TIMEOUT_SECONDS = 1.0
MAX_BODY_BYTES = 2_000_000
CONNECTIONS = 16
TARGETS = ("chat", "completions", "session messages", "sessions", "keys")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attacked(module_engine: EngineProcess, redis_server: RedisServer) -> AsyncIterator[GatewayProcess]:
    """The gateway of this file, which waits for a body no longer than a second."""
    given = {
        "server.body_timeout_seconds": BODY_TIMEOUT_SECONDS,
        "server.max_body_bytes": MAX_BODY_BYTES,
        # A busy machine may make Redis wait longer than it ever should; that is another file's matter.
        "redis.timeout_seconds": 5,
        "sessions.max_per_user": 1_000_000,
    }
    async with GatewayProcess(redis_server.url, [module_engine.replica.base_url], given) as gateway:
        await gateway.ready()
        yield gateway


async def target_of(gateway: GatewayProcess, name: str) -> Target:
    """Return a target; the one for session messages gets a session of its own, which takes one message at a time."""
    if name == "session messages":
        made = await gateway.client.post("/v1/sessions", json={})
        return hostile.session_message_target(f"/v1/sessions/{made.json()['id']}/messages")
    makers = {
        "chat": hostile.chat_target,
        "completions": hostile.completions_target,
        "sessions": hostile.sessions_target,
        "keys": hostile.keys_target,
    }
    return makers[name]()


def head(gateway: GatewayProcess, path: str, *lines: str, length: int | str | None = None) -> bytes:
    """Return the head of a POST; `lines` are added to it."""
    given = ["host: x", f"authorization: Bearer {gateway.key}", *lines]
    if not any(line.lower().startswith("content-type") for line in lines):
        given.append("content-type: application/json")
    if length is not None:
        given.append(f"content-length: {length}")
    return ("\r\n".join([f"POST {path} HTTP/1.1", *given]) + "\r\n\r\n").encode("latin-1")


def verdict(shot: Shot, answer: Answer | None, target: Target) -> str | None:
    """Return what is wrong with the answer to a shot, None if it is as it must be."""
    if answer is None:
        return "no answer"
    try:
        if answer.status >= 400:
            answer.error()
    except (AssertionError, KeyError, ValueError) as error:
        return f"not the error shape: {error!r}"
    served = answer.status == target.status
    if not served and not 400 <= answer.status < 500:
        return f"status {answer.status}"
    if (shot.fate, served) in ((Fate.SERVED, False), (Fate.REFUSED, True)):
        return f"should be {shot.fate}: status {answer.status}"
    return None if shot.mark.encode() in answer.body else "an answer to another request"


async def fire(gateway: GatewayProcess, name: str, arsenal: Iterator[Shot]) -> tuple[Counter[int], list[str]]:
    """Send every shot, several at once; return the statuses and what went wrong."""
    statuses: Counter[int] = Counter()
    faults: list[str] = []

    async def worker() -> None:
        target = await target_of(gateway, name)
        start = head(gateway, target.path)[:-2]
        async with RawConnection(gateway.port) as connection:
            for shot in arsenal:
                await connection.write(start + b"content-length: %d\r\n\r\n" % len(shot.body) + shot.body)
                answer = await connection.read()
                statuses[answer.status if answer else 0] += 1
                if fault := verdict(shot, answer, target):
                    faults.append(f"{shot.why} | {shot.body[:300]!r} | {fault} | {answer and answer.body[:300]!r}")

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return statuses, faults


async def attack(gateway: GatewayProcess, engine: EngineProcess, name: str, count: int, seed: int) -> None:
    """Fire `count` shots and look at gateway and engine afterwards."""
    await engine.reset()
    await gateway.ready()
    statuses, faults = await fire(gateway, name, hostile.shots(await target_of(gateway, name), count, seed))
    assert faults == [], f"{len(faults)} faults; the first:\n" + "\n".join(faults[:20])
    assert statuses.total() == count
    target = await target_of(gateway, name)
    assert statuses[target.status] >= count // hostile.EVERY_NTH_IS_VALID
    assert statuses[400] > count // 2
    await unharmed(gateway, engine, statuses[200] if target.generates else 0)


async def unharmed(gateway: GatewayProcess, engine: EngineProcess, served: int) -> None:
    """Check that the engine saw what was served and nothing else, and that both go on as before."""
    stats = await engine.eventually(running=0)
    assert (stats["finished"], stats["aborted"]) == (served, 0)
    assert [line for line in gateway.log if line.get("event") in ("unhandled_error", "not json")] == []
    answer = await gateway.client.post("/v1/chat/completions", json=hostile.chat_target().valid("afterwards"))
    assert answer.json()["choices"][0]["message"]["content"] == "You said: afterwards"


@pytest.mark.parametrize("name", TARGETS)
async def test_hostile_bodies_get_4xx_in_the_error_shape_and_each_valid_one_its_answer(
    attacked: GatewayProcess, module_engine: EngineProcess, name: str
) -> None:
    await attack(attacked, module_engine, name, 600, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("name", TARGETS)
async def test_thirty_thousand_hostile_bodies_do_no_more_harm(
    attacked: GatewayProcess, module_engine: EngineProcess, name: str, seed: int
) -> None:
    await attack(attacked, module_engine, name, 30_000, seed)


ANY_CHARACTER = st.characters(exclude_categories=())
"""Also lone surrogates."""


def json_values(names: list[str]) -> st.SearchStrategy[Any]:
    """Any JSON value, also with lone surrogates and NaN, whose objects often have the given names."""
    texts = st.text(ANY_CHARACTER, max_size=20) | st.sampled_from(["fake", "user", "text", "json_schema"])
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
    keys = st.sampled_from([*names, "role", "type", "content", "text"]) | st.text(ANY_CHARACTER, max_size=5)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
    )


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
async def test_no_field_of_a_valid_request_can_be_set_to_anything_that_breaks_the_gateway(
    attacked: GatewayProcess, name: str, data: st.DataObject
) -> None:
    target = await target_of(attacked, name)
    field = data.draw(st.sampled_from(sorted(target.wrong)) | st.text(ANY_CHARACTER, max_size=8))
    value = data.draw(json_values(sorted(target.wrong)))
    body = json.dumps({**target.valid("field"), field: value}).encode()
    async with RawConnection(attacked.port) as connection:
        await connection.write(head(attacked, target.path, length=len(body)) + body)
        assert verdict(Shot(body, "hypothesis", Fate.EITHER), await connection.read(), target) is None


@pytest.mark.parametrize("name", TARGETS)
async def test_a_body_that_never_ends_is_a_408_after_the_time_set(attacked: GatewayProcess, name: str) -> None:
    target = await target_of(attacked, name)
    body = json.dumps(target.valid("slow")).encode()

    async def silent() -> Answer | None:
        async with RawConnection(attacked.port) as connection:
            await connection.write(head(attacked, target.path, length=len(body) + 10) + body)
            return await connection.read(3 * BODY_TIMEOUT_SECONDS)

    async def drop_by_drop() -> Answer | None:
        async with RawConnection(attacked.port) as connection:
            await connection.write(head(attacked, target.path, length=100_000))
            reading = asyncio.create_task(connection.read(3 * BODY_TIMEOUT_SECONDS))
            while not reading.done():
                await connection.write(b" ")
                await asyncio.sleep(0.05)
            return await reading

    async def in_chunks() -> Answer | None:
        async with RawConnection(attacked.port) as connection:
            chunk = b"%x\r\n%s\r\n" % (len(body), body)
            await connection.write(head(attacked, target.path, "transfer-encoding: chunked") + chunk)
            return await connection.read(3 * BODY_TIMEOUT_SECONDS)

    for answer in await asyncio.gather(*(way() for way in (silent, drop_by_drop, in_chunks) for _ in range(10))):
        assert answer is not None
        assert (answer.status, answer.error()["code"]) == (408, "request_timeout")


@pytest.mark.parametrize("name", TARGETS)
async def test_a_body_over_the_size_set_is_a_413(attacked: GatewayProcess, name: str) -> None:
    target = await target_of(attacked, name)
    async with RawConnection(attacked.port) as connection:
        await connection.write(head(attacked, target.path, length=MAX_BODY_BYTES + 1))
        said = await connection.read(3 * BODY_TIMEOUT_SECONDS)
    async with RawConnection(attacked.port) as connection:
        await connection.write(head(attacked, target.path, "transfer-encoding: chunked"))
        for _ in range(MAX_BODY_BYTES // 100_000 + 1):
            await connection.write(b"186a0\r\n" + b" " * 100_000 + b"\r\n")
        unsaid = await connection.read(3 * BODY_TIMEOUT_SECONDS)
    for answer in (said, unsaid):
        assert answer is not None
        assert (answer.status, answer.error()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("name", TARGETS)
async def test_a_client_that_breaks_off_its_body_harms_nobody(
    attacked: GatewayProcess, module_engine: EngineProcess, name: str
) -> None:
    await module_engine.reset()
    await attacked.ready()
    target = await target_of(attacked, name)
    body = json.dumps(target.valid("cut")).encode()

    async def cut(kept: int, *, end: bool) -> None:
        async with RawConnection(attacked.port) as connection:
            await connection.write(head(attacked, target.path, length=len(body)) + body[:kept], end=end)
            answer = await connection.read() if end else None
            assert answer is None or 400 <= answer.status < 500

    await asyncio.gather(*(cut(kept, end=end) for kept in range(len(body)) for end in (True, False)))
    await unharmed(attacked, module_engine, 0)


@pytest.mark.parametrize("name", TARGETS)
async def test_a_length_too_short_is_a_400_for_what_was_said_to_be_the_body(
    attacked: GatewayProcess, name: str
) -> None:
    target = await target_of(attacked, name)
    body = json.dumps(target.valid("short")).encode()
    for length in (1, 2, len(body) // 2, len(body) - 1):
        async with RawConnection(attacked.port) as connection:
            await connection.write(head(attacked, target.path, length=length) + body)
            answer = await connection.read()
            assert answer is not None
            assert answer.status == 400


NOT_HTTP: list[tuple[str, bytes]] = [
    ("a length that is no number", b"content-length: ten\r\n\r\n"),
    ("a negative length", b"content-length: -1\r\n\r\n"),
    ("a length beyond all numbers", b"content-length: 99999999999999999999999\r\n\r\n"),
    ("a length too short", b"content-length: 1\r\n\r\n{}"),
    ("two lengths", b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}"),
    ("a length and chunks", b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a chunk size that is no number", b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    ("an encoding after chunked", b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("a header without a colon", b"nonsense\r\n\r\n"),
    ("a name with a space", b"x y: 1\r\n\r\n"),
    ("an empty name", b": 1\r\n\r\n"),
    ("a NUL in a value", b"x: a\x00b\r\n\r\n"),
    ("a bare line feed and a bare return", b"x: a\rb\r\n\r\n"),
]


@pytest.mark.parametrize("rest", [rest for _, rest in NOT_HTTP], ids=[name for name, _ in NOT_HTTP])
async def test_what_is_not_http_is_refused_in_the_error_shape(attacked: GatewayProcess, rest: bytes) -> None:
    start = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {attacked.key}\r\n".encode()
    async with RawConnection(attacked.port) as connection:
        await connection.write(start + rest)
        answer = await connection.read(3 * BODY_TIMEOUT_SECONDS)
        assert answer is not None
        assert answer.status == 400
        assert answer.error()["type"] == "invalid_request_error"


ODD_HEADERS: list[tuple[str, int]] = [
    ("x-session-id: ../../etc", 400),
    ("x-session-id: \xff\xfe", 400),
    ("x-session-id: " + "a" * 65, 400),
    ("x-session-id: *", 400),
    ("content-type: text/plain", 415),
    ("content-type: application/x-www-form-urlencoded", 415),
    ("content-type: \xff", 415),
    ("content-type:", 415),
    ("content-type: application/json; charset=klingon", 200),
    ("content-type: APPLICATION/JSON", 200),
    ("content-encoding: gzip", 415),
    ("x-request-id: " + "x" * 5000, 200),
    ("x-request-id: a\tb", 200),
    ("x-client-request-id: \xe9", 200),
    ("x-stainless-retry-count: -1", 200),
    ("expect: 100-continue", 200),
    ("expect: a miracle", 200),
    ("upgrade: websocket", 200),
    ("connection: upgrade, close, x", 200),
    ("te: trailers, nonsense", 200),
    ("cookie: " + "a=b; " * 1000, 200),
    ("x-forwarded-for: 999.999.999.999", 200),
    ("traceparent: nonsense", 200),
    ("x" * 300 + ": y", 200),
    ("\r\n".join(f"x-{number}: y" for number in range(150)), 200),
]


@pytest.mark.parametrize(("line", "status"), ODD_HEADERS, ids=[line[:40] for line, _ in ODD_HEADERS])
async def test_an_odd_header_is_harmless_or_a_4xx(attacked: GatewayProcess, line: str, status: int) -> None:
    target = hostile.chat_target()
    body = json.dumps(target.valid("odd")).encode()
    async with RawConnection(attacked.port) as connection:
        await connection.write(head(attacked, target.path, line, length=len(body)) + body)
        answer = await connection.read()
    assert answer is not None
    assert answer.status == status
    assert answer.headers["x-request-id"].startswith("req_")
    if status >= 400:
        answer.error()


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer \xff", "Bearer a b", "Basic eA==", "bearer " + "x" * 50_000, "Bearer e30.e30.x"],
)
async def test_a_credential_that_is_none_is_a_401(attacked: GatewayProcess, authorization: str) -> None:
    lines = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ncontent-length: 0\r\n\r\n"
    )
    async with RawConnection(attacked.port) as connection:
        await connection.write(lines.encode("latin-1"))
        answer = await connection.read()
    assert answer is not None
    assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, "/v1/chat/completions") for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND")),
        *(("POST", path) for path in ("/", "//", "/v1", "/v1/models", "/V1/chat/completions", "/%00", "/%ff")),
        *(("POST", path) for path in ("/v1/../admin/keys", "/v1/sessions/%2e%2e/messages", "/" + "a" * 9000)),
        ("POST", "/v1/chat/completions/"),
        *(("DELETE", path) for path in ("/v1/sessions/%00", "/v1/sessions/%F0%9F%98%80", "/admin/keys/%0d%0a")),
        *(("GET", path) for path in ("/v1/sessions?limit=NaN", "/v1/sessions?limit=-1", "/v1/models/%ff", "/v1/no")),
        *(("GET", path) for path in ("/v1/sessions?limit=1&after=%00", "/static/../../pyproject.toml", "/static/%00")),
    ],
)  # fmt: skip
async def test_odd_methods_and_paths_are_4xx(attacked: GatewayProcess, method: str, path: str) -> None:
    key = attacked.key
    async with RawConnection(attacked.port) as connection:
        lines = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 2\r\n\r\n{{}}"
        await connection.write(lines.encode("latin-1"))
        answer = await connection.read()
    assert answer is not None
    assert 400 <= answer.status < 500
    answer.error()


async def test_a_body_behind_an_upgrade_is_never_taken_for_a_request(attacked: GatewayProcess) -> None:
    inner = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {attacked.key}\r\n"
    head += f"connection: Upgrade\r\nupgrade: h2c\r\ncontent-length: {len(inner)}\r\n\r\n"
    async with RawConnection(attacked.port) as connection:
        await connection.write(head.encode())
        await asyncio.sleep(0.1)
        await connection.write(inner + b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await connection.read(BODY_TIMEOUT_SECONDS)
        assert answer is not None
        assert (answer.status, answer.error()["code"]) == (400, "invalid_json")
        last = await connection.read(BODY_TIMEOUT_SECONDS)
        assert last is not None
        assert (last.status, last.headers["connection"]) == (200, "close")


@pytest.mark.parametrize("rest", [b"x-a: " + b"a" * 70_000, b"\r\n".join(b"x-%d: 1" % k for k in range(300))])
async def test_a_head_that_is_too_large_is_refused(attacked: GatewayProcess, rest: bytes) -> None:
    async with RawConnection(attacked.port) as connection:
        await connection.write(b"GET /health HTTP/1.1\r\nhost: x\r\n" + rest + b"\r\n\r\n")
        answer = await connection.read(3 * BODY_TIMEOUT_SECONDS)
        assert answer is not None
        assert answer.status == 400
