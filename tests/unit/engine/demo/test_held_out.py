"""The exam of the demo model is the one that was written, and it is well formed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.demo.evaluation.held_out import HELD_OUT, Case, read_cases
from engine.demo.evaluation.judge import FORMS, Answer, is_right, kind_of

# The file was written before the training data. A change of it would make old and new results two different things.
SHA256 = "e4c8d478da9fe7ac2219887ac797b7ba04942a25a6be70f952351c8b9092830f"
CASES = read_cases()
COUNTS = {
    "gateway": 16,
    "vllm": 15,
    "sessions": 15,
    "limits": 15,
    "streaming": 12,
    "auth": 8,
    "small_talk": 20,
    "memory": 24,
    "system_prompt": 12,
    "json": 12,
    "tools": 13,
    "lists": 12,
    "chinese": 12,
    "unknown": 97,
}


def words_of(case: Case) -> Iterator[str]:
    """Yield every word that the text expectations of a case name."""
    for group in (*case.expect.get("any", ()), *case.expect.get("none", ())):
        yield from [group] if isinstance(group, str) else group


def test_the_file_is_frozen() -> None:
    assert hashlib.sha256(HELD_OUT.read_bytes()).hexdigest() == SHA256


def test_every_skill_has_its_share_and_a_third_is_unknown() -> None:
    counts = Counter(case.skill for case in CASES)
    assert counts == COUNTS
    assert len(CASES) >= 240
    assert 1 / 3 <= counts["unknown"] / len(CASES) < 0.36


def test_no_case_is_there_twice() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    assert len({json.dumps(case.request(), sort_keys=True) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_case_is_well_formed(case: Case) -> None:
    assert case.id.startswith(case.skill)
    roles = [message["role"] for message in case.messages]
    turns = roles[1:] if roles[0] == "system" else roles
    assert turns == ["user", "assistant"] * (len(turns) // 2) + ["user"]
    assert all(set(message) == {"role", "content"} and message["content"].strip() for message in case.messages)
    assert (kind_of(case.expect) == "unknown") == (case.skill == "unknown")
    assert all(word and word == word.lower() for word in words_of(case))
    assert set(case.expect.get("form", ())) <= set(FORMS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_silence_is_never_right(case: Case) -> None:
    assert not is_right(Answer(), case.expect)


def test_a_refusal_is_right_for_the_unknown_and_for_nothing_that_the_model_should_know() -> None:
    refusal = Answer("I am sorry, I am only a demo. Ask me about gemma-gateway, vLLM, sessions, limits or streaming.")
    assert [case.id for case in CASES if is_right(refusal, case.expect) != (case.skill == "unknown")] == []


def test_what_a_tool_case_expects_fits_the_tools_it_sends() -> None:
    calls = [case for case in CASES if "tool" in case.expect]
    assert len(calls) >= 11
    for case in calls:
        tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in case.tools}
        assert set(case.expect["arguments"]) == set(tools[case.expect["tool"]]["required"])


def test_what_a_json_case_expects_fits_its_schema() -> None:
    for case in (case for case in CASES if case.skill == "json"):
        assert case.response_format is not None
        properties = case.response_format["json_schema"]["schema"]["properties"]
        kinds = {"string": str, "integer": int}
        assert all(type(value) is kinds[properties[name]["type"]] for name, value in case.expect["json"].items())


def test_a_memory_case_tells_what_it_asks_for() -> None:
    for case in (case for case in CASES if case.skill == "memory"):
        told = case.messages[0]["content"].lower()
        assert all(word in told for word in case.expect["any"])
        assert case.expect["any"][0] not in case.messages[-1]["content"].lower()


@pytest.mark.parametrize(
    ("line", "error"), [('{"id": "x"}', TypeError), ('{"id": "x", "hint": 1}', TypeError), ("{", ValueError)]
)
def test_a_line_that_is_no_case_is_refused(line: str, error: type[Exception], tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(error):
        read_cases(path)
