"""Chat messages: roles and text, and the place named where something else is sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.prompt.media import TEXT_ONLY, MediaLimits
from gateway.prompt.messages import ROLES, checked_in_session, checked_messages, messages_as_they_came
from tests.fakes.samples import audio_part, image_part, input_audio

PARTS = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]


LINK = {"type": "url_citation", "url_citation": {"url": "https://example.org"}}
GOT_BACK: dict[str, Any] = {"id": "msg_1", "annotations": [LINK], "reasoning": "Hm.", "reasoning_content": "Hm."}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}

SOME = MediaLimits(4, 4, 100_000, 10_000, 30.0)


def message(**fields: Any) -> dict[str, Any]:
    """Return a user's message with `fields` in it."""
    return {"role": "user", "content": "Hi", **fields}


def refused(value: Any, media: MediaLimits = TEXT_ONLY) -> InvalidRequest:
    """Return the error that these messages are refused with."""
    with pytest.raises(InvalidRequest) as caught:
        checked_messages(value, 10, media=media)
    return caught.value


@pytest.mark.parametrize(
    ("given_message", "seen"),
    [
        (message(), message()),
        (message(content=""), message(content="")),
        (message(name="Ann"), message()),
        (message(role="assistant", refusal=None, annotations=[], audio=None, tool_calls=[]), message(role="assistant")),
        (message(role="assistant", **GOT_BACK), message(role="assistant")),
        (message(**GOT_BACK), message()),
        (
            message(role="assistant", content=[PARTS[0], {"type": "refusal", "refusal": "I cannot."}]),
            message(role="assistant", content=[PARTS[0], {"type": "text", "text": "I cannot."}]),
        ),
        (message(role="developer"), message(role="developer")),
        (message(role="system"), message(role="system")),
        (message(content=PARTS), message(content=PARTS)),
        (message(content=[{**part, "cache_control": {}} for part in PARTS]), message(content=PARTS)),
    ],
)
def test_the_engine_sees_role_and_text_only(given_message: dict[str, Any], seen: dict[str, Any]) -> None:
    assert checked_messages([given_message], 10) == (seen,)


@pytest.mark.parametrize(
    ("value", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        ({}, "messages"),
        ("hi", "messages"),
        ([message()] * 11, "messages"),
        (["hi"], "messages[0]"),
        ([None], "messages[0]"),
        ([message(), message(role="tool")], "messages[1].tool_call_id"),
        ([message(role=None)], "messages[0].role"),
        ([message(role=["user"])], "messages[0].role"),
        ([message(role={})], "messages[0].role"),
        ([message(role=3)], "messages[0].role"),
        ([{"content": "Hi"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([message(content=None)], "messages[0].content"),
        ([message(content=5)], "messages[0].content"),
        ([message(content=[])], "messages[0].content"),
        ([message(content={"type": "text"})], "messages[0].content"),
        ([message(content=["Hi"])], "messages[0].content[0]"),
        ([message(content=[{"type": "text", "text": "a"}, {"type": "image_url"}])], "messages[0].content[1]"),
        ([message(content=[{"type": "text", "text": None}])], "messages[0].content[0]"),
        ([message(content=[{"type": ["text"], "text": "x"}])], "messages[0].content[0]"),
        ([message(tool_calls=[{"id": "x"}])], "messages[0].tool_calls"),
        ([message(refusal="no")], "messages[0].refusal"),
        ([message(role="assistant", audio={"id": "a"})], "messages[0].audio"),
        ([message(role="assistant", function_call={"name": "f"})], "messages[0].function_call"),
        ([message(content=[{"type": "refusal", "refusal": "no"}])], "messages[0].content[0]"),
        ([message(role="assistant", content=[{"type": "refusal", "text": "no"}])], "messages[0].content[0]"),
        ([message(role="assistant", content=[{"type": "refusal", "refusal": 5}])], "messages[0].content[0]"),
        ([message(color="red")], "messages[0].color"),
        ([message(**{"x" * 100: 1})], "messages[0]." + "x" * 64),
    ],
)
def test_what_is_wrong_is_named_by_its_place(value: Any, param: str) -> None:
    error = refused(value)
    assert error.param == param
    assert param in error.message


def test_images_and_clips_pass_in_their_order() -> None:
    content = [PARTS[0], image_part(), PARTS[1], input_audio(), image_part()]
    (seen,) = checked_messages([message(content=content)], 10, media=SOME)
    assert seen["content"] == [PARTS[0], image_part(), PARTS[1], audio_part(), image_part()]


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
@pytest.mark.parametrize("part", [image_part(), audio_part()])
def test_only_a_user_shows_and_plays(role: str, part: dict[str, Any]) -> None:
    assert refused([message(role=role, content=[part])], SOME).param == "messages[0].content[0]"


def test_a_tool_answers_in_text() -> None:
    answer = {"role": "tool", "tool_call_id": "c", "content": [image_part()]}
    asked = message(role="assistant", content=None, tool_calls=[CALL])
    assert refused([message(), asked, answer], SOME).param == "messages[2].content[0]"


def test_calls_and_results_come_back_with_what_a_server_wrote_beside_them() -> None:
    refusal = [{"type": "refusal", "refusal": "Not that."}]
    calls = message(role="assistant", content=refusal, tool_calls=[CALL], **GOT_BACK)
    result = {"role": "tool", "tool_call_id": "c", "content": "x", **GOT_BACK}
    seen = checked_messages([calls, result], 10)
    assert seen[0]["content"] == 'Not that.\n\n{"tool_calls":[{"name":"f","arguments":{}}]}'
    assert "Hm." not in str(seen)
    assert refused([calls, {**result, "content": refusal}]).param == "messages[1].content[0]"


def test_a_session_keeps_what_the_model_is_told_and_not_what_a_server_wrote_beside_it() -> None:
    refusal = message(role="assistant", content=[{"type": "refusal", "refusal": "Not that."}])
    kept = messages_as_they_came([{**refusal, **GOT_BACK}], 10)
    assert kept == (refusal,)
    assert checked_in_session(kept, (message(),))[0]["content"] == [{"type": "text", "text": "Not that."}]


def test_the_number_of_messages_is_bounded() -> None:
    assert len(checked_messages([message()] * 10, 10)) == 10


def test_unknown_fields_can_be_dropped() -> None:
    assert checked_messages([message(color="red")], 10, drops_unknown=True) == (message(),)


@given(st.lists(st.tuples(st.sampled_from(sorted(ROLES)), st.text()), min_size=1, max_size=10))
def test_text_passes_unchanged_in_its_order(said: list[tuple[str, str]]) -> None:
    seen = checked_messages([{"role": role, "content": content} for role, content in said], 10)
    assert [item["content"] for item in seen] == [content for _, content in said]
    assert all(set(item) == {"role", "content"} for item in seen)
