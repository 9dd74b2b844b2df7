"""A chat's answer written as a response, whole and in events, and kept before its client is told that it is whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

import gateway.api.responses as api
from config import Settings
from gateway.api.response_object import ResponseObject
from gateway.api.response_shape import ResponseShape
from gateway.api.responses import ResponsesEndpoint
from gateway.domain import Call, Caller, Endpoint, JsonObject, RequestId, Sink
from gateway.errors import EngineBroke, InvalidRequest, StoreDown
from gateway.prompt.response_request import Origin
from gateway.responses import NO_ROW, KeptResponse, Row
from gateway.store import StoreRefused
from gateway.upstream import WholeAnswer
from tests.unit.gateway.api.test_response_events import COUNT, COUNTED, USAGE, chunk, end, kinds, read, response, words
from tests.unit.gateway.api.test_transcript_shape import Chunks

CHAT = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Good day"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
WHOLE = WholeAnswer(orjson.dumps(CHAT), None, None, "stop")
STREAMED: Any = object()
ORIGIN = Origin(("instructions", "input[0]"), ((), ()))


class Keeper:
    """Keeps what it is given, or does not."""

    def __init__(self, answer: bool | Exception = True) -> None:
        self._answer = answer
        self.kept: list[JsonObject] = []

    async def __call__(self, whole: JsonObject) -> bool:
        self.kept.append(orjson.loads(orjson.dumps(whole)))
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def shape(keeper: Keeper, made: ResponseObject | None = None) -> ResponseShape:
    """Return how a response is written."""
    return ResponseShape(made or response(), ORIGIN, keeper)


def sse(*chunks: JsonObject) -> bytes:
    """Return chunks as an answer gives them."""
    return b"".join(b"data: " + orjson.dumps(each) + b"\n\n" for each in chunks)


async def reads(writing: ResponseShape, *portions: bytes) -> list[list[JsonObject]]:
    """Return the events of each read, until the end."""
    chunks: Any = Chunks(*portions)
    source = writing.streamed(chunks)
    found = []
    while data := await source.read():
        found.append(read(data))
    assert await source.read() == b""
    return found


# Whole answers.


async def test_a_whole_answer_is_a_response_and_the_same_is_kept() -> None:
    keeper = Keeper()
    writing = shape(keeper)
    await writing.keep(WHOLE)
    kind, body = writing.whole(WHOLE)
    whole = orjson.loads(body)
    assert kind == b"application/json"
    assert whole == keeper.kept[0]
    assert (whole["id"], whole["status"], whole["usage"], whole["store"]) == ("resp_1f", "completed", COUNTED, True)
    assert whole["output"][0]["content"][0]["text"] == "Good day"


async def test_a_response_that_could_not_be_kept_says_that_it_is_not() -> None:
    writing = shape(Keeper(answer=False))
    await writing.keep(WHOLE)
    assert orjson.loads(writing.whole(WHOLE)[1])["store"] is False


async def test_where_it_has_to_be_kept_and_cannot_it_fails() -> None:
    writing = shape(Keeper(StoreDown("away")))
    with pytest.raises(StoreDown):
        await writing.keep(WHOLE)


@pytest.mark.parametrize("store", [True, False])
def test_only_what_is_to_be_kept_is_kept(store: bool) -> None:
    assert shape(Keeper(), response(store=store)).keeps is store


# Streams.


async def test_a_stream_begins_with_what_is_read_first_and_ends_once() -> None:
    keeper = Keeper()
    writing = shape(keeper)
    found = await reads(
        writing, sse(chunk({"role": "assistant", "content": ""})), sse(words("Good"), words(" day")), sse(end(), COUNT)
    )
    assert [kinds(events)[0] for events in found] == [
        "response.created",
        "response.output_item.added",
        "response.output_text.done",
    ]
    await writing.keep(STREAMED)
    (last,) = read(writing.done())
    assert last["type"] == "response.completed"
    assert last["response"] == keeper.kept[0]
    assert last["sequence_number"] == sum(map(len, found))


async def test_a_stream_of_nothing_has_its_beginning_and_its_end() -> None:
    (events,) = await reads(shape(Keeper()))
    assert kinds(events)[:2] == ["response.created", "response.in_progress"]
    assert kinds(events)[-1] == "response.output_item.done"


async def test_a_stream_that_could_not_be_kept_says_so_at_its_end() -> None:
    writing = shape(Keeper(answer=False))
    ((created, *_), *_) = await reads(writing, sse(words("Good"), end()))
    await writing.keep(STREAMED)
    (last,) = read(writing.done())
    assert (created["response"]["store"], last["response"]["store"]) == (True, False)


async def test_a_stream_that_fails_ends_in_an_error_and_nothing_behind_it() -> None:
    writing = shape(Keeper())
    found = await reads(writing, sse(words("Good")))
    (last,) = read(writing.failed(EngineBroke("It broke.")))
    assert (last["type"], last["message"], last["error"]["code"]) == ("error", "It broke.", "engine_error")
    assert last["sequence_number"] == sum(map(len, found))


@pytest.mark.parametrize("odd", [b"data: {", b'data: {"choices":1}', b'data: {"choices":[{}]}', b"data: []"])
async def test_a_chunk_of_an_unknown_shape_is_the_engines_failure(odd: bytes) -> None:
    with pytest.raises(EngineBroke, match="unknown shape"):
        await reads(shape(Keeper()), sse(words("Good")), odd + b"\n\n")


class Pumping(Chunks):
    """An answer that would give its chunks as they are."""

    async def pump(self, write: Sink) -> None:
        """Give all."""
        while chunks := await self.read():
            write(chunks)


async def test_pumping_gives_nothing_as_every_chunk_has_to_be_rewritten() -> None:
    chunks: Any = Pumping(sse(words("Good")))
    given: list[bytes] = []
    source = shape(Keeper()).streamed(chunks)

    def take(data: bytes) -> bool:
        given.append(data)
        return True

    await source.pump(take)
    assert given == []
    assert "response.output_text.delta" in kinds(read(await source.read()))


def test_an_error_is_named_as_the_client_wrote_it() -> None:
    error = InvalidRequest("'messages[1].content' is bad.", param="messages[1].content")
    named = shape(Keeper()).named(error)
    assert (named.param, named.message) == ("input[0].content", "'input[0].content' is bad.")


# The endpoint: whether it is kept, and what if it cannot be.


class Responses:
    """A store of responses that may be away."""

    def __init__(self, *, takes_more: bool = True, fault: Exception | None = None) -> None:
        self.takes_more = takes_more
        self._fault = fault
        self.kept: list[tuple[Caller, KeptResponse, Row]] = []
        self.checked: list[tuple[Row, int]] = []

    async def row(self, caller: Caller, response_id: str) -> Row:
        """Return a row of one."""
        return Row(({"role": "user", "content": "before"},), 1, 9)

    def check_room(self, row: Row, new_bytes: int) -> None:
        """There is room."""
        self.checked.append((row, new_bytes))

    async def keep(self, caller: Caller, kept: KeptResponse, row: Row) -> None:
        """Keep it, or not."""
        if self._fault is not None:
            raise self._fault
        self.kept.append((caller, kept, row))


class Asking:
    """`POST /v1/responses` up to the pipeline."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, responses: Responses, **settings: Any) -> None:
        self.caller = Caller("acme", "ann")
        self.shapes: list[ResponseShape] = []
        self.calls: list[Call] = []
        self._rooms: Any = SimpleNamespace(settings=Settings(responses=settings), responses=responses)
        self._monkeypatch = monkeypatch

    async def ask(self, **fields: Any) -> ResponseShape:
        """Return how the response to these fields would be written."""
        body = orjson.dumps({"model": "m", "input": "Hello", **fields})

        async def read_body(*_: Any) -> bytes:
            return body

        async def answer(call: Call, rooms: Any, scope: Any, send: Any, shape: ResponseShape, sent: bytes) -> None:
            assert sent == body
            self.calls.append(call)
            self.shapes.append(shape)

        self._monkeypatch.setattr(api, "read_call_body", read_body)
        self._monkeypatch.setattr(api, "answer_call", answer)
        settlement = SimpleNamespace(request_id=RequestId("req_1f"))
        scope: Any = {"state": {"settlement": settlement, "caller": self.caller, "headers": {}}}
        nothing: Any = None
        await ResponsesEndpoint(self._rooms)(scope, nothing, nothing)
        return self.shapes[-1]


@pytest.mark.parametrize(
    ("by_default", "fields", "keeps"),
    [
        (True, {}, True),
        (True, {"store": None}, True),
        (True, {"store": False}, False),
        (False, {}, False),
        (False, {"store": True}, True),
    ],
)
async def test_what_the_client_does_not_say_the_setting_does(
    monkeypatch: pytest.MonkeyPatch, by_default: bool, fields: JsonObject, keeps: bool
) -> None:
    asking = Asking(monkeypatch, Responses(), store=by_default)
    assert (await asking.ask(**fields)).keeps is keeps


async def test_a_response_is_kept_with_its_input_and_what_it_goes_on_from(monkeypatch: pytest.MonkeyPatch) -> None:
    responses = Responses()
    asking = Asking(monkeypatch, responses)
    await (await asking.ask()).keep(WHOLE)
    await (await asking.ask(previous_response_id="resp_0")).keep(WHOLE)
    (caller, first, no_row), (_, second, row) = responses.kept
    assert caller == asking.caller
    assert no_row == NO_ROW
    assert [item["id"] for item in first.input] == ["resp_1f_0000"]
    assert first.response["previous_response_id"] is None
    assert [item["content"][0]["text"] for item in second.input] == ["Hello"]
    assert (second.response["previous_response_id"], row.turns) == ("resp_0", 1)
    assert [of for of, _ in responses.checked] == [no_row, row]
    assert all(
        len(orjson.dumps(kept.input)) < size
        for (_, size), (_, kept, _) in zip(responses.checked, responses.kept, strict=True)
    )
    assert asking.calls[0].endpoint is Endpoint.CHAT
    asked = orjson.loads(asking.calls[1].body)
    assert [message["content"] for message in asked["messages"]] == ["before", "Hello"]


@pytest.mark.parametrize("fault", [StoreDown("away"), StoreRefused("ERR no such thing")])
async def test_where_it_was_asked_for_a_response_that_cannot_be_kept_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    asking = Asking(monkeypatch, Responses(fault=fault))
    asked_for = await asking.ask(store=True)
    with pytest.raises(StoreDown):
        await asked_for.keep(WHOLE)
    by_default = await asking.ask()
    await by_default.keep(WHOLE)
    assert orjson.loads(by_default.whole(WHOLE)[1])["store"] is False


async def test_without_redis_only_what_has_to_be_kept_is_refused_and_before_anything_is_generated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = Asking(monkeypatch, Responses(takes_more=False))
    with pytest.raises(StoreDown, match="'store' false"):
        await asking.ask(store=True)
    assert asking.calls == []
    await asking.ask()
    await asking.ask(store=False)
    assert len(asking.calls) == 2


async def test_what_is_not_kept_needs_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    responses = Responses()
    await Asking(monkeypatch, responses).ask(store=False)
    await Asking(monkeypatch, responses, store=False).ask()
    assert responses.checked == []
