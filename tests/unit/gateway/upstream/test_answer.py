"""An engine's answer, from a scripted stream: held until it is one, told when it is cut, let go in every case."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import Endpoint, EngineRequest, Prompt, Replica, RequestId, Sink, UpstreamStream, Usage
from gateway.errors import (
    EngineBroke,
    EngineErred,
    EngineFailure,
    EngineRefused,
    EngineTimedOut,
    EngineUnreachable,
    GatewayError,
    InvalidRequest,
)
from gateway.upstream import Answer, StreamedAnswer, WholeAnswer, ask
from gateway.upstream.refusal import refusal
from tests.unit.gateway.upstream import recordings

REPLICA = Replica("engine-0", "10.0.0.1", 8100)
HEAD = {"id": "chatcmpl-req_9", "object": "chat.completion.chunk", "created": 5, "model": "theirs"}
Step = bytes | EngineFailure | None


class ScriptedStream:
    """An `UpstreamStream` that says its lines; None waits for ever."""

    def __init__(self, *steps: Step, status: int = 200) -> None:
        self.status = status
        self.headers: Mapping[bytes, bytes] = {}
        self.left = list(steps)
        self.closed = 0

    async def read(self) -> bytes:
        """See the seam."""
        await asyncio.sleep(0)
        if not self.left:
            return b""
        step = self.left.pop(0)
        if step is None:
            await asyncio.Event().wait()
        if isinstance(step, EngineFailure):
            raise step
        return step or b""

    async def pump(self, sink: Sink) -> None:
        """See the seam; what is refused is put back."""
        while self.left and isinstance(self.left[0], bytes) and sink(self.left[0]):
            self.left.pop(0)

    def close(self) -> None:
        """See the seam."""
        self.closed += 1


class ScriptedEngine:
    """An `EngineClient` with one answer, or one failure."""

    def __init__(self, stream: ScriptedStream | EngineFailure) -> None:
        self.stream = stream
        self.asked: list[tuple[Replica, EngineRequest]] = []

    async def open(self, replica: Replica, request: EngineRequest) -> UpstreamStream:
        """See the seam."""
        self.asked.append((replica, request))
        if isinstance(self.stream, EngineFailure):
            raise self.stream
        return self.stream

    async def aclose(self) -> None:
        """See the seam."""


def event(payload: Any) -> bytes:
    """Return one event."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()
    return b"data: " + data + b"\n\n"


def delta(finish_reason: str | None = None, index: int = 0, **fields: Any) -> bytes:
    """Return a chat chunk."""
    choice = {"index": index, "delta": fields, "logprobs": None, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 11, "total_tokens": 12, "completion_tokens": 1}
    return event({**HEAD, "choices": [choice], "usage": usage})


ROLE = delta(role="assistant", content="")
ABORT = delta("abort", content="")
DONE = event(b"[DONE]")
ERROR = event({"error": {"message": "EngineCore died.", "type": "InternalServerError", "param": None, "code": 500}})


def prompt(stream: bool = True, endpoint: Endpoint = Endpoint.CHAT, wants_usage: bool = False) -> Prompt:
    """Return what is asked."""
    return Prompt(endpoint, "ours", b'{"model":"ours"}', stream, wants_usage, (), 1, 1)


async def asked(stream: ScriptedStream | EngineFailure, what: Prompt | None = None, keeps_text: bool = True) -> Answer:
    """Ask an engine that answers so."""
    engine = ScriptedEngine(stream)
    return await ask(engine, REPLICA, what or prompt(), RequestId("req_1"), keeps_text, 100_000)


async def streamed(*steps: Step, what: Prompt | None = None, keeps_text: bool = True) -> StreamedAnswer:
    """Ask for a stream."""
    answer = await asked(ScriptedStream(*steps), what, keeps_text)
    assert isinstance(answer, StreamedAnswer)
    return answer


async def refused(stream: ScriptedStream, what: Prompt | None = None) -> GatewayError:
    """Return the error of an answer that is none; nothing of it may be left open."""
    with pytest.raises(GatewayError) as caught:
        await asked(stream, what)
    assert stream.closed
    return caught.value


async def rest(answer: StreamedAnswer) -> list[dict[str, Any]]:
    """Read to the end."""
    text = b""
    while part := await answer.read():
        text += part
    return [json.loads(line.removeprefix(b"data: ")) for line in text.split(b"\n\n") if line]


def contents(chunks: list[dict[str, Any]]) -> list[str | None]:
    """Return the pieces of text."""
    return [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]


# What is sent.


@pytest.mark.parametrize(("stream", "accept"), [(True, "text/event-stream"), (False, "application/json")])
@pytest.mark.parametrize("endpoint", list(Endpoint))
async def test_the_engine_gets_our_id_our_body_and_nothing_of_the_clients(
    endpoint: Endpoint, stream: bool, accept: str
) -> None:
    engine = ScriptedEngine(EngineUnreachable("x"))
    with pytest.raises(EngineUnreachable):
        await ask(engine, REPLICA, prompt(stream, endpoint), RequestId("req_1"), False, 100)
    headers = (("content-type", "application/json"), ("accept", accept), ("x-request-id", "req_1"))
    assert engine.asked == [(REPLICA, EngineRequest("POST", endpoint.value, b'{"model":"ours"}', headers))]


# Streams.


async def test_a_stream_is_passed_on_with_our_id_and_model_and_without_its_end_mark() -> None:
    answer = await streamed(ROLE + delta(content="Hel"), delta(content="lo"), delta("stop", content=""), DONE)
    chunks = await rest(answer)
    assert contents(chunks) == ["", "Hel", "lo", ""]
    assert {(chunk["id"], chunk["model"]) for chunk in chunks} == {("chatcmpl-1", "ours")}
    assert (answer.message["content"], answer.finish_reason, answer.usage) == ("Hello", "stop", Usage(11, 1))


async def test_a_stream_of_text_has_the_id_of_a_text_completion() -> None:
    payload = {**HEAD, "object": "text_completion", "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}]}
    answer = await streamed(event(payload) + DONE, what=prompt(endpoint=Endpoint.COMPLETIONS), keeps_text=False)
    (chunk,) = await rest(answer)
    assert (chunk["id"], chunk["choices"][0]["text"]) == ("cmpl-1", "Hi")


async def test_the_role_chunk_is_held_until_content_is_here() -> None:
    stream = ScriptedStream(ROLE, None)
    task = asyncio.create_task(asked(stream))
    await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert stream.closed


async def test_role_chunks_of_all_choices_are_held() -> None:
    stream = ScriptedStream(ROLE, delta(index=1, role="assistant", content=""), None)
    task = asyncio.create_task(asked(stream))
    await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    "first",
    [
        delta(content="Hi"),
        delta("stop", content=""),
        delta(tool_calls=[{"index": 0}]),
        delta(role="assistant", content="Hi"),
        DONE,
    ],
)
async def test_content_a_tool_call_or_the_end_lets_the_head_go(first: bytes) -> None:
    answer = await streamed(ROLE, first, None)
    held = await answer.read()
    assert held.startswith(b'data: {"id":"chatcmpl-1"')
    assert b'"role":"assistant"' in held


@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
async def test_any_cutting_of_a_recorded_stream_gives_the_same(size: int) -> None:
    _, body = recordings.answer("stream")
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    answer = await streamed(*parts, what=prompt(wants_usage=True))
    chunks = await rest(answer)
    assert [chunk["choices"] for chunk in chunks] == [chunk["choices"] for chunk in recordings.chunks("stream")]
    assert answer.message["content"] == "\nenchsess早"
    assert answer.usage == Usage(11, 4)


@pytest.mark.parametrize("name", ["stream", "stream_n2", "stream_logprobs", "stream_usage_last", "stream_no_usage"])
@pytest.mark.parametrize("wants_usage", [False, True])
async def test_an_event_a_read_and_all_in_one_read_give_the_same_bytes_and_usage(name: str, wants_usage: bool) -> None:
    _, whole = recordings.answer(name)
    events = [event + b"\n\n" for event in whole.split(b"\n\n") if event]
    results = []
    for steps in (events, [whole], [whole[:-9], whole[-9:]]):
        answer = await asked_stream(*steps, wants_usage=wants_usage)
        results.append((await drained(answer), answer.usage))
    assert results[0] == results[1] == results[2]
    assert results[0][0].count(b"data: ") >= 3


async def asked_stream(*steps: Step, wants_usage: bool) -> StreamedAnswer:
    """Return the answer of an engine that says these steps."""
    engine = ScriptedEngine(ScriptedStream(*steps))
    answer = await ask(engine, REPLICA, prompt(wants_usage=wants_usage), RequestId("req_9"), False, 1_000_000)
    assert isinstance(answer, StreamedAnswer)
    return answer


async def drained(answer: StreamedAnswer) -> bytes:
    """Read an answer to its end."""
    parts = []
    while part := await answer.read():
        parts.append(part)
    return b"".join(parts)


async def test_without_a_session_no_text_is_kept() -> None:
    answer = await streamed(ROLE, delta("stop", content="Hi"), DONE, keeps_text=False)
    await rest(answer)
    assert (answer.message["content"], answer.finish_reason) == ("", None)


async def test_reading_after_the_end_stays_at_the_end() -> None:
    answer = await streamed(delta(content="Hi") + DONE, None)
    await rest(answer)
    assert await answer.read() == b""


# Before the first content: another engine may be asked.


@pytest.mark.parametrize(
    ("steps", "kind", "again"),
    [
        ([], EngineBroke, True),
        ([ROLE], EngineBroke, True),
        ([ROLE[:-5]], EngineBroke, True),
        ([ROLE, EngineBroke("cut")], EngineBroke, True),
        ([EngineTimedOut("slow")], EngineTimedOut, False),
        ([ABORT], EngineRefused, True),
        ([ROLE, ABORT, DONE], EngineRefused, True),
        ([ROLE + ABORT + DONE], EngineRefused, True),
        ([b"data: garbage\n\n"], EngineBroke, True),
        ([b"data: {}\n\n"], EngineBroke, True),
        ([ERROR], EngineErred, True),
        ([ROLE, ERROR], EngineErred, True),
        ([ROLE + ERROR + DONE], EngineErred, True),
        ([ROLE + delta(content="Hi") + ERROR], EngineErred, True),
        ([ROLE + delta(content="Hi") + ABORT], EngineBroke, True),
    ],
)
async def test_an_answer_that_fails_before_anything_was_passed_on_is_none(
    steps: list[Step], kind: type[EngineFailure], again: bool
) -> None:
    error = await refused(ScriptedStream(*steps))
    assert type(error) is kind
    assert isinstance(error, EngineFailure)
    assert error.again is again


async def test_a_refusal_within_the_stream_is_the_clients_if_it_is_about_the_request() -> None:
    _, body = recordings.answer("stream_error")
    assert isinstance(await refused(ScriptedStream(body)), InvalidRequest)


@pytest.mark.parametrize(("name", "status"), [(name, recordings.answer(name)[0]) for name in recordings.ERRORS])
async def test_a_refusal_instead_of_a_stream_is_one_of_ours(name: str, status: int) -> None:
    error = await refused(ScriptedStream(recordings.answer(name)[1], status=status))
    assert error.status == status


async def test_a_refusal_cut_in_two_is_read_whole() -> None:
    status, body = recordings.answer("error_field")
    assert (await refused(ScriptedStream(body[:50], body[50:], status=status))).param == "temperature"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
async def test_an_endless_refusal_is_one_and_is_not_read_to_its_end(stream: bool, status: int) -> None:
    endless = ScriptedStream(b'{"error": {"message": "', *[b"x" * 10_000] * 50, status=status)
    assert type(await refused(endless, prompt(stream))) is type(refusal(status, b""))
    assert len(endless.left) > 40


async def test_a_failure_to_open_passes_through() -> None:
    with pytest.raises(EngineUnreachable):
        await asked(EngineUnreachable("gone"))


# After the first content: the client must be told.


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ([], EngineBroke),
        ([delta(content="lo")[:-3]], EngineBroke),
        ([EngineBroke("cut")], EngineBroke),
        ([EngineTimedOut("slow")], EngineTimedOut),
        ([ERROR + DONE], EngineErred),
        ([b"data: garbage\n\n" + DONE], EngineBroke),
        ([ABORT + DONE], EngineBroke),
        ([ABORT, DONE], EngineBroke),
        ([delta("abort", content="lo") + DONE], EngineBroke),
    ],
)
async def test_an_answer_cut_short_is_told_after_what_has_come(steps: list[Step], kind: type[EngineFailure]) -> None:
    answer = await streamed(ROLE, delta(content="Hel"), *steps)
    text, failure = await until_failure(answer)
    assert type(failure) is kind
    assert b'"Hel"' in text
    assert b"abort" not in text
    assert answer.usage == Usage(11, 1)


async def until_failure(answer: StreamedAnswer) -> tuple[bytes, EngineFailure]:
    """Read to the failure; return what came before it."""
    text = b""
    for _ in range(10):
        try:
            text += await answer.read()
        except EngineFailure as failure:
            return text, failure
    raise AssertionError("the end was taken for a good one")


async def test_events_that_came_with_the_failure_are_passed_on_first() -> None:
    answer = await streamed(ROLE, delta(content="a"), delta(content="b") + ERROR)
    assert b'"a"' in await answer.read()
    assert b'"b"' in await answer.read()
    for _ in range(2):
        with pytest.raises(EngineFailure):
            await answer.read()


async def test_a_chunk_that_a_session_cannot_keep_is_a_failure() -> None:
    answer = await streamed(ROLE, delta(content="a"), event({**HEAD, "choices": [{"index": 0, "delta": 5}]}) + DONE)
    await answer.read()
    with pytest.raises(EngineBroke):
        await answer.read()


@given(st.lists(st.sampled_from([ROLE, delta(content="x"), ABORT, ERROR, DONE, b": ping\n\n", b"data: ?\n\n", b"da"])))
def test_any_script_ends_with_the_end_mark_or_a_failure(steps: list[bytes]) -> None:
    async def run() -> None:
        stream = ScriptedStream(*steps)
        try:
            answer = await asked(stream)
            assert isinstance(answer, StreamedAnswer)
            await rest(answer)
        except GatewayError:
            return
        assert DONE in b"".join(steps)
        answer.close()
        assert stream.closed

    asyncio.run(run())


# The end.


async def test_the_end_of_the_body_is_taken_in_so_that_the_connection_can_be_used_again() -> None:
    stream = ScriptedStream(delta(content="Hi") + DONE, b"")
    answer = await asked(stream)
    assert isinstance(answer, StreamedAnswer)
    await rest(answer)
    await answer.finish()
    assert stream.left == []
    answer.close()
    assert stream.closed


@pytest.mark.parametrize("failure", [EngineBroke("cut"), EngineTimedOut("slow")])
async def test_an_engine_that_breaks_after_its_end_mark_has_answered_all_the_same(failure: EngineFailure) -> None:
    stream = ScriptedStream(delta(content="Hi") + DONE, failure)
    answer = await asked(stream)
    assert isinstance(answer, StreamedAnswer)
    await rest(answer)
    await answer.finish()
    assert stream.left == []


async def test_an_engine_that_keeps_the_end_of_its_body_back_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.answer._LAST_CHUNK_SECONDS", 0.05)
    answer = await streamed(delta(content="Hi") + DONE, None)
    await rest(answer)
    await asyncio.wait_for(answer.finish(), 2)


async def test_closing_lets_the_connection_go_any_number_of_times() -> None:
    stream = ScriptedStream(delta(content="Hi"), None)
    answer = await asked(stream)
    answer.close()
    answer.close()
    assert stream.closed == 2


# Not streamed.


def whole(*choices: dict[str, Any], **members: Any) -> bytes:
    """Return a body."""
    return json.dumps({"id": "chatcmpl-req_9", "model": "theirs", "choices": list(choices), **members}).encode()


def choice(content: Any = "Hi", finish_reason: str = "stop", index: int = 0) -> dict[str, Any]:
    """Return a choice of a chat answer."""
    return {"index": index, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}


@pytest.mark.parametrize("name", ["unary", "unary_cached"])
async def test_a_recorded_answer_gets_our_id_and_model_and_keeps_what_is_openais(name: str) -> None:
    _, body = recordings.answer(name)
    stream = ScriptedStream(body[:100], body[100:])
    answer = await asked(stream, prompt(stream=False))
    assert isinstance(answer, WholeAnswer)
    recorded = json.loads(body)
    (said,) = recorded["choices"]
    assert json.loads(answer.body) == {
        **{name: recorded[name] for name in ("object", "created", "service_tier", "system_fingerprint", "usage")},
        "id": "chatcmpl-1",
        "model": "ours",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": said["message"]["content"], "refusal": None},
                "logprobs": None,
                "finish_reason": said["finish_reason"],
            }
        ],
    }
    assert (answer.message["content"], answer.finish_reason) == (said["message"]["content"], said["finish_reason"])
    assert answer.usage is not None
    counted = json.loads(body)["usage"]
    assert answer.usage.prompt_tokens == counted["prompt_tokens"]
    assert answer.usage.completion_tokens == counted["completion_tokens"]
    assert answer.usage.cached_tokens == (counted["prompt_tokens_details"] or {})["cached_tokens"]
    assert stream.closed


async def test_what_vllm_says_beyond_openai_is_left_out_where_it_says_nothing() -> None:
    odd = {**choice(), "stop_reason": "END", "token_ids": None}
    answer = await asked(ScriptedStream(whole(odd, metrics=None, prompt_text="x")), prompt(stream=False))
    assert isinstance(answer, WholeAnswer)
    body = json.loads(answer.body)
    assert body["choices"] == [{**choice(), "stop_reason": "END"}]
    assert (body["prompt_text"], "metrics" in body) == ("x", False)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_calls_the_model_as_the_client_did(stream: bool) -> None:
    what = replace(prompt(stream=stream), alias="gpt-4o-mini")
    if stream:
        answer = await streamed(ROLE, delta(content="a"), DONE, what=what)
        assert {chunk["model"] for chunk in await rest(answer)} == {"gpt-4o-mini"}
    else:
        whole_answer = await asked(ScriptedStream(whole(choice())), what)
        assert isinstance(whole_answer, WholeAnswer)
        assert json.loads(whole_answer.body)["model"] == "gpt-4o-mini"


async def test_an_answer_to_a_text_request_is_read() -> None:
    body = whole({"index": 0, "text": "Hi", "finish_reason": "stop"})
    answer = await asked(ScriptedStream(body), prompt(stream=False, endpoint=Endpoint.COMPLETIONS))
    assert (answer.message["content"], answer.finish_reason, answer.usage) == ("Hi", "stop", None)
    assert isinstance(answer, WholeAnswer)
    assert json.loads(answer.body)["id"] == "cmpl-1"


@pytest.mark.parametrize("content", [None, ""])
async def test_an_answer_may_be_empty(content: str | None) -> None:
    answer = await asked(ScriptedStream(whole(choice(content))), prompt(stream=False))
    assert answer.message["content"] == ""


@pytest.mark.parametrize("content", ["", "Hel"])
async def test_an_answer_that_the_engine_gave_up_is_none(content: str) -> None:
    error = await refused(ScriptedStream(whole(choice(content, "abort"))), prompt(stream=False))
    assert isinstance(error, EngineRefused if not content else EngineBroke)
    assert error.again


async def test_a_later_choice_that_the_engine_gave_up_is_noticed() -> None:
    body = whole(choice(), choice("Hel", "abort", 1))
    assert isinstance(await refused(ScriptedStream(body), prompt(stream=False)), EngineFailure)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"choices": null}',
        b'{"choices": []}',
        b'{"choices": {}}',
        b'{"choices": {"0": {}}}',
        b'{"choices": [5]}',
        b'{"choices": ["x"]}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": 5}]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": ["x"]}}]}',
        b'{"choices": [{"text": 5}]}',
        b"[" * 5000,
    ],
)
async def test_an_answer_of_an_unknown_shape_breaks(body: bytes) -> None:
    assert isinstance(await refused(ScriptedStream(body), prompt(stream=False)), EngineBroke)


async def test_an_answer_that_is_too_large_breaks() -> None:
    stream = ScriptedStream(*[b"x" * 10_000] * 50)
    assert isinstance(await refused(stream, prompt(stream=False)), EngineFailure)
    assert len(stream.left) > 35


async def test_who_leaves_while_the_answer_comes_lets_the_connection_go() -> None:
    stream = ScriptedStream(b"{", None)
    task = asyncio.create_task(asked(stream, prompt(stream=False)))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert stream.closed


def recorded() -> list[bytes]:
    """Return the events of a recorded stream, each as it comes."""
    return [event(payload) for payload in recordings.payloads("stream")]


async def to_the_end(answer: StreamedAnswer, *, pumps: bool) -> bytes:
    """Return what a client would get of a stream, read alone or read and pumped."""
    parts: list[bytes] = []

    def take(events: bytes) -> bool:
        parts.append(events)
        return True

    while events := await answer.read():
        take(events)
        if pumps:
            await answer.pump(take)
    return b"".join(parts)


async def test_pumped_or_read_a_stream_is_the_same_to_the_client() -> None:
    read = await to_the_end(await streamed(*recorded(), keeps_text=False), pumps=False)
    answer = await streamed(*recorded(), keeps_text=False)
    assert await to_the_end(answer, pumps=True) == read
    assert answer.usage == Usage(11, 4)


async def test_what_the_client_cannot_take_now_is_read_next() -> None:
    answer = await streamed(*recorded(), keeps_text=False)
    first = await answer.read()
    await answer.pump(lambda _: False)
    rest_of_it = await to_the_end(answer, pumps=False)
    assert first + rest_of_it == await to_the_end(await streamed(*recorded(), keeps_text=False), pumps=False)
