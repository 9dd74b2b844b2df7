"""The routes of a session besides its talk: changed, paged, cut back, forked, answered anew, exported."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
import redis

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body, content, payloads
from tests.flow.test_sessions import new_session, said

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def talk(client: httpx.AsyncClient, path: str, *texts: str) -> list[dict[str, Any]]:
    """Say these and return the session's messages."""
    for text in texts:
        answered = await client.post(f"{path}/messages", json={"content": text})
        assert answered.status_code == 200, answered.text
    data: list[dict[str, Any]] = (await client.get(f"{path}/messages")).json()["data"]
    return data


async def reader_of(gateway: GatewayProcess, tenant: str, user: str = "reader") -> dict[str, str]:
    """Return the headers of another user."""
    made = await gateway.client.post("/admin/keys", json={"tenant": tenant, "user": user})
    return {"authorization": f"Bearer {made.json()['key']}"}


async def test_a_session_is_changed_in_part(gateway: GatewayProcess, engine: EngineProcess) -> None:
    path = await new_session(gateway.client, system="Be brief.", metadata={"project": "x"}, ttl_seconds=100)
    changed = await gateway.client.patch(path, json={"title": "New", "metadata": {"a": "b"}, "system": "Be long."})
    now = (await gateway.client.get(path)).json()
    assert changed.json() == now
    assert (now["title"], now["metadata"], now["system"], now["ttl_seconds"]) == ("New", {"a": "b"}, "Be long.", 100)
    await talk(gateway.client, path, "hi")
    seen = json.loads((await engine.asked())[-1]["body"])
    assert seen["messages"][0] == {"role": "system", "content": "Be long."}


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"metadata": {"a": 1}}, "metadata.a"), ({"metadata": {"k" * 65: "v"}}, None), ({"title": "x" * 201}, "title"),
     ({"metadata": {str(n): "v" for n in range(17)}}, "metadata"), ({"ttl_seconds": 0}, "ttl_seconds"),
     ({"user": "eve"}, "user")],
)  # fmt: skip
async def test_a_bad_change_names_its_field(
    gateway: GatewayProcess, fields: dict[str, object], param: str | None
) -> None:
    path = await new_session(gateway.client)
    for response in (
        await gateway.client.patch(path, json=fields),
        await gateway.client.post("/v1/sessions", json=fields),
    ):
        assert response.status_code == 400
        assert param is None or response.json()["error"]["param"] == param


async def test_sessions_are_listed_newest_first_also_when_an_old_one_is_used(gateway: GatewayProcess) -> None:
    header = await reader_of(gateway, "newest")
    ids = [(await gateway.client.post("/v1/sessions", json={}, headers=header)).json()["id"] for _ in range(3)]
    await gateway.client.post(f"/v1/sessions/{ids[0]}/messages", json={"content": "x"}, headers=header)
    listed = (await gateway.client.get("/v1/sessions", headers=header)).json()
    assert [entry["id"] for entry in listed["data"]] == ids[::-1]


async def test_messages_are_paged_in_either_order(gateway: GatewayProcess) -> None:
    path = await new_session(gateway.client)
    ids = [message["id"] for message in await talk(gateway.client, path, "a", "b", "c")]
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        found: list[str] = []
        more, after = True, ""
        while more:
            page = (await gateway.client.get(f"{path}/messages?limit=4&order={order}{after}")).json()
            found += [message["id"] for message in page["data"]]
            more, after = page["has_more"], f"&after={page['last_id']}"
        assert found == expected
    unknown = await gateway.client.get(f"{path}/messages?after=msg_none")
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "after")


async def test_messages_are_deleted_from_one_on_or_all(gateway: GatewayProcess, engine: EngineProcess) -> None:
    path = await new_session(gateway.client)
    kept = await talk(gateway.client, path, "a", "b")
    cut = await gateway.client.delete(f"{path}/messages?from={kept[2]['id']}")
    assert cut.json()["deleted"] == 2
    assert await said(gateway.client, path) == [("user", "a"), ("assistant", "You said: a")]
    await talk(gateway.client, path, "c")
    seen = json.loads((await engine.asked())[-1]["body"])
    assert [message["content"] for message in seen["messages"]] == ["a", "You said: a", "c"]
    await gateway.client.delete(f"{path}/messages")
    assert await said(gateway.client, path) == []
    assert (await gateway.client.get(path)).json()["message_count"] == 0


async def test_a_fork_goes_its_own_way(gateway: GatewayProcess) -> None:
    path = await new_session(gateway.client, system="Be brief.", title="One", metadata={"a": "b"})
    kept = await talk(gateway.client, path, "a", "b")
    forked = await gateway.client.post(f"{path}/fork", json={"from": kept[1]["id"], "title": "Two"})
    assert forked.status_code == 201
    fork = forked.json()
    assert (fork["system"], fork["title"], fork["metadata"], fork["message_count"]) == (
        "Be brief.",
        "Two",
        {"a": "b"},
        2,
    )
    assert (await talk(gateway.client, f"/v1/sessions/{fork['id']}", "c"))[:2] == kept[:2]
    assert (await gateway.client.get(f"{path}/messages")).json()["data"] == kept
    whole = (await gateway.client.post(f"{path}/fork")).json()
    assert (await gateway.client.get(f"/v1/sessions/{whole['id']}/messages")).json()["data"] == kept
    unknown = await gateway.client.post(f"{path}/fork", json={"from": "msg_none"})
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "from")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_last_question_is_answered_anew(gateway: GatewayProcess, engine: EngineProcess, stream: bool) -> None:
    path = await new_session(gateway.client)
    before = await talk(gateway.client, path, "a", "b")
    await engine.script("say", text="Something else")
    again = await gateway.client.post(f"{path}/regenerate", json={"stream": stream})
    text = content(again.text) if stream else again.json()["choices"][0]["message"]["content"]
    assert text == "Something else"
    seen = json.loads((await engine.asked())[-1]["body"])
    assert [message["content"] for message in seen["messages"]] == ["a", "You said: a", "b"]
    after = (await gateway.client.get(f"{path}/messages")).json()["data"]
    assert after[:3] == before[:3]
    assert [message["content"] for message in after[3:]] == ["Something else"]


async def test_an_answer_that_fails_to_come_anew_leaves_the_old_one(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    path = await new_session(gateway.client)
    before = await talk(gateway.client, path, "a")
    await engine.script("error_400")
    assert (await gateway.client.post(f"{path}/regenerate")).status_code == 400
    assert (await gateway.client.get(f"{path}/messages")).json()["data"] == before
    empty = await gateway.client.post(f"{await new_session(gateway.client)}/regenerate", json={})
    assert (empty.status_code, empty.json()["error"]["code"]) == (400, "nothing_to_regenerate")
    given = await gateway.client.post(f"{path}/regenerate", json={"content": "x"})
    assert (given.status_code, given.json()["error"]["param"]) == (400, "content")


async def test_a_session_is_exported_as_json_and_to_read(gateway: GatewayProcess) -> None:
    path = await new_session(gateway.client, system="Be brief.", title="A talk")
    kept = await talk(gateway.client, path, "hello")
    exported = (await gateway.client.get(f"{path}/export")).json()
    assert (exported["object"], exported["title"], exported["messages"]) == ("session.export", "A talk", kept)
    text = await gateway.client.get(f"{path}/export?format=markdown")
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert text.text.startswith("# A talk\n\n*")
    assert "## System\n\nBe brief.\n\n## User\n\nhello\n\n## Assistant\n\nYou said: hello\n" in text.text
    assert (await gateway.client.get(f"{path}/export?format=pdf")).status_code == 400


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_may_make_its_session(gateway: GatewayProcess, stream: bool) -> None:
    first = await gateway.client.post(PATH, json=body("one", stream=stream), headers={"x-session-id": "new"})
    session_id = first.headers["x-session-id"]
    assert session_id.startswith("sess_")
    await gateway.client.post(PATH, json=body("two"), headers={"x-session-id": session_id})
    texts = [text for _, text in await said(gateway.client, f"/v1/sessions/{session_id}")]
    assert texts == ["one", "You said: one", "two", "You said: two"]


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_and_their_results_are_kept_and_recalled(
    gateway: GatewayProcess, engine: EngineProcess, stream: bool
) -> None:
    path = await new_session(gateway.client, system="Be brief.")
    tools = [{"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}]
    call = '{"tool_calls":[{"name":"get_time","arguments":{"zone":"CET"}}]}'
    await engine.script("say", text=call)
    asked = {"content": "What time is it?", "tools": tools, "stream": stream}
    assert (await gateway.client.post(f"{path}/messages", json=asked)).status_code == 200
    kept = (await gateway.client.get(f"{path}/messages")).json()["data"]
    assert (kept[1]["content"], kept[1]["finish_reason"]) == (None, "tool_calls")
    (made,) = kept[1]["tool_calls"]
    assert made["function"] == {"name": "get_time", "arguments": '{"zone":"CET"}'}
    result = {"role": "tool", "tool_call_id": made["id"], "content": "noon"}
    answered = await gateway.client.post(
        PATH, json={**body(tools=tools), "messages": [result]}, headers={"x-session-id": path.rpartition("/")[2]}
    )
    assert answered.status_code == 200, answered.text
    seen = json.loads((await engine.asked())[-1]["body"])["messages"]
    assert [message["role"] for message in seen] == ["system", "user", "assistant", "user"]
    assert seen[0]["content"].startswith("Be brief.\n\nYou can call these tools.")
    assert seen[2]["content"] == call
    assert seen[3]["content"] == '{"tool_result":{"call":1,"name":"get_time","content":"noon"}}'
    kept = (await gateway.client.get(f"{path}/messages")).json()["data"]
    assert (kept[2]["role"], kept[2]["tool_call_id"], kept[2]["content"]) == ("tool", made["id"], "noon")


async def test_a_result_of_no_call_of_the_session_names_its_place(gateway: GatewayProcess) -> None:
    path = await new_session(gateway.client)
    await talk(gateway.client, path, "a")
    result = {"role": "tool", "tool_call_id": "call_x", "content": "noon"}
    refused = await gateway.client.post(
        PATH, json={**body(), "messages": [result]}, headers={"x-session-id": path.rpartition("/")[2]}
    )
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages[0].tool_call_id")
    await talk(gateway.client, path, "b")


async def test_everything_about_another_users_session_is_the_same_404_as_for_none(gateway: GatewayProcess) -> None:
    path = await new_session(gateway.client)
    kept = await talk(gateway.client, path, "a")
    others = [await reader_of(gateway, "local", "other"), await reader_of(gateway, "elsewhere", "local")]
    missing = "/v1/sessions/sess_" + "0" * 32
    attempts: list[tuple[str, str, dict[str, object] | None]] = [
        ("GET", "", None), ("PATCH", "", {"title": "x"}), ("DELETE", "", None), ("GET", "/messages", None),
        ("DELETE", "/messages", None), ("POST", "/messages", {"content": "x", "model": "fake"}),
        ("POST", "/fork", {}), ("POST", "/regenerate", {"model": "fake"}), ("GET", "/export", None),
    ]  # fmt: skip
    for other in others:
        for method, rest, sent in attempts:
            theirs = await gateway.client.request(method, path + rest, json=sent, headers=other)
            nobodys = await gateway.client.request(method, missing + rest, json=sent, headers=other)
            assert theirs.status_code == nobodys.status_code == 404, (method, rest)
            assert theirs.text == nobodys.text.replace(missing[-37:], path[-37:])
    assert (await gateway.client.get(f"{path}/messages")).json()["data"] == kept


async def test_an_answer_that_breaks_off_is_kept_as_far_as_it_went(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    path = await new_session(gateway.client)
    await engine.script("cut_mid_stream", chunks=3)
    broken = await gateway.client.post(f"{path}/messages", json={"content": "one two", "stream": True})
    assert "[DONE]" not in payloads(broken.text)
    kept = (await gateway.client.get(f"{path}/messages")).json()["data"]
    assert [message["role"] for message in kept] == ["user", "assistant"]
    assert kept[1]["finish_reason"] == "error"
    assert kept[1]["content"] == content("\n".join(broken.text.splitlines()[:-2]))
    await talk(gateway.client, path, "and now?")


async def test_an_answer_whose_client_leaves_is_kept_as_far_as_it_went(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    path = await new_session(gateway.client)
    await engine.script("hold")
    asked = {"content": "one two three", "stream": True}
    async with gateway.client.stream("POST", f"{path}/messages", json=asked) as response:
        await anext(response.aiter_raw())
    await engine.eventually(running=0)
    for _ in range(100):
        if kept := (await gateway.client.get(f"{path}/messages")).json()["data"]:
            break
    assert (kept[0]["content"], kept[1]["finish_reason"]) == ("one two three", "cancelled")
    assert "You said: one two three".startswith(kept[1]["content"])


async def test_with_the_policy_off_a_broken_answer_leaves_nothing(
    engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {"sessions.keep_partial": "false"}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        path = await new_session(gateway.client)
        await engine.script("cut_mid_stream", chunks=3)
        await gateway.client.post(f"{path}/messages", json={"content": "one two", "stream": True})
        assert [text for _, text in await said(gateway.client, path)] == []
        await talk(gateway.client, path, "and now?")


async def test_what_users_say_is_not_in_redis_where_it_is_encrypted(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    old, new = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
    with redis.Redis(unix_socket_path=private_redis.socket_path) as direct:
        path = ""
        for keys in (old, f"{new},{old}"):
            settings = {"sessions.encryption_keys": keys, "auth.api_key": "the-key"}
            async with GatewayProcess(private_redis.url, [engine.replica.base_url], settings) as gateway:
                await gateway.ready()
                path = path or await new_session(
                    gateway.client, system="plainly", title="plainly", metadata={"a": "plainly"}
                )
                await talk(gateway.client, path, "plainly said")
                exported = (await gateway.client.get(f"{path}/export")).json()
                assert exported["system"] == exported["title"] == exported["metadata"]["a"] == "plainly"
        assert [message["content"] for message in exported["messages"]] == [
            "plainly said",
            "You said: plainly said",
        ] * 2
        assert direct.keys("*:messages")
        for key in direct.keys("*"):
            kind = direct.type(key)
            values = direct.hvals(key) if kind == b"hash" else direct.lrange(key, 0, -1) if kind == b"list" else []
            assert not any(b"plainly" in value for value in values)
