"""Every chunk that is cut by position is what parsing and writing it as JSON would give."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import Usage
from gateway.errors import EngineBroke, EngineFailure, GatewayError, InvalidRequest
from gateway.upstream.splice import DONE, ChunkSplicer, usage_of
from tests.unit.gateway.upstream import recordings

OURS = {"id": "chatcmpl-1", "model": "our-name"}
KEPT = ("id", "object", "created", "model", "system_fingerprint", "service_tier", "choices")
TOKENS = {"prompt_tokens": 11, "total_tokens": 15, "completion_tokens": 4}


def splicer(wants_usage: bool = False) -> ChunkSplicer:
    """Return a new one."""
    return ChunkSplicer("chatcmpl-1", "our-name", wants_usage)


def expected(chunk: dict[str, Any], wants_usage: bool) -> dict[str, Any] | None:
    """Return what a client gets for a chunk, None for nothing, by plain work on JSON."""
    usage_alone = not chunk["choices"]
    if usage_alone and not wants_usage:
        return None
    kept = (*KEPT, "usage") if usage_alone else KEPT
    return {name: value for name, value in chunk.items() if name in kept} | OURS


def chunk(content: str = "a", **members: Any) -> dict[str, Any]:
    """Return a chunk as vLLM makes it, `members` after its choices."""
    choice = {"index": 0, "delta": {"content": content}, "logprobs": None, "finish_reason": None, "token_ids": None}
    head = {"id": "chatcmpl-req_9", "object": "chat.completion.chunk", "created": 5, "model": "theirs"}
    return {**head, "choices": [choice], **members}


def compact(value: Any) -> bytes:
    """Write JSON as vLLM does."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def check(payloads: list[bytes], wants_usage: bool) -> ChunkSplicer:
    """Splice these and compare each with what JSON says."""
    made = splicer(wants_usage)
    for payload in payloads:
        spliced = made.splice(payload)
        wanted = expected(json.loads(payload), wants_usage)
        assert (json.loads(spliced) if spliced else None) == wanted, payload
    return made


@pytest.mark.parametrize("wants_usage", [True, False])
@pytest.mark.parametrize("name", recordings.STREAMS)
def test_every_recorded_chunk_is_what_json_says(name: str, wants_usage: bool) -> None:
    payloads = recordings.payloads(name)
    made = check(payloads[:-1], wants_usage)
    assert not made.done
    assert made.splice(payloads[-1]) == b""
    assert made.done


@pytest.mark.parametrize("name", recordings.STREAMS)
def test_the_usage_of_a_recorded_stream_is_its_last(name: str) -> None:
    made = check(recordings.payloads(name)[:-1], wants_usage=False)
    usages = [each["usage"] for each in recordings.chunks(name) if each.get("usage")]
    if not usages:
        assert made.usage is None
        return
    assert made.usage is not None
    last = usages[-1]
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (
        last["prompt_tokens"],
        last["completion_tokens"],
    )
    assert made.usage.total_tokens == last["total_tokens"]


@pytest.mark.parametrize(
    ("name", "counts"),
    [("stream", [0, 1, 2, 3, 4, 4]), ("stream_n2", [0, 0, 1, 2, 3, 4, 5, 6, 6])],
)
def test_a_stream_cut_anywhere_has_been_counted_over_all_its_choices(name: str, counts: list[int]) -> None:
    made = splicer()
    seen = []
    for payload in recordings.payloads(name)[:-1]:
        made.splice(payload)
        assert made.usage is not None
        assert made.usage.prompt_tokens == 11
        seen.append(made.usage.completion_tokens)
    assert seen == counts


@given(st.integers(1, 4), st.integers(1, 3), st.data())
def test_of_several_prompts_each_is_counted_once_and_each_choice_too(
    prompts: int, choices: int, data: st.DataObject
) -> None:
    made = ChunkSplicer("cmpl-1", "our-name", False, choices if prompts > 1 else 0)
    counts = dict.fromkeys(range(prompts * choices), 0)
    for index in data.draw(st.lists(st.sampled_from(sorted(counts)), min_size=1, max_size=20)):
        counts[index] += 1
        read = 100 + index // choices
        usage = {"prompt_tokens": read, "total_tokens": read + counts[index], "completion_tokens": counts[index]}
        head = {"id": "cmpl-9", "object": "text_completion", "created": 5, "model": "theirs"}
        choice = {"index": index, "text": "a", "logprobs": None, "finish_reason": None}
        spliced = json.loads(made.splice(compact({**head, "choices": [choice], "usage": usage})))
        assert spliced["choices"][0]["index"] == index
    begun = {100 + index // choices for index, count in counts.items() if count}
    assert made.usage == Usage(sum(begun), sum(counts.values()))


def test_most_chunks_are_cut_and_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The point of the whole: only the first and the odd ones are parsed."""
    parsed: list[bytes] = []
    real = ChunkSplicer._parsed

    def counting(self: ChunkSplicer, payload: bytes) -> dict[str, Any]:
        parsed.append(payload)
        return real(self, payload)

    monkeypatch.setattr(ChunkSplicer, "_parsed", counting)
    check([compact(chunk(f"word{number}", usage=TOKENS)) for number in range(100)], wants_usage=False)
    assert len(parsed) == 1


NASTY = [
    ',"usage":{"prompt_tokens":1}}',
    '","usage":{}}',
    "[DONE]",
    "data: [DONE]\n\n",
    '"choices":',
    '{"choices":[]}',
    '\\","usage":{',
    "\\",
    '"',
    "}}",
    "早上好 😀 \u2028\u0000",
    '"finish_reason":"abort"',
    '{"error":{"message":"x"}}',
]


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("usage", [TOKENS, None])
def test_text_that_looks_like_our_marks_is_left_alone(text: str, usage: Any) -> None:
    first, second = chunk("a", usage=TOKENS), chunk(text, usage=usage) if usage else chunk(text)
    made = check([compact(first), compact(second)], wants_usage=False)
    assert made.usage == Usage(11, 4)
    assert not made.done


SHAPES = [
    {},
    {"usage": TOKENS},
    {"usage": None},
    {"usage": {**TOKENS, "completion_tokens_details": None}},
    {"usage": {**TOKENS, "prompt_tokens_details": {"cached_tokens": 3}}},
    {"usage": {"prompt_tokens_details": {"cached_tokens": 3}, **TOKENS}},
    {"usage": TOKENS, "system_fingerprint": "vllm"},
    {"system_fingerprint": "vllm", "usage": TOKENS},
    {"usage": TOKENS, "metrics": {"time": 1}},
    {"usage": TOKENS, "metrics": {"time": 1, "usage": {"a": 1}}},
    {"metrics": {"usage": {"a": 1}}, "usage": TOKENS},
    {"usage": TOKENS, "prompt_token_ids": None, "prompt_text": None},
    {"usage": TOKENS, "more": [{}]},
    {"usage": TOKENS, "more": "}"},
    {"usage": {}},
]


def shape_id(shape: dict[str, Any]) -> str:
    """Return a short name."""
    return "+".join(shape) or "plain"


@pytest.mark.parametrize("later", SHAPES, ids=shape_id)
@pytest.mark.parametrize("first", SHAPES, ids=shape_id)
def test_any_shape_after_any_other_is_what_json_says(first: dict[str, Any], later: dict[str, Any]) -> None:
    made = splicer()
    for shape in (first, later, later):
        payload = compact(chunk("x", **shape))
        spliced = json.loads(made.splice(payload))
        assert {name: spliced[name] for name in KEPT if name in spliced} == expected(json.loads(payload), False)
        assert "usage" not in spliced
    usages = [shape["usage"] for shape in (first, later) if shape.get("usage") is not None]
    assert made.usage == (usage_of(usages[-1]) if usages else None)


@pytest.mark.parametrize(
    "order",
    [
        ["usage", "id", "object", "created", "model", "choices"],
        ["id", "usage", "object", "created", "model", "choices"],
        ["choices", "id", "object", "created", "model", "usage"],
        ["id", "object", "created", "model", "extra", "choices", "usage"],
        ["model", "id", "object", "created", "choices", "usage"],
        ["id", "choices", "usage"],
    ],
)
def test_members_in_another_order_are_parsed_and_nothing_is_lost(order: list[str]) -> None:
    whole = chunk("x", usage=TOKENS, extra={"choices": []})
    payloads = [compact({name: whole[name] for name in order})] * 3
    assert check(payloads, wants_usage=False).usage == Usage(11, 4)


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ": "), (" , ", " : ")])
def test_json_written_with_spaces_is_parsed_and_nothing_is_lost(separators: tuple[str, str]) -> None:
    payloads = [json.dumps(chunk(text, usage=TOKENS), separators=separators).encode() for text in ("a", "b")]
    assert check(payloads, wants_usage=False).usage == Usage(11, 4)


@pytest.mark.parametrize("wants_usage", [True, False])
def test_the_usage_chunk_goes_to_whom_asked_for_it(wants_usage: bool) -> None:
    last = {**chunk(), "choices": [], "usage": {**TOKENS, "prompt_tokens_details": {"cached_tokens": 3}}}
    for before in ([], [compact(chunk("a", usage=TOKENS))], [compact(chunk("a"))]):
        assert check([*before, compact(last)], wants_usage).usage == Usage(11, 4, 3)


def test_a_change_of_the_head_in_mid_stream_is_noticed() -> None:
    other = {**chunk("b", usage=TOKENS), "created": 6, "id": "chatcmpl-other"}
    check([compact(chunk("a", usage=TOKENS)), compact(other), compact(chunk("c")), compact(other)], False)


TEXTS = st.text(st.characters(codec="utf-8")) | st.sampled_from(NASTY)


@given(st.lists(st.tuples(TEXTS, st.sampled_from(SHAPES)), min_size=1, max_size=8), st.booleans())
def test_any_text_in_any_shape_is_what_json_says(said: list[tuple[str, dict[str, Any]]], ascii_only: bool) -> None:
    made = splicer()
    for text, shape in said:
        payload = json.dumps(chunk(text, **shape), separators=(",", ":"), ensure_ascii=ascii_only).encode()
        spliced = json.loads(made.splice(payload))
        assert spliced["choices"] == chunk(text)["choices"]
        assert (spliced["id"], spliced["model"], "usage" in spliced) == ("chatcmpl-1", "our-name", False)
    usages = [shape["usage"] for _, shape in said if shape.get("usage") is not None]
    assert made.usage == (usage_of(usages[-1]) if usages else None)


@given(st.text(), st.text())
def test_our_id_and_model_are_written_as_json_whatever_they_are(public_id: str, model: str) -> None:
    made = ChunkSplicer(public_id, model, wants_usage=False)
    for _ in range(2):
        spliced = json.loads(made.splice(compact(chunk("a", usage=TOKENS))))
        assert (spliced["id"], spliced["model"]) == (public_id, model)


# What is no chunk.


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b"5",
        b"{}",
        b'{"choices": null}',
        b'{"choices": {}}',
        b'{"choices": "x"}',
        b'{"choices": [1]}',
        b'{"choices": [{}], "usage": {}}',
        b'{"choices": [{"index": "x"}], "usage": {}}',
        b'{"error": null}',
        b"[DONE",
        b" [DONE]",
        b"\xff",
        b"[" * 5000,
    ],
)
def test_what_is_no_chunk_breaks_the_answer(payload: bytes) -> None:
    with pytest.raises(EngineBroke):
        splicer().splice(payload)


@given(st.binary())
def test_any_bytes_are_a_chunk_or_a_failure(payload: bytes) -> None:
    try:
        splicer().splice(payload)
    except EngineFailure:
        return
    assert payload == DONE


def test_an_error_event_is_raised_as_what_it_would_have_been() -> None:
    made = splicer()
    made.splice(compact(chunk()))
    with pytest.raises(InvalidRequest, match="out-of-vocab"):
        made.splice(recordings.payloads("stream_error")[0])


@pytest.mark.parametrize(
    "error", ["text", 5, [1], {"message": 5}, {"code": "x"}, {"code": True}, {"code": 200}, {"code": 10**9}]
)
def test_an_error_event_of_any_shape_is_an_error(error: Any) -> None:
    with pytest.raises(GatewayError):
        splicer().splice(compact({"error": error}))


# Usage.


@pytest.mark.parametrize(
    ("given_usage", "usage"),
    [
        (None, None),
        ("x", None),
        ([], None),
        ({}, Usage(0, 0)),
        (TOKENS, Usage(11, 4)),
        ({**TOKENS, "prompt_tokens_details": {"cached_tokens": 3}}, Usage(11, 4, 3)),
        ({**TOKENS, "prompt_tokens_details": None}, Usage(11, 4)),
        ({**TOKENS, "prompt_tokens_details": "x"}, Usage(11, 4)),
        ({**TOKENS, "prompt_tokens_details": {"cached_tokens": None}}, Usage(11, 4)),
        ({"prompt_tokens": None, "completion_tokens": 4}, Usage(0, 4)),
        ({"prompt_tokens": "x", "completion_tokens": -4}, Usage(0, 0)),
        ({"prompt_tokens": 1.5, "completion_tokens": True}, Usage(0, 0)),
    ],
)
def test_usage_is_read_and_never_negative(given_usage: Any, usage: Usage | None) -> None:
    assert usage_of(given_usage) == usage
