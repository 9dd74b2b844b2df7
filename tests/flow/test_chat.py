"""Chat completions through the whole gateway, in front of a scripted engine."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body, content, payloads, post
from tests.flow.raw_http import RawConnection

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_unary_answer_is_the_engines_with_our_id(gateway: GatewayProcess) -> None:
    response = await post(gateway.client)
    answer = response.json()
    assert response.status_code == 200
    assert answer["choices"][0]["message"]["content"] == "You said: one two three"
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    assert answer["id"] == "chatcmpl-" + response.headers["x-request-id"].removeprefix("req_")


async def test_a_stream_has_the_same_words_and_exactly_one_end(gateway: GatewayProcess) -> None:
    response = await post(gateway.client, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert content(response.text) == "You said: one two three"
    assert payloads(response.text).count("[DONE]") == 1
    assert payloads(response.text)[-1] == "[DONE]"


async def test_usage_is_shown_only_to_clients_that_ask_and_only_at_the_end(gateway: GatewayProcess) -> None:
    silent = payloads((await post(gateway.client, stream=True)).text)
    asked = payloads((await post(gateway.client, stream=True, stream_options={"include_usage": True})).text)
    assert not any('"usage"' in payload for payload in silent)
    assert ['"usage"' in payload for payload in asked] == [False] * (len(asked) - 2) + [True, False]
    assert json.loads(asked[-2])["choices"] == []


async def test_an_alias_is_echoed_and_the_engine_is_asked_for_the_model(
    module_engine: EngineProcess, redis_server: RedisServer
) -> None:
    aliases = {"prompt.model_aliases": '{"gpt-4o-mini": "fake"}'}
    async with GatewayProcess(redis_server.url, [module_engine.replica.base_url], aliases) as gateway:
        await gateway.ready()
        whole = await post(gateway.client, model="gpt-4o-mini")
        streamed = await post(gateway.client, model="gpt-4o-mini", stream=True)
        assert whole.json()["model"] == "gpt-4o-mini"
        assert {json.loads(each)["model"] for each in payloads(streamed.text)[:-1]} == {"gpt-4o-mini"}
        assert [json.loads(each["body"])["model"] for each in (await module_engine.asked())[-2:]] == ["fake", "fake"]
        listed = (await gateway.client.get("/v1/models")).json()["data"]
        assert [card["id"] for card in listed] == ["fake", "gpt-4o-mini"]
        assert (await gateway.client.get("/v1/models/gpt-4o-mini")).json() == listed[1]
        assert listed[0] | {"id": "gpt-4o-mini"} == listed[1]
        line = await gateway.request_line(whole.headers["x-request-id"])
        assert line["model"] == "fake"


async def test_a_tenant_has_its_own_cache_salt(gateway: GatewayProcess, engine: EngineProcess) -> None:
    made = await gateway.client.post("/admin/keys", json={"tenant": "acme", "user": "ada"})
    other = {"authorization": f"Bearer {made.json()['key']}"}
    for headers in ({}, {}, other):
        await gateway.client.post(PATH, json=body(), headers=headers)
    first, second, others = (json.loads(each["body"])["cache_salt"] for each in (await engine.asked())[-3:])
    assert first == second != others
    assert (await post(gateway.client, cache_salt=others)).status_code == 400


async def test_the_engine_is_always_asked_for_usage_and_never_sees_the_credential(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await post(gateway.client, stream=True)
    seen = (await engine.asked())[-1]
    assert json.loads(seen["body"])["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert "authorization" not in {name.lower() for name in seen["headers"]}
    assert gateway.key not in json.dumps(seen)


async def test_every_response_has_our_request_id_and_the_times_whatever_the_client_sends(
    gateway: GatewayProcess,
) -> None:
    ids = set()
    for _ in range(3):
        response = await gateway.client.post(PATH, json=body(), headers={"X-Request-Id": "constant"})
        ids.add(response.headers["x-request-id"])
        assert response.headers["x-client-request-id"] == "constant"
        assert float(response.headers["x-process-time"]) > 0
        assert response.headers["openai-processing-ms"].isdigit()
    assert len(ids) == 3
    assert all(request_id.startswith("req_") for request_id in ids)


async def test_one_log_line_tells_the_whole_request(gateway: GatewayProcess) -> None:
    response = await post(gateway.client, stream=True)
    line = await gateway.request_line(response.headers["x-request-id"])
    expected = {"tenant": "local", "model": "fake", "status": 200, "outcome": "ok", "stream": True, "attempts": 1}
    assert {name: line[name] for name in expected} == expected
    assert line["prompt_tokens"] > 0
    assert line["completion_tokens"] == 5
    assert 0 < line["time_to_first_token_seconds"] <= line["duration_seconds"]
    assert "one two three" not in json.dumps(gateway.log)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"n": 100}, "n"),
        ({"chat_template": "{{ x }}"}, "chat_template"),
        ({"no_such_field": 1}, "no_such_field"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"model": ""}, "model"),
    ],
)
async def test_a_bad_field_is_a_400_that_names_it_and_the_engine_never_sees_it(
    gateway: GatewayProcess, engine: EngineProcess, change: dict[str, object], param: str
) -> None:
    response = await gateway.client.post(PATH, json={**body(), **change})
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert response.headers["x-should-retry"] == "false"
    assert await engine.asked() == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"model": NaN}', b"\xff\xfe", b"[" * 5000])
async def test_a_body_that_is_no_json_object_is_a_400(gateway: GatewayProcess, raw: bytes) -> None:
    response = await gateway.client.post(PATH, content=raw, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_json"


async def test_an_unknown_model_is_a_404_with_openais_code(gateway: GatewayProcess) -> None:
    response = await post(gateway.client, model="gpt-5")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


async def test_no_credential_and_a_wrong_one_are_401_before_the_body_is_read(gateway: GatewayProcess) -> None:
    for header in ({"authorization": ""}, {"authorization": "Bearer gg_wrong"}, {"authorization": "Basic eA=="}):
        response = await gateway.client.post(PATH, content=b"not json at all", headers=header)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
        assert response.headers["x-request-id"].startswith("req_")


async def test_a_body_over_the_cap_is_413_and_one_of_another_type_415(gateway: GatewayProcess) -> None:
    large = await gateway.client.post(PATH, json=body("x" * 11_000_000))
    form = await gateway.client.post(PATH, data={"model": "fake"})
    assert (large.status_code, form.status_code) == (413, 415)
    assert large.json()["error"]["type"] == "invalid_request_error"


async def test_a_chunked_body_over_the_cap_is_413_too(gateway: GatewayProcess) -> None:
    async def pour() -> object:
        for _ in range(200):
            yield b"x" * 65_536

    response = await gateway.client.post(PATH, content=pour(), headers={"content-type": "application/json"})  # type: ignore[arg-type]
    assert response.status_code == 413


async def test_completions_work_as_chat_does(gateway: GatewayProcess) -> None:
    asked = {"model": "fake", "prompt": "one two", "max_tokens": 3}
    whole = await gateway.client.post("/v1/completions", json=asked)
    streamed = await gateway.client.post("/v1/completions", json={**asked, "stream": True})
    assert whole.status_code == 200
    assert whole.json()["id"].startswith("cmpl-")
    assert payloads(streamed.text)[-1] == "[DONE]"


@pytest.mark.parametrize("n", [1, 2])
async def test_several_prompts_are_answered_each_and_charged_together(gateway: GatewayProcess, n: int) -> None:
    asked = {"model": "fake", "prompt": ["one two", "three"], "n": n, "max_tokens": 8}
    texts = [*["You said: one two"] * n, *["You said: three"] * n]
    whole = await gateway.client.post("/v1/completions", json=asked)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = [json.loads(each) for each in payloads((await _completed(gateway, {**asked, **options})).text)[:-1]]
    assert [(each["index"], each["text"]) for each in whole.json()["choices"]] == list(enumerate(texts))
    said = dict.fromkeys(range(2 * n), "")
    for choice in (choice for chunk in streamed for choice in chunk["choices"]):
        said[choice["index"]] += choice["text"]
    assert said == dict(enumerate(texts))
    spent = n * (4 + 3)
    for usage in (whole.json()["usage"], streamed[-1]["usage"]):
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (6 + 5, spent)
    line = await gateway.request_line(whole.headers["x-request-id"])
    assert (line["prompt_tokens"], line["completion_tokens"]) == (11, spent)


async def test_a_stream_of_several_prompts_that_is_cut_is_charged_for_those_begun(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await engine.script("cut_mid_stream", chunks=3)
    cut = await _completed(gateway, {"model": "fake", "prompt": ["one two", "three"], "stream": True})
    assert "[DONE]" not in cut.text
    line = await gateway.request_line(cut.headers["x-request-id"])
    assert (line["prompt_tokens"], line["completion_tokens"]) == (11, 3)


async def test_a_prompt_of_token_ids_is_bounded_by_the_context(gateway: GatewayProcess, engine: EngineProcess) -> None:
    answered = await _completed(gateway, {"model": "fake", "prompt": [2, 5, 7]})
    assert (answered.status_code, answered.json()["usage"]["prompt_tokens"]) == (200, 3)
    assert json.loads((await engine.asked())[-1]["body"])["prompt"] == [2, 5, 7]
    await engine.reset()
    refused = await _completed(gateway, {"model": "fake", "prompt": [2] * 32_768})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert await engine.asked() == []


@pytest.mark.parametrize("prompt", [["a", "b"], [2, 5]])
async def test_only_one_text_at_a_time_is_counted(gateway: GatewayProcess, prompt: object) -> None:
    refused = await gateway.client.post("/v1/tokenize", json={"model": "fake", "prompt": prompt})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "prompt")


async def _completed(gateway: GatewayProcess, asked: dict[str, object]) -> httpx.Response:
    return await gateway.client.post("/v1/completions", json=asked)


async def test_an_engines_refusal_of_a_long_prompt_gets_openais_code(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    message = "This model's maximum context length is 4096 tokens. However, your prompt contains 5000 input tokens."
    error = {"error": {"message": message, "type": "BadRequestError", "param": "input_tokens", "code": 400}}
    await engine.script("error_400", body=error)
    response = await post(gateway.client)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


async def test_a_java_client_that_asks_for_http_2_is_answered_with_http_1(gateway: GatewayProcess) -> None:
    raw = json.dumps(body()).encode()
    head = f"POST {PATH} HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: {len(raw)}\r\n"
    head += f"Host: 127.0.0.1:{gateway.port}\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    head += "Upgrade: h2c\r\nUser-Agent: Java-http-client/17.0.9\r\n"
    head += f"authorization: Bearer {gateway.key}\r\ncontent-type: application/json\r\n\r\n"
    async with RawConnection(gateway.port) as connection:
        for _ in range(2):
            await connection.write(head.encode() + raw)
            answer = await connection.read()
            assert answer is not None
            assert answer.status == 200
            assert json.loads(answer.body)["choices"][0]["message"]["content"]
