"""What the engine is sent: history first, defaults where the client was silent, usage on every chunk."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import PromptSettings
from gateway.domain import Asked, Endpoint, History, Prompt, SessionId
from gateway.errors import InvalidRequest
from gateway.prompt import compose
from tests.fakes.samples import audio_part, image_part
from tests.unit.gateway.prompt.calls import MEDIA, MODEL, parsed

SAID = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hi!"},
)

TIME_CALL = {"id": "c", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}


def composed(
    fields: dict[str, Any], history: History | None = None, endpoint: Endpoint = Endpoint.CHAT, **settings: Any
) -> Prompt:
    """Parse and compose under the same settings."""
    return compose(parsed(fields, endpoint, **settings), history or History(), PromptSettings(**settings), MEDIA)


def body_of(prompt: Prompt) -> dict[str, Any]:
    """Return the body as the engine reads it."""
    body: dict[str, Any] = orjson.loads(prompt.body)
    return body


def test_without_history_the_engine_gets_the_request() -> None:
    prompt = composed({"temperature": 0.5})
    assert body_of(prompt) == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 0.5,
        "max_completion_tokens": 1024,
    }
    assert (prompt.endpoint, prompt.model, prompt.stream) == (Endpoint.CHAT, MODEL, False)


def test_history_comes_before_what_is_new_and_only_what_is_new_is_kept_for_the_session() -> None:
    prompt = composed({}, History(SessionId("sess_1"), SAID))
    assert body_of(prompt)["messages"] == [*SAID, {"role": "user", "content": "Hello"}]
    assert prompt.new_messages == ({"role": "user", "content": "Hello"},)


CALLS = {"role": "assistant", "content": None, "tool_calls": [TIME_CALL]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "12:00"}
NEW = st.lists(st.sampled_from([{"role": "user", "content": [{"type": "text", "text": "Hello"}]}, CALLS]), max_size=4)


@given(NEW)
def test_what_is_new_in_a_counted_session_is_counted_as_the_engine_gets_it(new: list[dict[str, Any]]) -> None:
    messages = [*new, CALLS, RESULT]
    fields = {"messages": messages, "session_id": "sess_1"}
    prompt = composed(fields, History(SessionId("sess_1"), SAID, 9), normalise=False)
    got = body_of(prompt)["messages"][len(SAID) :]
    assert len(got) == len(messages)
    assert prompt.text_bytes >= len(orjson.dumps(got))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4), st.integers(1, 4))
def test_several_prompts_have_as_many_choices_and_bytes_together(texts: list[str], n: int) -> None:
    prompt = composed({"prompt": texts, "n": n}, endpoint=Endpoint.COMPLETIONS, max_choices=16)
    assert (prompt.prompts, prompt.choices, prompt.counted_tokens) == (len(texts), n * len(texts), 0)
    assert prompt.text_bytes == len(prompt.body) > sum(map(len, texts))


@given(st.lists(st.integers(0, 262_000), min_size=1, max_size=50))
def test_of_token_ids_it_is_known_how_many_there_are(ids: list[int]) -> None:
    prompt = composed({"prompt": ids, "n": 2}, endpoint=Endpoint.COMPLETIONS)
    assert (prompt.prompts, prompt.choices) == (1, 2)
    assert (prompt.text_bytes, prompt.counted_tokens, prompt.prefill_tokens) == (0, len(ids), len(ids))
    assert body_of(prompt)["prompt"] == ids


def test_messages_are_made_to_fit_for_the_engine_and_stay_as_they_came_for_the_session() -> None:
    said = [{"role": "developer", "content": "Rhyme."}, {"role": "user", "content": "<bos>"}]
    prompt = composed({"messages": said}, History(SessionId("sess_1"), SAID))
    assert body_of(prompt)["messages"] == [
        {"role": "system", "content": "Be brief.\n\nRhyme."},
        *SAID[1:],
        {"role": "user", "content": "<\u200dbos>"},
    ]
    assert prompt.new_messages == tuple(said)


def test_for_another_model_messages_can_be_left_alone() -> None:
    said = [{"role": "developer", "content": "Rhyme."}, {"role": "user", "content": "<bos>"}]
    assert body_of(composed({"messages": said}, normalise=False))["messages"] == said


def test_a_plain_text_may_hold_control_tokens() -> None:
    prompt = composed({"prompt": "<start_of_turn>user"}, endpoint=Endpoint.COMPLETIONS)
    assert body_of(prompt)["prompt"] == "<start_of_turn>user"


def test_an_alias_is_what_the_answer_calls_the_model_and_not_what_the_engine_is_asked_for() -> None:
    prompt = composed({"model": "gpt-4o-mini"}, model_aliases={"gpt-4o-mini": MODEL})
    assert (body_of(prompt)["model"], prompt.model, prompt.answered_as) == (MODEL, MODEL, "gpt-4o-mini")
    assert composed({}).answered_as == MODEL


def test_a_text_request_has_no_messages() -> None:
    prompt = composed({}, endpoint=Endpoint.COMPLETIONS)
    assert body_of(prompt) == {"model": MODEL, "prompt": "Once", "max_tokens": 1024}
    assert prompt.new_messages == ()


@pytest.mark.parametrize("wants_usage", [True, False])
def test_a_stream_always_asks_the_engine_for_usage_on_every_chunk(wants_usage: bool) -> None:
    prompt = composed({"stream": True, "stream_options": {"include_usage": wants_usage}})
    body = body_of(prompt)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert prompt.wants_usage is wants_usage


def test_what_is_not_streamed_asks_for_no_stream() -> None:
    assert not {"stream", "stream_options"} & set(body_of(composed({})))


@pytest.mark.parametrize(
    ("fields", "settings", "sent"),
    [
        ({}, {"default_temperature": 0.7, "default_top_k": 40}, {"temperature": 0.7, "top_k": 40}),
        ({"temperature": 0}, {"default_temperature": 0.7}, {"temperature": 0}),
        ({"temperature": None}, {"default_temperature": 0.7}, {"temperature": 0.7}),
        ({}, {"default_temperature": 0.0}, {"temperature": 0.0}),
        ({}, {}, {}),
    ],
)
def test_the_servers_defaults_fill_in_for_a_silent_client(
    fields: dict[str, Any], settings: dict[str, Any], sent: dict[str, Any]
) -> None:
    body = body_of(composed(fields, **settings))
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == sent


@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_the_longest_answer_is_known(endpoint: Endpoint) -> None:
    assert composed({"max_tokens": 5}, endpoint=endpoint).output_tokens_limit == 5
    assert composed({}, endpoint=endpoint, default_max_tokens=9).output_tokens_limit == 9


@given(st.text(min_size=1))
def test_no_byte_of_text_is_left_out_of_the_size(text: str) -> None:
    prompt = composed({"messages": [{"role": "user", "content": text}]})
    assert prompt.text_bytes >= len(text.encode())


def test_composing_twice_gives_the_same_and_changes_nothing() -> None:
    asked = parsed({"stream": True})
    history = History(SessionId("sess_1"), SAID)
    before = orjson.dumps(asked.body)
    first = compose(asked, history, PromptSettings())
    assert compose(asked, history, PromptSettings()) == first
    assert orjson.dumps(asked.body) == before


def asking(*parts: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request with these parts."""
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Well?"}, *parts]}]}


def test_media_have_a_price_of_their_own_and_are_no_text() -> None:
    prompt = composed(asking(image_part(), audio_part()))
    text = composed(asking(image_part(), audio_part()) | {"messages": [{"role": "user", "content": "Well?"}]})
    assert prompt.media_tokens == 256 + 188
    assert text.media_tokens == 0
    assert 0 < prompt.text_bytes - text.text_bytes < 300
    assert len(prompt.body) > prompt.text_bytes + 16_000


def test_media_of_the_history_count_too() -> None:
    seen = tuple({"role": role, "content": [image_part()]} for role in ("user",))
    history = History(SessionId("sess_1"), (*seen, {"role": "assistant", "content": "A square."}))
    assert composed(asking(image_part()), history).media_tokens == 512
    with pytest.raises(InvalidRequest, match="at most 2 images"):
        composed(asking(image_part(), image_part()), history)


def test_media_reach_the_engine_and_the_session_as_they_came() -> None:
    parts = [image_part(), {"type": "text", "text": "<start_of_turn>"}, audio_part()]
    prompt = composed(asking(*parts))
    assert prompt.new_messages == ({"role": "user", "content": [{"type": "text", "text": "Well?"}, *parts]},)
    (sent,) = body_of(prompt)["messages"]
    assert [sent["content"][index] for index in (1, 3)] == [image_part(), audio_part()]


def test_the_callers_priority_is_the_engines_and_none_is_sent_where_there_is_none() -> None:
    call = Asked(Endpoint.COMPLETIONS, "m", {"prompt": "Say hi.", "max_tokens": 5}, False, False, None)
    assert body_of(compose(call, History(), PromptSettings(), priority=-3))["priority"] == -3
    assert "priority" not in body_of(compose(call, History(), PromptSettings()))


def test_what_is_kept_of_a_prompt_as_long_as_it_runs_is_as_large_as_its_text() -> None:
    many, fields = 200, {"messages": [{"role": "user", "content": "x" * 500}]}
    asked = parsed(fields)
    compose(asked, History(), PromptSettings(), MEDIA)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [compose(asked, History(), PromptSettings(), MEDIA).body for _ in range(many)]
        bytes_each = (tracemalloc.get_traced_memory()[0] - before) / many
    finally:
        tracemalloc.stop()
    assert bytes_each < len(kept[0]) + 200
