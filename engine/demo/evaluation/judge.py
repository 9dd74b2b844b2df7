"""Whether an answer of the demo model is right: pure functions, so that anybody's count comes out the same.

What a case expects is one of the kinds in `KINDS`. Text is compared without regard to case, to the width of blanks
and to the shape of apostrophes. README.md, beside this file, describes the kinds for people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BESIDE: Mapping[str, frozenset[str]] = {
    "any": frozenset({"none"}),
    "count": frozenset({"none"}),
    "tool": frozenset({"arguments"}),
}
"""What may stand beside a kind. (`none` alone is no kind: silence would meet it.)"""

_NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_DEMO = ("demo", "演示")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as it stands in an OpenAI message: `arguments` is JSON text, which the model may have got wrong."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: text, or calls of tools."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()

    @classmethod
    def of_message(cls, message: Mapping[str, Any]) -> Answer:
        """Read `choices[0].message` of a chat completion."""
        calls = [call["function"] for call in message.get("tool_calls") or ()]
        return cls(message.get("content") or "", tuple(ToolCall(call["name"], call["arguments"]) for call in calls))


def is_right(answer: Answer, expect: Mapping[str, Any]) -> bool:
    """Say whether an answer is what the case expects. Raises `ValueError` for an expectation of no known kind."""
    kind = kind_of(expect)
    if kind != "tool" and answer.tool_calls:
        return False
    return KINDS[kind](answer, expect)


def kind_of(expect: Mapping[str, Any]) -> str:
    """Return which of `KINDS` an expectation is. Raises `ValueError` where it is none, or more than one."""
    found = [kind for kind in KINDS if kind in expect]
    if len(found) != 1 or not set(expect) - set(found) <= BESIDE.get(found[0], frozenset()):
        raise ValueError(f"an expectation of no known kind: {dict(expect)}")
    return found[0]


def _has_words(answer: Answer, expect: Mapping[str, Any]) -> bool:
    groups = expect["any"]
    alternatives = [groups] if isinstance(groups[0], str) else groups
    return _avoids(answer, expect) and all(any(contains(answer.text, word) for word in each) for each in alternatives)


def _avoids(answer: Answer, expect: Mapping[str, Any]) -> bool:
    return not any(contains(answer.text, word) for word in expect.get("none", ()))


def contains(text: str, word: str) -> bool:
    """Say whether a word of the text begins with `word`: "token" is in "Tokens are …", "red" is not in "remembered"."""
    return re.search(rf"(?<![a-z0-9]){re.escape(_folded(word))}", _folded(text)) is not None


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("’", "'")).lower()


def _is_object(answer: Answer, expect: Mapping[str, Any]) -> bool:
    return _has_members(answer.text, expect["json"])


def _has_members(text: str, members: Mapping[str, Any]) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and all(_same(found.get(name), value) for name, value in members.items())


def _same(found: object, wanted: object) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return _folded(found).strip() == _folded(wanted)
    # In Python `True == 1`; in JSON they are different.
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted


def _is_call(answer: Answer, expect: Mapping[str, Any]) -> bool:
    calls = answer.tool_calls
    return len(calls) == 1 and calls[0].name == expect["tool"] and _has_members(calls[0].arguments, expect["arguments"])


def _is_demo(answer: Answer, expect: Mapping[str, Any]) -> bool:
    return expect["unknown"] is True and any(contains(answer.text, word) for word in _DEMO)


def _is_count(answer: Answer, expect: Mapping[str, Any]) -> bool:
    wanted = expect["count"]
    said: Sequence[object] = _numbers(answer.text) if isinstance(wanted[0], int) else _words(answer.text)
    return _avoids(answer, expect) and _has_run(said, wanted)


def _numbers(text: str) -> list[int]:
    found = re.findall(r"[0-9]+|[a-z]+", text.lower())
    return [int(each) if each.isdigit() else _NUMBER_WORDS.index(each) for each in found if _is_number(each)]


def _is_number(word: str) -> bool:
    return word.isdigit() or word in _NUMBER_WORDS


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W\d_]+", text.lower()) if word != "and"]


def _has_run(said: Sequence[object], wanted: Sequence[object]) -> bool:
    """Say whether `wanted` is in `said` without a gap: a number left out or said twice is a mistake."""
    size = len(wanted)
    return any(list(said[start : start + size]) == list(wanted) for start in range(len(said) - size + 1))


def _has_form(answer: Answer, expect: Mapping[str, Any]) -> bool:
    text = answer.text.strip()
    return bool(text) and all(FORMS[name](text, wanted) for name, wanted in expect["form"].items())


FORMS: Mapping[str, Callable[[str, Any], bool]] = {
    "most_words": lambda text, wanted: len(text.split()) <= wanted,
    "starts_with": lambda text, wanted: _folded(text).startswith(_folded(wanted)),
    "ends_with": lambda text, wanted: _folded(text).endswith(_folded(wanted)),
    "case": lambda text, wanted: text.isupper() if wanted == "upper" else text.islower(),
}
"""What a system prompt can ask of the looks of an answer."""

KINDS: Mapping[str, Callable[[Answer, Mapping[str, Any]], bool]] = {
    "any": _has_words,
    "json": _is_object,
    "tool": _is_call,
    "unknown": _is_demo,
    "count": _is_count,
    "form": _has_form,
}
"""Every kind of expectation, by the member that names it."""
