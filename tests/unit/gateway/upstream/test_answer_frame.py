"""An answer that was spliced is the one that JSON would have made of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain import Endpoint, Prompt, ToolUse
from gateway.errors import EngineBroke, EngineFailure, EngineRefused
from gateway.upstream import whole
from gateway.upstream.answer_frame import Spliced, spliced
from gateway.upstream.whole import WholeAnswer, whole_answer
from tests.proofs import examples
from tests.unit.gateway.upstream import recordings

PROMPT = Prompt(Endpoint.CHAT, "ours", b"{}", False, False, (), 2, 1)
RECORDED: dict[str, Any] = json.loads(recordings.answer("unary")[1])
MARKERS = ['"', "\\", '","refusal":', ',"usage":{', "}", "{", '"choices":[', '\\"', "\u2028", "早", "😀", "\0", "\n"]
TEXTS = st.text() | st.lists(st.sampled_from(MARKERS) | st.text(max_size=3)).map("".join)
NUMBERS = st.integers(min_value=0, max_value=2**40)
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": NUMBERS, "total_tokens": NUMBERS, "completion_tokens": NUMBERS},
    optional={"prompt_tokens_details": st.none() | st.fixed_dictionaries({"cached_tokens": st.none() | NUMBERS})},
)
VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | NUMBERS | TEXTS | st.lists(TEXTS, max_size=2) | st.just({"a": None, "b": {}})
)


def as_vllm(answer: Any) -> bytes:
    """Return an answer as vLLM writes it."""
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def said(content: Any, **members: Any) -> dict[str, Any]:
    """Return the recorded answer with another text, and with these members."""
    (choice,) = RECORDED["choices"]
    return {**RECORDED, "choices": [{**choice, "message": {**choice["message"], "content": content}}], **members}


def told(answer: WholeAnswer) -> tuple[Any, ...]:
    """Return all that an answer says."""
    return json.loads(answer.body), answer.usage, answer.finish_reason, answer.message


def outcome(body: bytes, prompt: Prompt, *, quick: bool) -> Any:
    """Return what becomes of a body, or the kind of the failure."""
    with pytest.MonkeyPatch.context() as patch:
        if not quick:
            patch.setattr(whole, "spliced", lambda *_: None)
        try:
            return told(whole_answer(body, "chatcmpl-1", prompt))
        except EngineFailure as failure:
            return type(failure), failure.message


def by_splice(body: bytes, model: str = "ours") -> Spliced | None:
    """Return what the splice makes of it."""
    return spliced(body, "chatcmpl-1", model, whole._rewrite)


def test_a_recorded_answer_is_spliced_and_its_text_is_passed_on_as_it_came() -> None:
    body = recordings.answer("unary")[1]

    answer = by_splice(body)

    assert answer is not None
    assert answer[0].startswith(b'{"id":"chatcmpl-1","object":"chat.completion","created":1795407403,"model":"ours",')
    assert b'"content":"\\nenchsess\xe6\x97\xa9","refusal":null},"logprobs":null,' in answer[0]
    assert b"token_ids" not in answer[0]


@given(text=TEXTS, usage=USAGES, reason=st.sampled_from(["stop", "length", "tool_calls", None]))
def test_whatever_the_text_the_answer_is_that_of_json(text: str, usage: Any, reason: str | None) -> None:
    answer = said(text, usage=usage, id=f"chatcmpl-{len(text)}")
    answer["choices"][0]["finish_reason"] = reason
    try:
        body = as_vllm(answer)
        body.decode()
    except UnicodeError:
        return  # Half a surrogate pair, which no engine writes.

    assert by_splice(body) is not None
    assert outcome(body, PROMPT, quick=True) == outcome(body, PROMPT, quick=False)


@given(
    members=st.dictionaries(st.sampled_from(["usage", "id", "created", "object", "new", "metrics"]), VALUES),
    of_choice=st.dictionaries(
        st.sampled_from(["index", "logprobs", "finish_reason", "stop_reason", "usage", "new"]), VALUES
    ),
    of_message=st.dictionaries(st.sampled_from(["role", "content", "refusal", "tool_calls", "usage", "new"]), VALUES),
    choices=st.integers(min_value=0, max_value=2),
    prompt=st.sampled_from(
        [PROMPT, replace(PROMPT, alias="theirs"), replace(PROMPT, choices=2), replace(PROMPT, session_usage={"a": 1})]
    ),
    data=st.data(),
)
@settings(max_examples=examples(300), deadline=None)
def test_whatever_the_shape_nobody_can_tell_which_way_it_went(
    members: Any, of_choice: Any, of_message: Any, choices: int, prompt: Prompt, data: st.DataObject
) -> None:
    (choice,) = RECORDED["choices"]
    choice = {**choice, **of_choice, "message": {**choice["message"], **of_message}}
    answer = {**RECORDED, "choices": [choice] * choices, **members}
    if data.draw(st.booleans()):
        answer = dict(data.draw(st.permutations(list(answer.items()))))

    try:
        body = as_vllm(answer)
        body.decode()
    except UnicodeError:
        return

    assert outcome(body, prompt, quick=True) == outcome(body, prompt, quick=False)


TOOLS = ToolUse(frozenset({"say"}), forced=False, max_calls=4)
CALL = '{"tool_calls":[{"name":"say","arguments":{"a":1}}]}'


@pytest.mark.parametrize(
    "prompt",
    [
        PROMPT,
        replace(PROMPT, alias="theirs"),
        replace(PROMPT, choices=2),
        replace(PROMPT, session_usage={"history_messages": 1}),
        replace(PROMPT, tools=TOOLS),
    ],
)
@pytest.mark.parametrize("text", ["Hi", CALL])
@pytest.mark.parametrize("choices", [1, 2])
def test_whatever_is_asked_for_is_in_the_answer(prompt: Prompt, text: str, choices: int) -> None:
    answer = said(text)
    answer["choices"] *= choices

    quick, slow = (outcome(as_vllm(answer), prompt, quick=quick) for quick in (True, False))
    for each in (quick, slow):
        for choice in each[0]["choices"]:
            for call in choice["message"].get("tool_calls", ()):
                assert call.pop("id").startswith("call_")
    assert quick[0] == slow[0]
    assert quick[1:3] == slow[1:3]
    assert (prompt.tools is not None and text == CALL) == (quick[2] == "tool_calls")


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'{"id":', b'{"a":"b","id":'),
        (b'{"id":', b' {"id":'),
        (b',"usage":', b',"usage":{"a":1},"usage":'),
        (b',"usage":', b',"usage":{oops},"usage":'),
        (b',"usage":{', b',"usage":{oops,'),
        (b',"usage":', b',"usage":{},"usage":'),
        (b"}}", b'},"usage":{}}'),
        (b'"metrics":null', b'"metrics":null,"usage":{}'),
        (b'"reasoning":null', b'"reasoning":null,"usage":{"prompt_tokens":1}'),
        (b'"token_ids":null', b'"token_ids":null,"usage":{"prompt_tokens":1}'),
        (b'"refusal":null', b'"refusal":null,"content":"other","refusal":null'),
        (b'"refusal":null', b'"refusal":null,"content":"","refusal":null'),
        (b'"refusal":null', b'"x":null,"refusal":null'),
        (b'"refusal":null', b'"x":null,"y":"z","refusal":null'),
        (b'"refusal":null,', b""),
        (b'"model":', b'"model":"x","model":'),
    ],
)
def test_what_no_engine_writes_is_read_as_json_reads_it(was: bytes, becomes: bytes) -> None:
    body = recordings.answer("unary")[1].replace(was, becomes, 1)

    for _ in range(2):
        assert outcome(body, PROMPT, quick=True) == outcome(body, PROMPT, quick=False)


def test_a_usage_within_a_choice_is_not_that_of_the_answer() -> None:
    body = as_vllm(said("Hi", system_fingerprint=None)).replace(b',"usage":', b',"used":')
    body = body.replace(b'"token_ids":null', b'"token_ids":null,"usage":{"prompt_tokens":1}')

    answer = whole_answer(body, "chatcmpl-1", PROMPT)

    assert answer.usage is None


@given(cut=st.integers(min_value=0), behind=st.sampled_from([b"", b"}", b"]", b'"', b"}]}", b" "]))
def test_an_answer_that_was_cut_is_none(cut: int, behind: bytes) -> None:
    body = recordings.answer("unary")[1]
    cut %= len(body)

    assert outcome(body[:cut] + behind, PROMPT, quick=True) == outcome(body[:cut] + behind, PROMPT, quick=False)


@pytest.mark.parametrize("text", ["", "Hel"])
def test_an_answer_that_the_engine_gave_up_is_none(text: str) -> None:
    answer = said(text)
    answer["choices"][0]["finish_reason"] = "abort"

    for _ in range(2):
        with pytest.raises(EngineBroke if text else EngineRefused):
            whole_answer(as_vllm(answer), "chatcmpl-1", PROMPT)


def counting(rewritten: list[bytes]) -> Callable[[bytes, str], bytes | None]:
    """Return what rewrites and notes it."""

    def rewrite(body: bytes, model: str) -> bytes | None:
        rewritten.append(body)
        return whole._rewrite(body, model)

    return rewrite


def test_a_frame_is_rewritten_once_for_each_model_and_without_any_text() -> None:
    rewritten: list[bytes] = []
    rewrite = counting(rewritten)
    for model in ("ours", "theirs"):
        for number in range(5):
            answer = spliced(as_vllm(said(f"secret {number}", id=f"chatcmpl-{number}")), "x", model, rewrite)
            assert answer is not None
            assert json.loads(answer[0])["choices"][0]["message"]["content"] == f"secret {number}"
            assert json.loads(answer[0])["model"] == model

    assert len(rewritten) == 2
    assert all(b"secret" not in each for each in rewritten)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (
            b'"logprobs":null',
            b'"logprobs":{"content":[{"token":"secret","logprob":-1.5,"bytes":[1],"top_logprobs":[]}]}',
        ),
        (b'"reasoning":null', b'"reasoning":"secret"'),
        (b'"refusal":null', b'"refusal":"secret"'),
        (b'"stop_reason":null', b'"stop_reason":"secret"'),
        (b'"stop_reason":null', b'"stop_reason":"secret\\":\\":"'),
        (b'"token_ids":null', b'"token_ids":["secret"]'),
        (b'"prompt_text":null', b'"prompt_text":"secret"'),
        (b'"prompt_text":null', b'"prompt_text":"secret\\":"'),
    ],
)
def test_what_has_words_beside_its_text_is_not_kept(was: bytes, becomes: bytes) -> None:
    rewritten: list[bytes] = []
    body = recordings.answer("unary")[1].replace(was, becomes)

    assert spliced(body, "x", "ours", counting(rewritten)) is None
    assert not rewritten
    assert outcome(body, PROMPT, quick=True) == outcome(body, PROMPT, quick=False)


def test_a_usage_that_does_not_end_takes_no_time() -> None:
    body = recordings.answer("unary")[1].replace(b',"usage":{', b',"usage":{"a":"{","p":[' + b'{"t":1},' * 100_000)
    started = time.process_time()

    assert by_splice(body) is None
    assert time.process_time() - started < 0.5, "it was 0.2 ms"


def test_what_is_kept_of_an_answer_has_a_bound() -> None:
    rewritten: list[bytes] = []
    long = said("Hi", prompt_text="x" * 3000)

    assert spliced(as_vllm(long), "x", "ours", counting(rewritten)) is None
    assert not rewritten
    assert outcome(as_vllm(long), PROMPT, quick=True)[0]["prompt_text"] == "x" * 3000


def test_a_text_that_is_no_json_is_told_when_it_is_read() -> None:
    body = as_vllm(said("MARK")).replace(b"MARK", b"\\x")

    answer = whole_answer(body, "chatcmpl-1", PROMPT)

    with pytest.raises(EngineBroke):
        _ = answer.message
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.body)


def test_of_several_choices_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[bytes] = []
    monkeypatch.setattr(whole, "spliced", lambda body, *_: cut.append(body))

    for choices in (2, 1):
        whole_answer(as_vllm(said("Hi")), "chatcmpl-1", replace(PROMPT, choices=choices))

    assert len(cut) == 1
