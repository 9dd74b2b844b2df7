"""Keys over time, from a real server that rotates them, goes down, dawdles and lies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from config import AuthSettings
from config.issuers import Algorithm, IssuerSettings
from gateway.errors import GatewayError, IssuerUnavailable, Unauthenticated
from gateway.identity import key_ring
from gateway.identity.issuers import Issuers, KeyMissing
from gateway.identity.key_set import jwk_key_set
from gateway.identity.key_source import FileSource, problems_of_key_files
from tests.fakes.token_issuer import TokenIssuer, public_pem


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    """A real issuer."""
    with TokenIssuer("ES256") as made:
        yield made


def settings(issuer: TokenIssuer, **changed: Any) -> IssuerSettings:
    """Return what the gateway knows of it."""
    given: dict[str, Any] = {"name": "corp", "issuer": issuer.url, "audiences": ["gateway"], "algorithms": ["ES256"]}
    if not changed.keys() & {"discovery", "jwks_file", "pem_file"}:
        given["jwks_url"] = issuer.jwks_url
    return IssuerSettings(**given, **changed)


@asynccontextmanager
async def running(each: IssuerSettings, wait_seconds: float | None = None) -> AsyncIterator[Issuers]:
    """Run issuers with this one; who must have its keys may wait longer for them, as the machine may be busy."""
    issuers = Issuers(AuthSettings(issuers=(each,)), b"o" * 32)
    if wait_seconds is not None:
        key_ring_of(issuers)._wait_seconds = wait_seconds
    async with issuers.running():
        yield issuers


async def outcome(asked: Awaitable[Any]) -> Any:
    """Return the result, or the class of the refusal."""
    try:
        return await asked
    except GatewayError as error:
        return type(error)


async def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("discovery", [False, True])
async def test_keys_are_fetched_before_the_first_request(issuer: TokenIssuer, discovery: bool) -> None:
    each = settings(issuer, discovery=True) if discovery else settings(issuer)
    async with running(each, wait_seconds=10) as issuers:
        asked = len(issuer.requests)
        assert (await issuers.verify(issuer.sign())).user == "corp:ann"
        assert len(issuer.requests) == asked == (2 if discovery else 1)


async def test_a_new_key_is_fetched_when_its_first_token_comes_and_the_old_one_ends(
    issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "_AGAIN_SECONDS", 0.0)
    told = list[None]()
    async with running(settings(issuer), wait_seconds=10) as issuers:
        issuers.on_change(lambda: told.append(None))
        old = issuer.sign()
        await issuers.verify(old)
        issuer.rotate()
        assert (await issuers.verify(issuer.sign())).user == "corp:ann"
        assert len(told) == 1
        with pytest.raises(Unauthenticated):
            await issuers.verify(old)


async def test_keys_are_fetched_again_in_the_background(issuer: TokenIssuer) -> None:
    async with running(settings(issuer, refresh_seconds=0.05)) as issuers:
        old = issuer.sign()
        await issuers.verify(old)
        issuer.rotate()
        await eventually(lambda: _refused(issuers, old))
        assert issuers.check(issuer.sign()).user == "corp:ann"


async def test_keys_that_are_the_same_again_let_nobody_be_forgotten(issuer: TokenIssuer) -> None:
    told = list[None]()
    async with running(settings(issuer, refresh_seconds=0.02)) as issuers:
        issuers.on_change(lambda: told.append(None))
        await eventually(lambda: len(issuer.requests) > 4)
    assert told == []


def _refused(issuers: Issuers, token: str) -> bool:
    try:
        issuers.check(token)
    except (Unauthenticated, KeyMissing):
        return True
    return False


async def test_a_flood_of_unknown_keys_is_one_fetch_and_delays_nobody(issuer: TokenIssuer) -> None:
    async with running(settings(issuer)) as issuers:
        good, bad = issuer.sign(), [issuer.sign(key_id=f"made-up-{number}") for number in range(300)]
        key_ring_of(issuers)._tried_at = 0.0
        asked = len(issuer.requests)
        started = time.monotonic()
        assert set(await asyncio.gather(*(outcome(issuers.verify(token)) for token in bad))) == {Unauthenticated}
        assert len(issuer.requests) == asked + 1
        assert set(await asyncio.gather(*(outcome(issuers.verify(token)) for token in bad))) == {Unauthenticated}
        assert len(issuer.requests) == asked + 1
        assert (await issuers.verify(good)).user == "corp:ann"
        assert time.monotonic() - started < 10


def key_ring_of(issuers: Issuers) -> key_ring.KeyRing:
    """Return the ring of the one issuer."""
    *_, issuer = issuers._by_iss.values()
    return issuer.ring


async def test_while_the_issuer_is_away_the_last_good_keys_hold(
    issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "_AGAIN_SECONDS", 0.0)
    async with running(settings(issuer, refresh_seconds=0.05), wait_seconds=10) as issuers:
        old = issuer.sign()
        issuer.down()
        await eventually(lambda: not key_ring_of(issuers).current)
        assert (await issuers.verify(old)).user == "corp:ann"
        issuer.rotate()
        new = issuer.sign()
        # It may be a good one: nobody can tell, so it is not called a bad credential.
        assert await outcome(issuers.verify(new)) is IssuerUnavailable
        issuer.up()
        assert (await issuers.verify(new)).user == "corp:ann"


async def test_an_issuer_that_is_away_at_the_start_is_taken_in_when_it_comes(issuer: TokenIssuer) -> None:
    issuer.down()
    started = time.monotonic()
    async with running(settings(issuer)) as issuers:
        assert time.monotonic() - started < 5
        assert await outcome(issuers.verify(issuer.sign())) is IssuerUnavailable
        issuer.up()
        await eventually(lambda: not _refused(issuers, issuer.sign()), 10)


async def test_an_issuer_that_dawdles_holds_no_request_for_longer_than_the_bound(issuer: TokenIssuer) -> None:
    issuer.delay_seconds = 3.0
    started = time.monotonic()
    async with running(settings(issuer)) as issuers:
        assert await outcome(issuers.verify(issuer.sign())) is IssuerUnavailable
        assert 0.9 < time.monotonic() - started < 2.9


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, None), (404, None), (302, None), (204, None), (200, b""), (200, b"<html>"), (200, b'{"keys": []}'),
        (200, b'{"keys":' + b" " * 1_100_000 + b"[]}"), (200, b"[" * 100_000),
    ],
)  # fmt: skip
async def test_an_answer_that_is_no_key_set_changes_nothing(
    issuer: TokenIssuer, status: int, body: bytes | None
) -> None:
    async with running(settings(issuer, refresh_seconds=0.05)) as issuers:
        issuer.status, issuer.body = status, body
        await eventually(lambda: not key_ring_of(issuers).current)
        assert (await issuers.verify(issuer.sign())).user == "corp:ann"
        issuer.status, issuer.body = 200, None
        await eventually(lambda: key_ring_of(issuers).current)


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        b'{"issuer": "URL"}',
        b'{"issuer": "https://evil", "jwks_uri": "URL/keys"}',
        b'{"issuer": "URL", "jwks_uri": "http://evil.example.org/keys"}',
        b'{"issuer": "URL", "jwks_uri": "file:///etc/passwd"}',
        b'{"issuer": "URL", "jwks_uri": 5}',
        b"[]",
    ],
)
async def test_a_discovery_document_that_lies_is_not_believed(issuer: TokenIssuer, document: bytes) -> None:
    issuer.body = document.replace(b"URL", issuer.url.encode())
    async with running(settings(issuer, discovery=True)) as issuers:
        assert await outcome(issuers.verify(issuer.sign())) is IssuerUnavailable
        assert set(issuer.requests) == {"/.well-known/openid-configuration"}


async def test_a_key_file_that_changes_is_taken(issuer: TokenIssuer, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(next(iter(issuer.keys.values()))))
    each = settings(issuer, pem_file=str(path))
    assert problems_of_key_files((each,)) == []
    async with running(each) as issuers:
        old = issuer.sign()
        await issuers.verify(old)
        issuer.rotate()
        path.write_bytes(public_pem(next(iter(issuer.keys.values()))))
        await eventually(lambda: _refused(issuers, old), 10)
        assert issuers.check(issuer.sign()).user == "corp:ann"


def test_a_key_file_that_holds_no_key_is_a_sentence_before_the_start(issuer: TokenIssuer, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("no key")
    for source in ({"pem_file": str(wrong)}, {"jwks_file": str(wrong)}, {"pem_file": str(tmp_path / "none")}):
        (problem,) = problems_of_key_files((settings(issuer, **source),))
        assert problem.startswith("auth.issuers: corp: ")
    short = tmp_path / "short"
    short.write_bytes(b"s" * 31 + b"\n")
    (problem,) = problems_of_key_files((settings(issuer, pem_file="").model_copy(
        update={"secret_file": str(short), "algorithms": (Algorithm.HS256,)}),))  # fmt: skip
    assert "at least 32 bytes" in problem
    assert FileSource(wrong, jwk_key_set).read() == b"no key"
