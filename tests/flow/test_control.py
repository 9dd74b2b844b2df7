"""Everything beside the chat routes: health, metrics, docs, models, keys, tokens, CORS and trusted hosts."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body, post

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = {
    "/", "/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/models/{model}", "/health", "/health/live",
    "/health/ready", "/health/detailed", "/metrics", "/v1/sessions", "/v1/sessions/{session_id}",
    "/v1/audio/transcriptions", "/v1/audio/translations", "/v1/responses", "/v1/responses/input_tokens",
    "/v1/responses/{response_id}", "/v1/responses/{response_id}/cancel", "/v1/responses/{response_id}/input_items",
    "/admin/fleet", "/admin/fleet/drain", "/admin/fleet/undrain", "/admin/drain",
    "/v1/sessions/{session_id}/messages", "/v1/sessions/{session_id}/fork", "/v1/sessions/{session_id}/export",
    "/v1/sessions/{session_id}/regenerate", "/chat/sessions", "/chat/sessions/{session_id}",
    "/chat/sessions/{session_id}/messages", "/chat/sessions/{session_id}/stream",
    "/chat/sessions/{session_id}/history", "/admin/keys", "/admin/keys/{key_id}", "/admin/keys/{key_id}/rotate",
    "/admin/revocations", "/auth/token", "/auth/login-codes", "/auth/login", "/v1/tokenize", "/v1/usage",
    "/admin/usage", "/admin/console",
}  # fmt: skip


async def test_the_index_names_the_project_its_version_and_its_docs(gateway: GatewayProcess) -> None:
    index = (await gateway.client.get("/", headers={"authorization": ""})).json()
    assert index["name"] == "gemma-gateway"
    assert re.fullmatch(r"\d+\.\d+\.\d+", index["version"])
    assert (await gateway.client.get(index["docs"])).status_code == 200


async def test_openapi_lists_every_route(gateway: GatewayProcess) -> None:
    document = (await gateway.client.get("/openapi.json")).json()
    assert set(document["paths"]) == ROUTES
    assert "post" in document["paths"]["/v1/sessions/{session_id}/messages"]
    assert "get" in document["paths"]["/v1/sessions/{session_id}/messages"]


async def test_the_docs_load_nothing_from_elsewhere(gateway: GatewayProcess) -> None:
    for page in ("/docs", "/redoc"):
        html = (await gateway.client.get(page)).text
        assets = re.findall(r'(?:src|href)="([^"]+)"', html)
        assert assets
        assert [asset for asset in assets if not asset.startswith("/static/")] == []
        for asset in assets:
            assert (await gateway.client.get(asset)).status_code == 200


async def test_models_are_listed_without_paths(gateway: GatewayProcess) -> None:
    listed = (await gateway.client.get("/v1/models")).json()
    one = (await gateway.client.get("/v1/models/fake")).json()
    assert listed["data"] == [one]
    assert set(one) == {"id", "object", "created", "owned_by", "modalities", "max_model_len"}
    missing = await gateway.client.get("/v1/models/none")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_detailed_health_tells_of_engine_redis_versions_and_machine(gateway: GatewayProcess) -> None:
    detailed = (await gateway.client.get("/health/detailed")).json()
    assert detailed["status"] == "ok"
    assert detailed["engines"][0]["state"] == "ready"
    assert detailed["redis"]["status"] == "ok"
    assert detailed["memory"]["process_bytes"] > 1_000_000
    assert detailed["cpu"]["count"] >= 1
    assert {"gpus", "versions"} <= set(detailed)


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
@pytest.mark.parametrize(
    "path",
    ["/", "/console", "/v1/models", "/v1/models/fake", "/v1/models/none", "/health", "/health/live", "/health/ready"],
)
async def test_head_is_answered_as_get_without_its_body(gateway: GatewayProcess, path: str, accept: str) -> None:
    got, head = [await gateway.client.request(method, path, headers={"accept": accept}) for method in ("GET", "HEAD")]
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_head_is_answered_where_the_body_is_never_twice_the_same(gateway: GatewayProcess) -> None:
    head = await gateway.client.head("/health/detailed")
    assert (head.status_code, head.content) == (200, b"")


async def test_unknown_routes_and_methods_have_the_error_shape(gateway: GatewayProcess) -> None:
    missing = await gateway.client.get("/v1/nothing")
    method = await gateway.client.get(PATH)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (method.status_code, method.json()["error"]["code"]) == (405, "method_not_allowed")
    assert method.headers["allow"] == "POST"


async def test_metrics_count_requests_and_tokens(gateway: GatewayProcess) -> None:
    sample = (
        'gateway_requests_total{model="fake",outcome="ok",route="/v1/chat/completions",status="2xx",tenant="local"}'
    )
    tokens = 'gateway_tokens_total{kind="completion",model="fake",tenant="local"}'
    before = await gateway.metric(sample), await gateway.metric(tokens)
    await post(gateway.client)
    after = await gateway.metric(sample), await gateway.metric(tokens)
    assert (after[0] - before[0], after[1] - before[1]) == (1, 5)


async def test_a_made_up_model_or_path_makes_no_new_label(gateway: GatewayProcess) -> None:
    await post(gateway.client, model="made-up-model")
    await gateway.client.get("/made-up-path")
    text = (await gateway.client.get("/metrics")).text
    assert "made-up" not in text


async def test_a_created_key_works_until_it_is_revoked(gateway: GatewayProcess) -> None:
    made = await gateway.client.post("/admin/keys", json={"tenant": "acme", "user": "ann"})
    assert made.status_code == 201
    header = {"authorization": f"Bearer {made.json()['key']}"}
    first = await gateway.client.post(PATH, json=body(), headers=header)
    line = await gateway.request_line(first.headers["x-request-id"])
    assert (first.status_code, line["tenant"], line["user"]) == (200, "acme", "ann")
    assert (await gateway.client.get("/admin/keys", headers=header)).status_code == 403
    listed = (await gateway.client.get("/admin/keys")).json()
    assert made.json()["key"] not in json.dumps(listed)
    assert (await gateway.client.delete(f"/admin/keys/{made.json()['id']}")).status_code == 200
    await _until_refused(gateway, header)


async def _until_refused(gateway: GatewayProcess, header: dict[str, str]) -> None:
    for _ in range(40):
        if (await gateway.client.get("/v1/models", headers=header)).status_code == 401:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a revoked key still works after two seconds")


async def test_a_key_for_nobody_names_the_field(gateway: GatewayProcess) -> None:
    response = await gateway.client.post("/admin/keys", json={"tenant": "a{b", "user": "x"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "tenant")


async def test_cors_answers_preflights_and_lets_browsers_read_errors(
    engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {"server.cors_origins": "https://app.example", "server.trusted_hosts": "api.example,127.0.0.1"}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        origin = {"origin": "https://app.example"}
        asked = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        preflight = await gateway.client.options(PATH, headers={**asked, "authorization": ""})
        assert preflight.status_code == 200
        refused = await gateway.client.post(PATH, json=body(), headers={**origin, "authorization": "Bearer x"})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://app.example"
        key = {**origin, "idempotency-key": "cors"}
        first, again = [await gateway.client.post(PATH, json=body(), headers=key) for _ in range(2)]
        exposed = first.headers["access-control-expose-headers"].split(", ")
        assert [name for name in again.headers if name not in first.headers] == ["idempotent-replayed"]
        assert {"idempotent-replayed", "x-request-id", "retry-after-ms"} <= set(exposed)
        other = await gateway.client.get("/v1/models", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        foreign = await gateway.client.get("/v1/models", headers={"host": "evil.example"})
        probe = await gateway.client.get("/health", headers={"host": "10.1.2.3"})
        assert (foreign.status_code, foreign.json()["error"]["code"], probe.status_code) == (400, "bad_host", 200)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/images/generations", "/v1/moderations", "/v1/conversations"])
async def test_what_the_model_cannot_do_is_a_404_that_helps(gateway: GatewayProcess, path: str) -> None:
    response = await gateway.client.post(path, json={"model": "fake", "input": "x"})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert "not offered" in response.json()["error"]["message"]


async def test_tokens_are_counted_without_generating(gateway: GatewayProcess, engine: EngineProcess) -> None:
    for asked in (body("one two three"), {"model": "fake", "prompt": "one two three"}):
        response = await gateway.client.post("/v1/tokenize", json=asked)
        assert response.status_code == 200
        assert response.json()["prompt_tokens"] > 0
        assert response.json()["max_model_len"] == 32768
    assert {request["path"] for request in await engine.asked()} == {"/tokenize"}
    for wrong, param in (({"model": "fake", "messages": []}, "messages"), ({"model": "none", "prompt": "x"}, "model")):
        refused = await gateway.client.post("/v1/tokenize", json=wrong)
        assert refused.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("images", "audios", "expected"),
    [(0, 0, ["text"]), (1, 0, ["text", "image"]), (2, 1, ["text", "image", "audio"])],
)
async def test_a_model_says_what_a_message_may_hold(
    engine: EngineProcess, redis_server: RedisServer, images: int, audios: int, expected: list[str]
) -> None:
    settings = {"engine.max_images": images, "engine.max_audios": audios}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        [card] = (await gateway.client.get("/v1/models")).json()["data"]
        assert card["modalities"] == expected


async def test_a_model_says_no_more_than_its_engines_take(engine: EngineProcess, redis_server: RedisServer) -> None:
    settings = {"engine.max_images": 1, "engine.max_audios": 1}
    await engine.show(takes=["image"])
    try:
        async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
            await gateway.ready()
            [card] = (await gateway.client.get("/v1/models")).json()["data"]
            assert card["modalities"] == ["text", "image"]
            [listed] = (await gateway.client.get("/admin/fleet")).json()["data"]
            assert listed["media"] == ["image"]
    finally:
        await engine.show(takes=["image", "audio"])


async def test_nothing_is_loading_while_an_engine_is_ready_or_where_no_supervisor_is_known(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    assert (await gateway.client.get("/health/detailed")).json()["loading"] is None
    await engine.show(health=503)
    for _ in range(100):
        loading = (await gateway.client.get("/health/detailed")).json()["loading"]
        if loading is not None:
            break
        await asyncio.sleep(0.05)
    assert loading == {"stage": None, "seconds": None}
    await engine.show(health=200)
    await gateway.ready()


async def test_a_key_that_is_not_there_is_not_revoked_either(gateway: GatewayProcess) -> None:
    before = (await gateway.client.get("/admin/revocations")).json()["data"]
    refused = await gateway.client.delete("/admin/keys/key_none")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")
    assert (await gateway.client.get("/admin/revocations")).json()["data"] == before
