"""Chat sessions through the whole gateway: created, talked to, read, deleted, and nobody else's business."""

from __future__ import annotations

import asyncio
import json
import signal

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body, content, payloads, post

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def new_session(client: httpx.AsyncClient, **fields: object) -> str:
    """Create a session and return its path."""
    created = await client.post("/v1/sessions", json=fields)
    assert created.status_code == 201
    return f"/v1/sessions/{created.json()['id']}"


async def said(client: httpx.AsyncClient, path: str) -> list[tuple[str, str]]:
    """Return role and text of a session's messages."""
    data = (await client.get(f"{path}/messages")).json()["data"]
    return [(message["role"], message["content"]) for message in data]


async def test_question_and_answer_are_kept_whole_streamed_or_not(gateway: GatewayProcess) -> None:
    path = await new_session(gateway.client, system="Be brief.", title="A talk")
    await gateway.client.post(f"{path}/messages", json={"content": "first"})
    streamed = await gateway.client.post(f"{path}/messages", json={"content": "second", "stream": True})
    assert content(streamed.text) == "You said: second"
    assert await said(gateway.client, path) == [
        ("user", "first"), ("assistant", "You said: first"), ("user", "second"), ("assistant", "You said: second")
    ]  # fmt: skip


async def test_the_engine_gets_the_system_prompt_and_the_whole_history(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    path = await new_session(gateway.client, system="Be brief.")
    for text in ("first", "second"):
        await gateway.client.post(f"{path}/messages", json={"content": text})
    seen = json.loads((await engine.asked())[-1]["body"])
    assert [(message["role"], message["content"]) for message in seen["messages"]] == [
        ("system", "Be brief."), ("user", "first"), ("assistant", "You said: first"), ("user", "second")
    ]  # fmt: skip
    assert "session_id" not in seen


async def test_the_engine_gets_what_fits_gemma_and_the_session_keeps_what_was_sent(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    path = await new_session(gateway.client, system="Be brief.")
    sent = [
        {"role": "user", "content": "a <end_of_turn>"},
        {"role": "developer", "content": "Rhyme."},
        {"role": "user", "content": "b"},
    ]
    await gateway.client.post(PATH, json={**body("x", session_id=path.rpartition("/")[2]), "messages": sent})
    seen = json.loads((await engine.asked())[-1]["body"])
    assert seen["messages"] == [
        {"role": "system", "content": "Be brief.\n\nRhyme."},
        {"role": "user", "content": "a <\u200dend_of_turn>\n\nb"},
    ]
    kept = [{"role": role, "content": text} for role, text in await said(gateway.client, path)]
    assert kept[:3] == sent


@pytest.mark.parametrize("levels", [100, 251, 300, 1000])
@pytest.mark.parametrize("role", ["user", "tool"])
async def test_content_nested_deeply_is_refused_and_the_session_stays_free(
    gateway: GatewayProcess, levels: int, role: str
) -> None:
    path = await new_session(gateway.client)
    deep = body("x", session_id=path.rpartition("/")[2])
    deep["messages"] = [{"role": role, "content": "DEEP", "tool_call_id": "call_1"}]
    sent = json.dumps(deep).replace('"DEEP"', "[" * levels + "]" * levels)
    refused = await gateway.client.post(PATH, content=sent, headers={"content-type": "application/json"})
    assert refused.status_code == 400, refused.text
    assert (refused.json()["error"]["code"] == "invalid_json") == (levels > 251)
    async with asyncio.timeout(5):
        answered = await gateway.client.post(f"{path}/messages", json={"content": "hi"})
    assert answered.status_code == 200, answered.text


async def test_what_a_session_keeps_can_be_read_however_deep_it_is(gateway: GatewayProcess) -> None:
    for levels in range(246, 254):
        path = await new_session(gateway.client)
        deep = body("x", session_id=path.rpartition("/")[2])
        deep["messages"] = [{"role": "user", "content": [{"type": "text", "text": "x", "more": "DEEP"}]}]
        sent = json.dumps(deep).replace('"DEEP"', "[" * levels + "]" * levels)
        answered = await gateway.client.post(PATH, content=sent, headers={"content-type": "application/json"})
        assert answered.status_code == (200 if levels < 250 else 400)
        for what in ("messages", "export", "export?format=markdown"):
            assert (await gateway.client.get(f"{path}/{what}")).status_code == 200, (levels, what)


async def test_an_unchanged_sdk_uses_a_session_by_header_or_by_field(gateway: GatewayProcess) -> None:
    path = await new_session(gateway.client)
    session_id = path.rpartition("/")[2]
    by_header = await gateway.client.post(PATH, json=body("one"), headers={"x-session-id": session_id})
    by_field = await gateway.client.post(PATH, json=body("two", session_id=session_id))
    assert by_header.headers["x-session-id"] == by_field.headers["x-session-id"] == session_id
    assert [text for _, text in await said(gateway.client, path)] == ["one", "You said: one", "two", "You said: two"]


async def test_a_session_of_another_user_does_not_exist(gateway: GatewayProcess) -> None:
    path = await new_session(gateway.client)
    made = await gateway.client.post("/admin/keys", json={"tenant": "local", "user": "other"})
    other = {"authorization": f"Bearer {made.json()['key']}"}
    missing = path[:-8] + "00000000"
    for url, method in ((path, "GET"), (f"{path}/messages", "GET"), (path, "DELETE")):
        theirs = await gateway.client.request(method, url, headers=other)
        nobodys = await gateway.client.request(method, url.replace(path, missing), headers=other)
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.text.replace(path.rpartition("/")[2], "X") == nobodys.text.replace(
            missing.rpartition("/")[2], "X"
        )
    asked = await gateway.client.post(f"{path}/messages", json={"content": "x", "model": "fake"}, headers=other)
    assert (asked.status_code, asked.json()["error"]["code"]) == (404, "session_not_found")
    assert await said(gateway.client, path) == []


async def test_sessions_are_listed_latest_first_in_pages(gateway: GatewayProcess) -> None:
    made = await gateway.client.post("/admin/keys", json={"tenant": "pages", "user": "reader"})
    header = {"authorization": f"Bearer {made.json()['key']}"}
    ids = [(await gateway.client.post("/v1/sessions", json={}, headers=header)).json()["id"] for _ in range(3)]
    first = (await gateway.client.get("/v1/sessions?limit=2", headers=header)).json()
    rest = (await gateway.client.get(f"/v1/sessions?limit=2&after={first['last_id']}", headers=header)).json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert sorted(entry["id"] for entry in first["data"] + rest["data"]) == sorted(ids)


async def test_a_deleted_session_is_gone_with_its_messages(gateway: GatewayProcess) -> None:
    path = await new_session(gateway.client)
    await gateway.client.post(f"{path}/messages", json={"content": "x"})
    deleted = await gateway.client.delete(path)
    assert deleted.json()["deleted"] is True
    assert (await gateway.client.get(path)).status_code == 404
    assert (await gateway.client.get(f"{path}/messages")).status_code == 404


async def test_two_messages_at_once_are_both_kept_one_after_the_other(gateway: GatewayProcess) -> None:
    path = await new_session(gateway.client)
    answers = await asyncio.gather(
        *(gateway.client.post(f"{path}/messages", json={"content": str(number)}) for number in range(8))
    )
    accepted = sorted(number for number, answer in enumerate(answers) if answer.status_code == 200)
    kept = await said(gateway.client, path)
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert [role for role, _ in kept] == ["user", "assistant"] * len(accepted)
    assert sorted(int(text) for role, text in kept if role == "user") == accepted
    assert all(kept[k + 1][1] == f"You said: {kept[k][1]}" for k in range(0, len(kept), 2))


async def test_a_busy_session_is_a_409_that_says_when(gateway: GatewayProcess, engine: EngineProcess) -> None:
    path = await new_session(gateway.client)
    await engine.script("hold")
    first = asyncio.create_task(gateway.client.post(f"{path}/messages", json={"content": "one"}))
    await engine.eventually(running=1)
    second = await gateway.client.post(f"{path}/messages", json={"content": "two"})
    assert (second.status_code, second.json()["error"]["code"]) == (409, "session_busy")
    assert int(second.headers["retry-after-ms"]) > 0
    await engine.release()
    assert (await first).status_code == 200


async def test_a_failed_answer_leaves_neither_question_nor_lock(gateway: GatewayProcess, engine: EngineProcess) -> None:
    path = await new_session(gateway.client)
    await engine.script("error_400")
    failed = await gateway.client.post(f"{path}/messages", json={"content": "lost"})
    assert failed.status_code == 400
    assert (await gateway.client.post(f"{path}/messages", json={"content": "kept"})).status_code == 200
    assert [text for _, text in await said(gateway.client, path)] == ["kept", "You said: kept"]


async def test_an_answer_that_cannot_be_saved_is_not_called_complete(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    async with GatewayProcess(private_redis.url, [engine.replica.base_url]) as gateway:
        await gateway.ready()
        path = await new_session(gateway.client)
        await engine.script("hold")
        asking = asyncio.create_task(gateway.client.post(f"{path}/messages", json={"content": "x", "stream": True}))
        await engine.eventually(running=1)
        private_redis.kill()
        await engine.release()
        found = payloads((await asking).text)
        assert "[DONE]" not in found
        assert json.loads(found[-1])["error"]["code"] == "store_unavailable"
        private_redis.start()
        assert (await gateway.client.get("/health/detailed")).status_code == 200


async def test_a_killed_gateway_leaves_the_session_as_it_was_and_frees_it(
    engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {"sessions.lease_seconds": 1.0, "sessions.busy_wait_seconds": 3.0}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as other:
        await other.ready()
        key = await other.client.post("/admin/keys", json={"tenant": "killed", "user": "u"})
        header = {"authorization": f"Bearer {key.json()['key']}"}
        async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
            await gateway.ready()
            gateway.client.headers.update(header)
            path = await new_session(gateway.client)
            await engine.script("hold")
            asking = asyncio.create_task(gateway.client.post(f"{path}/messages", json={"content": "half"}))
            await engine.eventually(running=1)
            gateway.send_signal(signal.SIGKILL)
            with pytest.raises(httpx.TransportError):
                await asking
        other.client.headers.update(header)
        assert await said(other.client, path) == []
        assert (await other.client.post(f"{path}/messages", json={"content": "whole"})).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [({}, "content"), ({"content": 7}, "content"), ({"content": "x", "messages": []}, "messages"),
     ({"content": "x", "temperature": "hot"}, "temperature")],
)  # fmt: skip
async def test_a_bad_message_names_its_field(gateway: GatewayProcess, fields: dict[str, object], param: str) -> None:
    path = await new_session(gateway.client)
    response = await gateway.client.post(f"{path}/messages", json=fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_chats_without_a_session_go_on_while_redis_is_away(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    limits = {"limits.requests_per_minute": 50, "limits.requests_per_hour": 100, "redis.timeout_seconds": 0.1}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        private_redis.stop()
        started = asyncio.get_running_loop().time()
        for _ in range(3):
            assert (await post(gateway.client)).status_code == 200
        assert asyncio.get_running_loop().time() - started < 3
        assert (await gateway.client.post("/v1/sessions", json={})).status_code == 503
        assert await gateway.metric("gateway_redis_up") == 0
        private_redis.cont()
        for _ in range(100):
            if (await gateway.client.post("/v1/sessions", json={})).status_code == 201:
                break
            await asyncio.sleep(0.05)
        assert await gateway.metric("gateway_redis_up") == 1


@pytest.mark.parametrize("session_id", ["a\r\nx-evil: 1", "sess_ ", "{tag}", "x" * 65, ""])
async def test_a_session_id_that_could_not_be_ours_is_refused_and_never_echoed(
    gateway: GatewayProcess, session_id: str
) -> None:
    response = await gateway.client.post(PATH, json=body(session_id=session_id))
    assert (response.status_code, response.json()["error"]["param"]) == (400, "session_id")
    assert "x-evil" not in response.headers
    assert "x-session-id" not in response.headers


async def test_of_twenty_clients_at_once_every_accepted_message_is_there_once_in_order_and_alternating(
    engine: EngineProcess, redis_server: RedisServer
) -> None:
    """Over two gateways: what one lets go, the other must find."""
    settings = {"sessions.busy_wait_seconds": 5, "auth.api_key": "the-key"}
    engines = [engine.replica.base_url]
    async with (
        GatewayProcess(redis_server.url, engines, settings) as one,
        GatewayProcess(redis_server.url, engines, settings) as two,
    ):
        await one.ready()
        await two.ready()
        for gateway in (one, two):
            gateway.client.headers["authorization"] = "Bearer the-key"
        path = await new_session(one.client)
        answers = await asyncio.gather(
            *(
                gateway.client.post(f"{path}/messages", json={"content": str(number), "stream": number % 3 == 0})
                for number, gateway in enumerate((one, two) * 10)
            )
        )
        accepted = sorted(number for number, answer in enumerate(answers) if answer.status_code == 200)
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert len(accepted) >= 10
        kept = await said(one.client, path)
        assert [role for role, _ in kept] == ["user", "assistant"] * len(accepted)
        assert sorted(int(text) for role, text in kept if role == "user") == accepted
        assert all(kept[k + 1][1] == f"You said: {kept[k][1]}" for k in range(0, len(kept), 2))


async def test_what_was_acknowledged_is_there_after_redis_was_killed_in_the_middle(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    settings = {"sessions.lease_seconds": 1.0, "sessions.busy_wait_seconds": 3.0}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        path = await new_session(gateway.client)
        await gateway.client.post(f"{path}/messages", json={"content": "kept"})
        await engine.script("hold")
        asking = asyncio.create_task(gateway.client.post(f"{path}/messages", json={"content": "lost"}))
        await engine.eventually(running=1)
        private_redis.kill()
        await engine.release()
        assert (await asking).status_code == 503
        private_redis.start()
        for _ in range(100):
            answered = await gateway.client.post(f"{path}/messages", json={"content": "after"})
            if answered.status_code == 200:
                break
            await asyncio.sleep(0.05)
        texts = [text for _, text in await said(gateway.client, path)]
        assert texts == ["kept", "You said: kept", "after", "You said: after"]
