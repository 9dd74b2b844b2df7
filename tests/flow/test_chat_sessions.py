"""The aliases under `/chat/sessions`, as a small chatbot's client uses them."""

from __future__ import annotations

import json
from datetime import datetime

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_test_script_of_a_chatbot_runs_and_the_whole_streamed_answer_is_saved(
    gateway: GatewayProcess,
) -> None:
    """A client makes a session, talks, streams, reads the history, and deletes: with an Authorization header added."""
    headers = {"Authorization": f"Bearer {gateway.key}"}
    async with httpx.AsyncClient(base_url=gateway.base_url, headers=headers, trust_env=False) as client:
        created = await client.post("/chat/sessions", json={"system_prompt": "You are a helpful assistant."})
        assert created.status_code == 200
        session_id = created.json()["session_id"]
        datetime.fromisoformat(created.json()["created_at"])

        answered = await client.post(f"/chat/sessions/{session_id}/messages", json={"content": "What is FastAPI?"})
        assert answered.status_code == 200
        data = answered.json()
        assert data["session_id"] == session_id
        assert data["message"]["role"] == "assistant"
        assert data["message"]["content"] == "You said: What is FastAPI?"
        assert data["finish_reason"] == "stop"
        assert data["usage"]["total_tokens"] == data["usage"]["prompt_tokens"] + data["usage"]["completion_tokens"]
        datetime.fromisoformat(data["message"]["timestamp"])

        parts, reasons = [], []
        url, asked = f"/chat/sessions/{session_id}/stream", {"content": "Tell me a short story."}
        async with client.stream("POST", url, json=asked) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            async for line in response.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                event = json.loads(line.removeprefix("data: "))
                assert set(event) == {"content", "finish_reason"}
                parts.append(event["content"])
                reasons.append(event["finish_reason"])
        assert (reasons[-1], set(reasons[:-1])) == ("stop", {None})

        history = (await client.get(f"/chat/sessions/{session_id}/history?limit=10")).json()
        assert history["session_id"] == session_id
        assert [message["content"] for message in history["messages"]] == [
            "What is FastAPI?", "You said: What is FastAPI?", "Tell me a short story.", "".join(parts)
        ]  # fmt: skip
        assert "".join(parts) == "You said: Tell me a short story."
        assert len((await client.get(f"/chat/sessions/{session_id}/history?limit=1")).json()["messages"]) == 1

        read = (await client.get(f"/chat/sessions/{session_id}")).json()
        assert (read["message_count"], read["system_prompt"]) == (4, "You are a helpful assistant.")
        assert (await client.delete(f"/chat/sessions/{session_id}")).json() == {
            "session_id": session_id,
            "deleted": True,
        }
        assert (await client.get(f"/chat/sessions/{session_id}")).status_code == 404


async def test_both_names_lead_to_the_same_session(gateway: GatewayProcess) -> None:
    session_id = (await gateway.client.post("/v1/sessions")).json()["id"]
    await gateway.client.post(f"/chat/sessions/{session_id}/messages", json={"message": "hi", "max_tokens": 5})
    assert (await gateway.client.get(f"/v1/sessions/{session_id}")).json()["message_count"] == 2


@pytest.mark.parametrize("route", ["messages", "stream"])
async def test_errors_are_those_of_the_other_name(gateway: GatewayProcess, engine: EngineProcess, route: str) -> None:
    session_id = (await gateway.client.post("/chat/sessions")).json()["session_id"]
    path = f"/chat/sessions/{session_id}/{route}"
    for given, param in (
        ({}, "content"),
        ({"content": ""}, "content"),
        ({"content": "x", "temperature": 9}, "temperature"),
    ):
        refused = await gateway.client.post(path, json=given)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    missing = await gateway.client.post(path.replace(session_id, "sess_" + "0" * 32), json={"content": "x"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "session_not_found")
    await engine.script("cut_mid_stream", chunks=3)
    broken = await gateway.client.post(f"/chat/sessions/{session_id}/stream", json={"content": "one two"})
    assert "[DONE]" not in broken.text
    assert "error" in json.loads(broken.text.strip().rpartition("data: ")[2])


async def test_a_stream_sent_again_has_the_same_shape(gateway: GatewayProcess, engine: EngineProcess) -> None:
    session_id = (await gateway.client.post("/chat/sessions")).json()["session_id"]
    for route in ("messages", "stream"):
        first, again = [
            await gateway.client.post(
                f"/chat/sessions/{session_id}/{route}",
                json={"content": "x"},
                headers={"idempotency-key": f"shape-{route}"},
            )
            for _ in range(2)
        ]
        assert again.headers["idempotent-replayed"] == "true"
        if route == "stream":
            assert again.text == first.text
        else:
            assert again.json()["message"]["content"] == first.json()["message"]["content"]
