"""Any conversation as one that Gemma's chat template takes. Pure.

The template wants one system message at most, at the beginning and of one part, and then user and assistant in turns;
everything else it refuses, or it leaves text out. See `engine/demo/chat_template.jinja`, which is Gemma 3n's own.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Any

from gateway.domain import JsonObject

_SYSTEM = ("system", "developer")
_BETWEEN = "\n\n"
_TURNS = ["user", "assistant"]


def normalised(messages: tuple[JsonObject, ...]) -> tuple[JsonObject, ...]:
    """Return the same texts in turns: system texts in one message before all others, runs of one role in one turn.

    What is in turns already is returned as it is.
    """
    if _in_turns(messages):
        return messages
    system = [_text(message["content"]) for message in messages if message["role"] in _SYSTEM]
    said = [message for message in messages if message["role"] not in _SYSTEM]
    first: list[JsonObject] = [{"role": "system", "content": _paragraphs(system)}] if system else []
    if not said or said[0]["role"] != "user":
        # The template writes the system text into the first user turn, and only there. An empty one gives it a place,
        # and an assistant's greeting its turn, without a word that nobody said.
        first.append({"role": "user", "content": ""})
    runs = ((role, [message["content"] for message in run]) for role, run in groupby(said, itemgetter("role")))
    return (*first, *({"role": role, "content": _merged(contents)} for role, contents in runs))


def _in_turns(messages: tuple[JsonObject, ...]) -> bool:
    roles = [message["role"] for message in messages]
    start = 1 if roles[:1] == ["system"] else 0
    if start and not isinstance(messages[0]["content"], str) and len(messages[0]["content"]) > 1:
        return False  # The template would read the first part only.
    turns = len(roles) - start
    return turns > 0 and roles[start:] == (_TURNS * (turns // 2 + 1))[:turns]


def _merged(contents: list[Any]) -> Any:
    if len(contents) == 1:
        return contents[0]
    if all(isinstance(content, str) for content in contents):
        return _paragraphs(contents)
    return _merged_parts(contents)


def _merged_parts(contents: list[Any]) -> list[JsonObject]:
    """Return the parts of all contents in one list, with a blank line in the text where two contents meet in text.

    A blank line in a part of its own would be lost: the template strips every part.
    """
    merged: list[JsonObject] = []
    open_texts: list[str] = []
    for content in contents:
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for index, part in enumerate(parts):
            is_text = part["type"] == "text"
            if open_texts and (index or not is_text):
                merged.append({"type": "text", "text": _paragraphs(open_texts)})
                open_texts = []
            if is_text:
                open_texts.append(part["text"])
            else:
                merged.append(part)
    if open_texts:
        merged.append({"type": "text", "text": _paragraphs(open_texts)})
    return merged


def _text(content: Any) -> str:
    return content if isinstance(content, str) else _paragraphs([part["text"] for part in content])


def _paragraphs(texts: list[str]) -> str:
    return _BETWEEN.join(text for text in texts if text)
