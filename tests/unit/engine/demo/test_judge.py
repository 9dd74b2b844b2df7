"""What the judge of the demo model calls right and wrong."""

from __future__ import annotations

from typing import Any

import pytest

from engine.demo.evaluation.judge import Answer, ToolCall, contains, is_right, kind_of

LETTERS = list("abc")


def call(name: str = "get_weather", arguments: str = '{"city": "Paris"}') -> Answer:
    return Answer(tool_calls=(ToolCall(name, arguments),))


@pytest.mark.parametrize(
    ("text", "expect", "right"),
    [
        ("It keeps the HISTORY.", {"any": ["history", "remember"]}, True),
        ("It keeps the past.", {"any": ["history", "remember"]}, False),
        ("A gateway for Gemma.", {"any": [["gateway", "server"], ["gemma", "vllm"]]}, True),
        ("A gateway.", {"any": [["gateway", "server"], ["gemma", "vllm"]]}, False),
        ("The history. I am only a demo.", {"any": ["history"], "none": ["only a demo"]}, False),
        ("You don’t  need one.", {"any": ["don't need"]}, True),
        ("I am only a demo.", {"unknown": True}, True),
        ("我只是一个演示。", {"unknown": True}, True),
        ("The capital is Lima.", {"unknown": True}, False),
        ("", {"unknown": True}, False),
    ],
)
def test_words_are_looked_for_whatever_their_case(text: str, expect: dict[str, Any], right: bool) -> None:
    assert is_right(Answer(text), expect) is right


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [
        ("Tokens are pieces.", "token", True),
        ("I remembered it.", "red", False),
        ("data: [DONE]", "[done]", True),
        ("1429 times", "429", False),
        ("记得你说过的话", "说过", True),
    ],
)
def test_a_word_is_found_at_its_beginning_only(text: str, word: str, found: bool) -> None:
    assert contains(text, word) is found


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('{"name": "ravi", "age": 31}', True),
        ('{"age": 31, "name": "Ravi", "more": null}', True),
        ('{"name": "Ravi", "age": "31"}', False),
        ('{"name": "Ravi"}', False),
        ('{"name": "Ravi", "age": 31', False),
        ('Here: {"name": "Ravi", "age": 31}', False),
        ("[31]", False),
    ],
)
def test_json_has_the_members_with_the_values_of_their_types(text: str, right: bool) -> None:
    assert is_right(Answer(text), {"json": {"name": "Ravi", "age": 31}}) is right


def test_true_is_not_one() -> None:
    assert not is_right(Answer('{"count": true}'), {"json": {"count": 1}})


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (call(), True),
        (call(arguments='{"city": "paris"}'), True),
        (call(arguments='{"city": "Rome"}'), False),
        (call(arguments='{"city": '), False),
        (call(name="get_time"), False),
        (Answer('get_weather({"city": "Paris"})'), False),
        (Answer(tool_calls=call().tool_calls * 2), False),
    ],
)
def test_a_tool_is_called_once_with_its_arguments(answer: Answer, right: bool) -> None:
    assert is_right(answer, {"tool": "get_weather", "arguments": {"city": "Paris"}}) is right


def test_a_call_is_wrong_where_words_are_expected() -> None:
    assert not is_right(Answer("You are welcome.", call().tool_calls), {"any": ["welcome"]})


@pytest.mark.parametrize(
    ("text", "expect", "right"),
    [
        ("1, 2, 3", {"count": [1, 2, 3]}, True),
        ("From 1 to 3: one, two and three.", {"count": [1, 2, 3]}, True),
        ("1 3 2", {"count": [1, 2, 3]}, False),
        ("1, 2, 2, 3", {"count": [1, 2, 3]}, False),
        ("1, 2, 3, 4", {"count": [1, 2, 3], "none": ["4"]}, False),
        ("12, 3", {"count": [1, 2, 3]}, False),
        ("A, b and C.", {"count": LETTERS}, True),
        ("1. a\n2. b\n3. c", {"count": LETTERS}, True),
        ("a, c, b", {"count": LETTERS}, False),
        ("abc", {"count": LETTERS}, False),
        ("Three, two", {"count": [3, 2, 1]}, False),
    ],
)
def test_a_list_has_every_item_once_and_in_order(text: str, expect: dict[str, Any], right: bool) -> None:
    assert is_right(Answer(text), expect) is right


@pytest.mark.parametrize(
    ("text", "form", "right"),
    [
        ("Fine.", {"most_words": 1}, True),
        ("Very well.", {"most_words": 1}, False),
        ("Hello. OVER. ", {"ends_with": "over."}, True),
        ("Over. Hello.", {"ends_with": "over."}, False),
        ("Dear friend, hello.", {"starts_with": "dear friend,"}, True),
        ("Hello.", {"starts_with": "dear friend,"}, False),
        ("I AM WELL, 1 2 3.", {"case": "upper"}, True),
        ("I AM well.", {"case": "upper"}, False),
        ("i am well.", {"case": "lower"}, True),
        ("I am well.", {"case": "lower"}, False),
        ("FINE.", {"case": "upper", "most_words": 1}, True),
        ("VERY WELL.", {"case": "upper", "most_words": 1}, False),
        ("  ", {"most_words": 1}, False),
    ],
)
def test_an_answer_has_the_form_that_was_asked_for(text: str, form: dict[str, Any], right: bool) -> None:
    assert is_right(Answer(text), {"form": form}) is right


@pytest.mark.parametrize(
    "expect",
    [
        {},
        {"none": ["demo"]},
        {"guess": 1},
        {"any": ["a"], "json": {}},
        {"any": ["a"], "arguments": {}},
        {"unknown": True, "none": ["a"]},
    ],
)
def test_an_expectation_of_no_known_kind_is_refused(expect: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no known kind"):
        kind_of(expect)


def test_a_message_of_a_chat_completion_is_read() -> None:
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert Answer.of_message({"content": None, "tool_calls": [{"id": "1", "function": function}]}) == call()
    assert Answer.of_message({"role": "assistant", "content": "Hello."}) == Answer("Hello.")
