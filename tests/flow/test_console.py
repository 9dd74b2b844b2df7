"""`/admin/console`: what it says after requests of every kind, and what it never says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.flow.chat import post

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def console(gateway: GatewayProcess) -> dict[str, Any]:
    """Return what it says now."""
    answer = await gateway.client.get("/admin/console")
    assert answer.status_code == 200
    said: dict[str, Any] = answer.json()
    return said


async def test_it_is_for_admins(gateway: GatewayProcess) -> None:
    made = await gateway.client.post("/admin/keys", json={"tenant": "acme", "user": "ada", "scopes": []})
    header = {"authorization": f"Bearer {made.json()['key']}"}
    assert (await gateway.client.get("/admin/console", headers=header)).status_code == 403
    assert (await gateway.client.get("/admin/console", headers={"authorization": ""})).status_code == 401


async def test_it_counts_answers_by_how_they_ended(gateway: GatewayProcess, engine: EngineProcess) -> None:
    before = await console(gateway)
    await post(gateway.client, stream=True)
    await post(gateway.client, temperature=9)
    await engine.script("cut_mid_stream", chunks=3)
    cut = await post(gateway.client, stream=True)
    await gateway.request_line(cut.headers["x-request-id"])
    after = await console(gateway)

    def grown(group: str, name: str) -> int:
        return int(after[group].get(name, 0) - before[group].get(name, 0))

    assert {name: grown("requests", name) for name in ("ok", "refused", "upstream_failed")} == {
        "ok": 1,
        "refused": 1,
        "upstream_failed": 1,
    }
    assert grown("tokens", "completion") >= 4
    assert after["first_token_seconds"]["counts"][-1] >= 2
    assert after["inter_token_seconds"]["counts"][-1] >= 1
    assert len(after["inter_token_seconds"]["counts"]) == len(after["inter_token_seconds"]["bounds"]) + 1


async def test_its_own_questions_are_not_among_the_requests(gateway: GatewayProcess) -> None:
    before = (await console(gateway))["requests"]
    for _ in range(3):
        await gateway.client.get("/v1/models")
    assert (await console(gateway))["requests"] == before


async def test_engines_have_their_load(gateway: GatewayProcess, engine: EngineProcess) -> None:
    await engine.show(waiting=3, kv=0.5)
    for _ in range(100):
        [shown] = (await console(gateway))["engines"]
        if shown["waiting"] == 3:
            break
        await asyncio.sleep(0.1)
    assert (shown["name"], shown["state"], shown["waiting"], shown["kv_cache_use"]) == (
        engine.replica.base_url.removeprefix("http://"),
        "ready",
        3,
        0.5,
    )
    assert {"running", "prefix_queries", "prefix_hits", "generated_tokens", "last_error"} <= set(shown)


async def test_tenants_have_their_tokens_and_limits(gateway: GatewayProcess) -> None:
    await gateway.request_line((await post(gateway.client)).headers["x-request-id"])
    [tenant] = [each for each in (await console(gateway))["tenants"] if each["tenant"] == "local"]
    assert tenant["tokens"] > 0
    assert tenant["requests"] > 0
    assert (tenant["tier"], tenant["suspended"]) == ("default", False)
    assert set(tenant["limits"]) == {"user", "tenant"}


async def test_errors_come_by_code_and_never_with_what_was_said(gateway: GatewayProcess, engine: EngineProcess) -> None:
    refused = await post(gateway.client, "a secret plan", **{"a secret field": 1})
    await engine.script("error_400", status=500)
    broken = await post(gateway.client, "a secret plan")
    # A request is settled after its last byte.
    await gateway.request_line(broken.headers["x-request-id"])
    said = await console(gateway)
    # A stream that another test left may be settled in between.
    errors = {each["request_id"]: each for each in said["errors"]}
    failed, mistaken = (errors[answer.headers["x-request-id"]] for answer in (broken, refused))
    assert (mistaken["status"], mistaken["outcome"], mistaken["tenant"]) == (400, "refused", "local")
    assert (failed["status"], failed["code"], failed["outcome"]) == (502, "engine_error", "upstream_failed")
    assert failed["replica"] == said["engines"][0]["name"]
    assert "secret" not in str(said)


async def test_who_has_no_credential_fills_nothing(gateway: GatewayProcess) -> None:
    before = (await console(gateway))["errors"]
    await gateway.client.get("/v1/models", headers={"authorization": "Bearer gg_wrong"})
    assert (await console(gateway))["errors"] == before
