"""Keys, tokens, login codes and revocations at two real gateways on one Redis."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.cli import main
from gateway.stack.console import Console
from gateway.stack.progress import Progress
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.fakes.token_issuer import TokenIssuer
from tests.flow.chat import PATH, body

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECRET = "a secret of at least thirty-two bytes"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    redis_server: RedisServer, module_engine: EngineProcess
) -> AsyncIterator[tuple[GatewayProcess, GatewayProcess, TokenIssuer]]:
    """Two gateways, and an issuer that both believe."""
    with TokenIssuer("ES256") as issuer:
        known = {"name": "corp", "issuer": issuer.url, "audiences": ["gateway"], "algorithms": ["ES256"]}
        settings = {"auth.jwt_secret": SECRET, "auth.issuers": json.dumps([{**known, "jwks_url": issuer.jwks_url}])}
        engines = [module_engine.replica.base_url]
        async with (
            GatewayProcess(redis_server.url, engines, settings) as one,
            GatewayProcess(redis_server.url, engines, settings) as other,
        ):
            await one.ready()
            await other.ready()
            yield one, other, issuer


Pair = tuple[GatewayProcess, GatewayProcess, TokenIssuer]


def bearer(credential: str) -> dict[str, str]:
    """Return the header."""
    return {"authorization": f"Bearer {credential}"}


async def status(gateway: GatewayProcess, credential: str) -> int:
    """Return what a request with this credential gets."""
    return (await gateway.client.get("/v1/models", headers=bearer(credential))).status_code


async def refused_within(gateway: GatewayProcess, credential: str, seconds: float) -> float:
    """Return the seconds after which the credential is refused."""
    started = time.monotonic()
    while await status(gateway, credential) == 200:
        assert time.monotonic() - started < seconds
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def new_key(gateway: GatewayProcess, **fields: Any) -> dict[str, Any]:
    """Make a key."""
    made = await gateway.client.post("/admin/keys", json={"tenant": "acme", **fields})
    assert made.status_code == 201
    answer: dict[str, Any] = made.json()
    return answer


async def token_of(gateway: GatewayProcess, key: str) -> str:
    """Exchange a key for a token."""
    answer = await gateway.client.post("/auth/token", headers=bearer(key))
    assert answer.status_code == 200
    return str(answer.json()["access_token"])


async def test_a_key_is_exchanged_for_a_token_of_the_same_user_with_no_more_rights(pair: Pair) -> None:
    one, other, _ = pair
    made = await new_key(one, scopes=["chat"], models=["fake"])
    answer = await one.client.post("/auth/token", headers=bearer(made["key"]))
    token = answer.json()["access_token"]
    assert (answer.json()["expires_in"], answer.headers["cache-control"]) == (1800, "no-store")
    chat = await other.client.post(PATH, json=body(), headers=bearer(token))
    line = await other.request_line(chat.headers["x-request-id"])
    assert (chat.status_code, line["tenant"], line["user"]) == (200, "acme", made["id"])
    assert (await other.client.get("/admin/keys", headers=bearer(token))).status_code == 403
    again = await one.client.post("/auth/token", headers=bearer(token))
    assert (again.status_code, again.json()["error"]["code"]) == (403, "permission_denied")
    narrow = await new_key(one, models=["other"])
    assert (
        await other.client.post(PATH, json=body(), headers=bearer(await token_of(one, narrow["key"])))
    ).status_code == 403


async def test_a_token_does_not_outlive_its_key(pair: Pair) -> None:
    made = await new_key(pair[0], expires_at=int(time.time()) + 30)
    answer = await pair[0].client.post("/auth/token", headers=bearer(made["key"]))
    assert answer.json()["expires_in"] <= 30


async def test_a_token_is_refused_everywhere_within_a_second_of_its_revocation(pair: Pair) -> None:
    one, other, issuer = pair
    own, foreign, by_subject = await token_of(one, one.key), issuer.sign(jti="t1"), issuer.sign(sub="bob")
    untouched = issuer.sign(sub="cleo", jti="t2")
    for token in (own, foreign, by_subject, untouched):
        assert await status(other, token) == 200
        assert await status(one, token) == 200
    for asked, token in (
        ({"token": own}, own),
        ({"jti": "t1", "issuer": "corp"}, foreign),
        ({"subject": "bob", "issuer": "corp"}, by_subject),
    ):
        done = await one.client.post("/admin/revocations", json=asked)
        assert done.status_code == 201
        assert await status(one, token) == 401
        assert await refused_within(other, token, 5) < 1
    assert await status(other, untouched) == 200
    listed = (await other.client.get("/admin/revocations")).json()["data"]
    assert {entry["id"] for entry in listed} >= {"jti:corp:t1", "sub:corp:bob"}


async def test_a_revoked_key_takes_its_tokens_with_it(pair: Pair) -> None:
    one, other, _ = pair
    made = await new_key(one)
    token = await token_of(one, made["key"])
    code = (await one.client.post("/auth/login-codes", headers=bearer(token))).json()["code"]
    assert await status(other, token) == 200
    await one.client.delete(f"/admin/keys/{made['id']}")
    assert await refused_within(other, token, 5) < 1
    await refused_within(other, made["key"], 5)
    assert (await other.client.post("/auth/login", json={"code": code})).status_code == 401


async def test_a_rotated_key_keeps_its_user_and_ends_the_old_one(pair: Pair) -> None:
    one, other, _ = pair
    made = await new_key(one)
    old_token = await token_of(one, made["key"])
    rotated = (await one.client.post(f"/admin/keys/{made['id']}/rotate")).json()
    assert (rotated["id"], rotated["user"]) == (made["id"], made["id"])
    assert rotated["key"] != made["key"]
    assert await status(other, rotated["key"]) == 200
    await refused_within(other, made["key"], 5)
    await refused_within(other, old_token, 5)
    assert await status(other, await token_of(one, rotated["key"])) == 200
    graced = await one.client.post(f"/admin/keys/{made['id']}/rotate", json={"grace_seconds": 60})
    await asyncio.sleep(1.1)
    assert await status(other, rotated["key"]) == await status(other, graced.json()["key"]) == 200


async def test_a_login_code_lets_in_once_whoever_comes_first(pair: Pair) -> None:
    one, other, issuer = pair
    token = issuer.sign(sub="dora")
    made = await one.client.post("/auth/login-codes", headers=bearer(token))
    assert (made.status_code, made.json()["expires_in"]) == (201, 600)
    code = {"code": made.json()["code"]}
    async with httpx.AsyncClient(timeout=30, trust_env=False) as nobody:
        answers = await asyncio.gather(
            *(nobody.post(f"{gateway.base_url}/auth/login", json=code) for gateway in (one, other) * 10)
        )
    good = [answer for answer in answers if answer.status_code == 200]
    assert len(good) == 1
    assert {answer.status_code for answer in answers} == {200, 401}
    assert (good[0].json()["tenant"], good[0].json()["user"]) == ("corp", "corp:dora")
    assert good[0].json()["expires_in"] <= 600, "no longer than the token that made the code"
    assert await status(other, good[0].json()["access_token"]) == 200


async def test_serve_can_have_a_code_for_the_local_user(pair: Pair) -> None:
    async with Progress(f"{pair[0].base_url}/v1", None, Console(sys.stdout)) as progress:
        code = await progress.login_code(pair[0].key)
        assert await progress.login_code("wrong") is None
    answer = await pair[0].client.post("/auth/login", json={"code": code})
    assert (answer.json()["tenant"], answer.json()["user"]) == ("local", "local")


@pytest.mark.parametrize(
    ("path", "asked", "param"),
    [
        ("/admin/revocations", {}, None),
        ("/admin/revocations", {"jti": "a", "subject": "b"}, None),
        ("/admin/revocations", {"jti": ""}, "jti"),
        ("/admin/revocations", {"jti": "a", "issuer": "nobody"}, "issuer"),
        ("/admin/revocations", {"jti": "a", "expires_at": 1}, "expires_at"),
        ("/admin/revocations", {"token": "nonsense"}, "token"),
        ("/admin/keys", {"tenant": "acme", "tier": "none"}, "tier"),
        ("/admin/keys", {"tenant": "acme", "expires_at": 1}, "expires_at"),
        ("/admin/keys", {"tenant": "acme", "expires_at": 10**20}, "expires_at"),
        ("/admin/revocations", {"jti": "a", "expires_at": 10**20}, "expires_at"),
        ("/admin/revocations", {"jti": "\ud800"}, "jti"),
        ("/auth/login", {"code": "\ud800"}, "code"),
        ("/admin/keys", {"tenant": "acme", "models": "m"}, "models"),
        ("/auth/login", {}, "code"),
        ("/auth/login", {"code": 5}, "code"),
        ("/auth/login", {"code": "x" * 200}, "code"),
    ],
)
async def test_what_cannot_be_is_a_400_that_names_the_field(
    pair: Pair, path: str, asked: dict[str, Any], param: str | None
) -> None:
    answer = await pair[0].client.post(path, content=json.dumps(asked), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_admin_routes_want_an_admin(pair: Pair) -> None:
    plain = bearer((await new_key(pair[0]))["key"])
    for method, path in (
        ("POST", "/admin/revocations"), ("GET", "/admin/revocations"), ("POST", "/admin/keys"),
        ("POST", "/admin/keys/x/rotate"), ("DELETE", "/admin/keys/x"),
    ):  # fmt: skip
        assert (
            await pair[0].client.request(method, path, json={"jti": "x", "tenant": "x"}, headers=plain)
        ).status_code in (400, 403)
    assert (await pair[0].client.get("/admin/revocations", headers=plain)).status_code == 403


async def test_the_engine_never_sees_a_credential(pair: Pair, engine: EngineProcess) -> None:
    one, _, issuer = pair
    key = (await new_key(one))["key"]
    for credential in (one.key, key, await token_of(one, key), issuer.sign(sub="eve")):
        for streamed in (False, True):
            answer = await one.client.post(PATH, json={**body(), "stream": streamed}, headers=bearer(credential))
            assert answer.status_code == 200
        seen = json.dumps(await engine.asked())
        assert credential not in seen
        assert "authorization" not in seen.lower()
        assert credential not in json.dumps(one.log)


async def test_keys_and_revocations_by_the_command_line(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, _, _ = pair
    (tmp_path / "key").write_text(one.key)

    async def command(*arguments: str, code: int = 0) -> tuple[str, str]:
        flags = ["--base-url", f"{one.base_url}/v1", "--key-file", str(tmp_path / "key")]
        done = await asyncio.to_thread(main, [*arguments, *flags])
        output = capsys.readouterr()
        assert done == code, output.err
        return output.out.strip(), output.err

    key, said = await command("keys", "create", "--tenant", "acme", "--scope", "chat", "--ttl", "600")
    key_id = said.split(",")[0]
    assert await status(one, key) == 200
    listed, _ = await command("keys", "list")
    assert key_id in listed
    assert key not in listed
    rotated, _ = await command("keys", "rotate", key_id)
    assert await status(one, rotated) == 200
    token = await token_of(one, rotated)
    await command("revoke", "--token", token)
    assert await status(one, token) == 401
    assert "jti:built-in:" in (await command("revoke", "--list"))[0]
    assert await command("keys", "revoke", key_id) == (f"revoked {key_id}", "")
    assert "There is no API key" in (await command("keys", "revoke", key_id, code=1))[1]
    assert "--tenant" in (await command("keys", "create", code=1))[1]
