"""The stock openai SDK for Python, synchronous and asynchronous, where an engine can be made to misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import DefaultAsyncHttpxClient
from openai.types.chat import ChatCompletionMessageParam

from tests.clients.attempts import Attempts
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "fake"
LONG: dict[str, Any] = {"tokens": 500, "itl_ms": 20}
"""An answer that takes ten seconds."""


def saying(text: str) -> list[ChatCompletionMessageParam]:
    """Return a conversation of one message."""
    return [{"role": "user", "content": text}]


@pytest.fixture
def sync_client(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    """The SDK as the README shows it. Its calls go to a thread: the loop has the processes' output to read."""
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.key) as made:
        yield made


@asynccontextmanager
async def counted(gateway: GatewayProcess, **options: Any) -> AsyncIterator[tuple[openai.AsyncOpenAI, Attempts]]:
    """An asynchronous client whose attempts are counted."""
    attempts = Attempts()
    http_client = DefaultAsyncHttpxClient(event_hooks=attempts.hooks)
    made = openai.AsyncOpenAI(
        base_url=f"{gateway.base_url}/v1", api_key=gateway.key, http_client=http_client, **options
    )
    async with made:
        yield made, attempts


@pytest_asyncio.fixture(loop_scope="module")
async def client(gateway: GatewayProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous SDK."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.key) as made:
        yield made


async def test_the_synchronous_client_answers_whole_and_streamed(sync_client: openai.OpenAI) -> None:
    def talk() -> None:
        answer = sync_client.chat.completions.create(model=MODEL, messages=saying("one two"))
        assert answer.choices[0].message.content == "You said: one two"
        assert answer.choices[0].finish_reason == "stop"
        assert (answer._request_id or "").startswith("req_")
        with sync_client.chat.completions.create(model=MODEL, messages=saying("one two"), stream=True) as stream:
            chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: one two"
        assert chunks[0].choices[0].delta.role == "assistant"
        assert all(chunk.usage is None for chunk in chunks)

    await asyncio.to_thread(talk)


async def test_the_synchronous_stream_helper_tells_deltas_and_the_whole(sync_client: openai.OpenAI) -> None:
    def talk() -> None:
        with sync_client.chat.completions.stream(model=MODEL, messages=saying("one two")) as stream:
            deltas = [event.delta for event in stream if event.type == "content.delta"]
            final = stream.get_final_completion()
        assert "".join(deltas) == final.choices[0].message.content == "You said: one two"

    await asyncio.to_thread(talk)


async def test_raw_and_streaming_responses_show_our_headers(sync_client: openai.OpenAI) -> None:
    def talk() -> None:
        raw = sync_client.chat.completions.with_raw_response.create(model=MODEL, messages=saying("raw"))
        assert raw.headers["x-request-id"].startswith("req_")
        assert raw.headers["x-gateway-replica"]
        assert raw.parse().choices[0].message.content == "You said: raw"
        with sync_client.chat.completions.with_streaming_response.create(
            model=MODEL, messages=saying("raw"), stream=True
        ) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = [line for line in response.iter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        assert all(line.startswith("data: ") for line in lines)

    await asyncio.to_thread(talk)


async def test_models_and_plain_completions_are_served(sync_client: openai.OpenAI) -> None:
    def talk() -> None:
        assert [model.id for model in sync_client.models.list()] == [MODEL]
        assert sync_client.models.retrieve(MODEL).owned_by == "gemma-gateway"
        whole = sync_client.completions.create(model=MODEL, prompt="one two")
        assert whole.choices[0].text == "You said: one two"
        parts = sync_client.completions.create(model=MODEL, prompt="one two", stream=True)
        assert "".join(part.choices[0].text for part in parts) == "You said: one two"

    await asyncio.to_thread(talk)


async def test_twenty_calls_at_once_get_each_its_own_answer(client: openai.AsyncOpenAI) -> None:
    async def one(number: int) -> str:
        stream = await client.chat.completions.create(model=MODEL, messages=saying(f"n{number}"), stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert await asyncio.gather(*map(one, range(20))) == [f"You said: n{number}" for number in range(20)]


async def test_the_asynchronous_stream_helper_tells_deltas_and_the_whole(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model=MODEL, messages=saying("one two")) as stream:
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
        final = await stream.get_final_completion()
    assert "".join(deltas) == final.choices[0].message.content == "You said: one two"


async def test_usage_is_in_a_stream_only_where_it_is_asked_for_and_then_in_one_last_chunk(
    client: openai.AsyncOpenAI,
) -> None:
    stream = await client.chat.completions.create(
        model=MODEL, messages=saying("one two"), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    whole = await client.chat.completions.create(model=MODEL, messages=saying("one two"))
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


async def test_choices_are_told_apart_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=MODEL, messages=saying("x"), n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    texts = ["", "", ""]
    async for chunk in await client.chat.completions.create(model=MODEL, messages=saying("x"), n=3, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == ["You said: x"] * 3


async def test_sampling_parameters_reach_the_engine_as_they_were_given(
    client: openai.AsyncOpenAI, engine: EngineProcess
) -> None:
    given: dict[str, Any] = {"stop": ["a", "b"], "seed": 7, "temperature": 0.3, "top_p": 0.5, "presence_penalty": 1}
    given |= {"frequency_penalty": -1, "logprobs": True, "top_logprobs": 2, "logit_bias": {"5": 1}}
    await client.chat.completions.create(
        model=MODEL, messages=saying("x"), user="me", store=False, extra_body={"top_k": 3}, **given
    )
    seen = json.loads((await engine.asked())[-1]["body"])
    assert {name: seen[name] for name in (*given, "top_k")} == given | {"top_k": 3}
    assert not {"user", "store"} & set(seen)


def tells_all(caught: openai.APIStatusError, code: str | None) -> None:
    """Check what every error of the SDK must tell."""
    assert caught.code == code
    assert (caught.request_id or "").startswith("req_")
    assert caught.message


ERRORS: list[tuple[type[openai.APIStatusError], str, dict[str, Any]]] = [
    (openai.BadRequestError, "invalid_value", {"temperature": 9}),
    (openai.BadRequestError, "missing_required_parameter", {"model": ""}),
    (openai.BadRequestError, "unsupported_parameter", {"extra_body": {"priority": 1}}),
    (openai.NotFoundError, "model_not_found", {"model": "gpt-5"}),
    (openai.NotFoundError, "session_not_found", {"extra_headers": {"X-Session-Id": "sess_" + "0" * 32}}),
    (openai.AuthenticationError, "invalid_api_key", {"extra_headers": {"Authorization": "Bearer gg_wrong"}}),
]


@pytest.mark.parametrize(("kind", "code", "change"), ERRORS, ids=[code for _, code, _ in ERRORS])
async def test_a_refused_request_is_the_right_class_and_is_not_sent_again(
    gateway: GatewayProcess, kind: type[openai.APIStatusError], code: str, change: dict[str, Any]
) -> None:
    async with counted(gateway) as (client, attempts):
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(**{"model": MODEL, "messages": saying("x"), **change})
        tells_all(caught.value, code)
        assert attempts.counts == ["0"]


async def test_what_a_credential_may_not_do_and_what_is_not_offered_are_their_own_classes(
    gateway: GatewayProcess, client: openai.AsyncOpenAI
) -> None:
    made = await gateway.client.post("/admin/keys", json={"tenant": "t", "user": "u"})
    plain = client.with_options(base_url=gateway.base_url, api_key=made.json()["key"])
    with pytest.raises(openai.PermissionDeniedError) as caught:
        await plain.get("/admin/keys", cast_to=object)
    tells_all(caught.value, "permission_denied")
    with pytest.raises(openai.NotFoundError) as missing:
        await client.embeddings.create(model=MODEL, input="x")
    assert (missing.value.request_id or "").startswith("req_")


async def test_the_engines_own_refusal_has_openais_codes(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    message = "This model's maximum context length is 10 tokens. However, you requested 20 tokens."
    body = {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}
    for stream in (False, True):
        await engine.script("error_400", body=body)
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model=MODEL, messages=saying("x"), stream=stream)
        tells_all(caught.value, "context_length_exceeded")
        assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("behaviour", ["error_in_stream", "cut_mid_stream", "reset"])
async def test_a_stream_that_breaks_is_an_error_and_never_a_short_answer(
    client: openai.AsyncOpenAI, engine: EngineProcess, behaviour: str
) -> None:
    await engine.script(behaviour, chunks=4, itl_ms=20)
    words: list[str] = []
    stream = await client.chat.completions.create(model=MODEL, messages=saying("a b c d e"), stream=True)

    async def listen() -> None:
        async for chunk in stream:
            [choice] = chunk.choices
            words.append(choice.delta.content or "")

    with pytest.raises(openai.APIError) as caught:
        await listen()
    assert "".join(words) == "You said: a"
    assert caught.value.code == "engine_error"


@pytest.mark.parametrize("behaviour", ["error_in_stream", "cut_mid_stream", "cut_before_headers", "garbage", "abort"])
async def test_a_stream_that_breaks_before_its_first_word_is_made_good_without_the_caller_noticing(
    client: openai.AsyncOpenAI, engine: EngineProcess, behaviour: str
) -> None:
    await engine.script(behaviour, chunks=1)
    stream = await client.chat.completions.create(model=MODEL, messages=saying("a b c"), stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "You said: a b c"


async def test_a_full_engine_is_asked_again_when_the_answer_says(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    async with counted(gateway) as (client, attempts):
        await engine.script("refuse_503", times=-1)
        with pytest.raises(openai.InternalServerError) as caught:
            await client.with_options(max_retries=1).chat.completions.create(model=MODEL, messages=saying("x"))
        assert caught.value.status_code == 503
        tells_all(caught.value, "server_is_overloaded")
        assert (attempts.counts, attempts.statuses) == (["0", "1"], [503, 503])
        assert attempts.waited_as_told()


async def test_a_full_engine_that_has_room_again_answers_without_the_caller_noticing(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    async with counted(gateway) as (client, attempts):
        await engine.script("refuse_503", times=-1)
        asking = asyncio.create_task(client.chat.completions.create(model=MODEL, messages=saying("x")))
        await until(lambda: attempts.statuses == [503])
        await engine.reset()
        assert (await asking).choices[0].message.content == "You said: x"
        assert attempts.waited_as_told()


async def test_a_busy_session_is_asked_again_when_the_answer_says(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    session = (await gateway.client.post("/v1/sessions", json={})).json()["id"]
    headers = {"X-Session-Id": session}
    async with counted(gateway) as (client, attempts):
        await engine.script("hold")
        first = asyncio.create_task(gateway.client.post(f"/v1/sessions/{session}/messages", json={"content": "a"}))
        await engine.eventually(running=1)
        with pytest.raises(openai.ConflictError) as caught:
            await client.with_options(max_retries=0).chat.completions.create(
                model=MODEL, messages=saying("b"), extra_headers=headers
            )
        tells_all(caught.value, "session_busy")
        second = asyncio.create_task(
            client.chat.completions.create(model=MODEL, messages=saying("b"), extra_headers=headers)
        )
        await until(lambda: attempts.statuses[1:] == [409])
        await engine.release()
        assert (await first).status_code == 200
        assert (await second).choices[0].message.content == "You said: b"
        assert attempts.hints_ms[1] is not None
        assert attempts.sent_at[2] - attempts.answered_at[1] >= attempts.hints_ms[1] / 1000


async def test_a_spent_limit_is_waited_for_exactly_as_long_as_it_lasts(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    limits = {"limits.requests_per_minute": 60, "limits.requests_per_hour": 10_000}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        async with counted(gateway) as (client, attempts):
            await asyncio.gather(
                *(client.chat.completions.create(model=MODEL, messages=saying("x"), max_tokens=2) for _ in range(60))
            )
            spent = attempts.statuses.count(200)
            await client.chat.completions.create(model=MODEL, messages=saying("x"), max_tokens=2)
            assert spent == 60
            assert attempts.statuses[60:] == [429, 200]
            hint = attempts.hints_ms[60]
            assert hint is not None
            assert hint <= (attempts.sent_at[61] - attempts.answered_at[60]) * 1000 < hint + 1000


async def test_a_limit_that_is_spent_for_long_is_told_at_once(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    limits = {"limits.requests_per_minute": 0, "limits.requests_per_hour": 1}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        async with counted(gateway) as (client, attempts):
            await client.chat.completions.create(model=MODEL, messages=saying("x"))
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(model=MODEL, messages=saying("x"))
            tells_all(caught.value, "insufficient_quota")
            assert caught.value.response.headers["x-should-retry"] == "false"
            assert attempts.counts == ["0", "0"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_times_out_frees_the_engine(
    client: openai.AsyncOpenAI, engine: EngineProcess, stream: bool
) -> None:
    await engine.script("hang", silent=True)
    hasty = client.with_options(timeout=0.3, max_retries=0)
    with pytest.raises(openai.APITimeoutError):
        await hasty.chat.completions.create(model=MODEL, messages=saying("x"), stream=stream)
    await engine.eventually(running=0, aborted=1)


async def test_leaving_a_stream_frees_the_engine(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("normal", **LONG)
    async with await client.chat.completions.create(
        model=MODEL, messages=saying("x"), stream=True, max_tokens=500
    ) as stream:
        await anext(stream)
        await engine.eventually(running=1)
    await engine.eventually(running=0, aborted=1)


async def test_leaving_a_synchronous_stream_or_helper_frees_the_engine(
    sync_client: openai.OpenAI, engine: EngineProcess
) -> None:
    def leave_stream() -> None:
        with sync_client.chat.completions.create(
            model=MODEL, messages=saying("x"), stream=True, max_tokens=500
        ) as stream:
            next(stream)

    def leave_helper() -> None:
        with sync_client.chat.completions.stream(model=MODEL, messages=saying("x"), max_tokens=500) as stream:
            next(iter(stream))

    for aborted, leave in ((1, leave_stream), (2, leave_helper)):
        await engine.script("normal", **LONG)
        await asyncio.to_thread(leave)
        await engine.eventually(running=0, aborted=aborted)


async def test_cancelling_the_task_frees_the_engine(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("hold")
    asking = asyncio.create_task(client.chat.completions.create(model=MODEL, messages=saying("x")))
    await engine.eventually(running=1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await engine.eventually(running=0, aborted=1)


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait until `condition()` is true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
