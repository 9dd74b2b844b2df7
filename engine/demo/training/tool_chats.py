"""Chats with tools, in OpenAI's shape. What the prompt makes of them is the gateway's doing: `tools/train_demo.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any

from engine.demo.training.forms import compact
from engine.demo.training.grammar import draw, expand, with_articles
from engine.demo.training.memory import person
from engine.demo.training.offered_tools import Offered, alike, may_mean, table
from engine.demo.training.topics import Exchange, known, refusal, unknown
from engine.demo.training.wording import typed

_WEATHER = ("{weather} and {n} degrees", "{weather}, {n} C", "{n} degrees, {weather}", "{weather}")
_TOLD_APART = frozenset(("search", "gateway", "talk"))
"""Groups whose questions somebody may also put to the model itself."""
_TAIL = re.compile(r"(?:,? please| thanks| again| for me| right now)?[?!. ]*", re.IGNORECASE)
"""What may stand behind a value at the end of a message: nothing that could be taken for a part of it."""


def wanted(rng: Random, tool: Offered) -> tuple[str, dict[str, Any]]:
    """Return a question that needs the tool, and the arguments: all that are required, and those of the question."""
    return _wanted(rng, tool)[1:]


def _wanted(rng: Random, tool: Offered) -> tuple[str, str, dict[str, Any]]:
    """Return the question in plain words with marks for the values, as it is typed, and the arguments."""
    arguments = tool.tool.arguments
    values = {argument.slot: argument.kind.value(rng) for argument in arguments}
    if rng.random() < 0.06:
        free = {argument.slot for argument in arguments if argument.kind.how == ":"}
        values = {slot: value.lower() if slot in free else value for slot, value in values.items()}
    marks = {slot: chr(index + 1) for index, slot in enumerate(values)}
    ask = _ask(rng, tool, marks)
    said = _said(rng, ask, marks)
    named = {slot for slot, mark in marks.items() if mark in ask}
    for slot, mark in marks.items():
        said = _with_value(said, mark, str(values[slot]))
    return ask, said, {key: values[slot] for slot, key in tool.keys.items() if slot in named}


def _with_value(said: str, mark: str, value: str) -> str:
    """Return it with the value where its mark is, and with the article that goes with the value."""
    article = with_articles(f"a {value[0]}")[:-1]
    return re.sub(rf"\ba (?={mark})", article, said).replace(mark, value)


def _ask(rng: Random, tool: Offered, marks: dict[str, str]) -> str:
    """Return a way to ask with a mark for each value; it names what is required and nothing that was not sent."""
    needed = {argument.slot for argument in tool.tool.arguments if not argument.optional}
    while True:
        ask = rng.choice(tool.tool.asks)
        for slot, mark in marks.items():
            ask = ask.replace(f"{{{slot}}}", mark)
        ask = expand(rng, ask)
        if needed <= {slot for slot, mark in marks.items() if mark in ask} <= tool.keys.keys():
            return ask


def _said(rng: Random, ask: str, marks: dict[str, str]) -> str:
    """Return it as typed, with nothing behind a value at its end that looks like a part of the value."""
    last = re.compile(f"[{''.join(marks.values())}]") if marks else None
    ends = last is not None and last.match(ask.rstrip("?!. ")[-1:]) is not None
    while True:
        said = typed(rng, ask)
        if last is None or not ends or _TAIL.fullmatch(last.split(said)[-1]):
            return said


def envelope(*calls: tuple[str, dict[str, Any]]) -> str:
    """Return the calls as the model writes them."""
    listed = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return compact({"tool_calls": listed})


def needs_none(rng: Random, tools: Sequence[Offered]) -> tuple[str, str]:
    """Return a question that no tool is needed for, or that none of them is good for, and the usual answer."""
    kind = rng.random()
    if kind < 0.25 and not any("search" in tool.tool.groups for tool in tools):
        return _not_offered(rng, tools) if kind < 0.1 else _turn(_apart(rng, tools, "unknown"))
    return _turn(known(rng, "facts.txt") if kind < 0.6 else _apart(rng, tools, "small_talk.txt"))


def _turn(it: Exchange) -> tuple[str, str]:
    return it.question, it.answer


def _apart(rng: Random, tools: Sequence[Offered], name: str) -> Exchange:
    """Return an exchange in which nobody asks for one of the tools."""
    while True:
        it = unknown(rng) if name == "unknown" else known(rng, name)
        if not any(may_mean(it.question, tool.tool) for tool in tools):
            return it


def _not_offered(rng: Random, tools: Sequence[Offered]) -> tuple[str, str]:
    """Return a question for a tool that is not there; what the model knows something about is left out."""
    while True:
        tool = rng.choice(table().tools)
        if tool.groups & _TOLD_APART or any(alike(tool, other.tool) for other in tools):
            continue
        every = {argument.slot: argument.slot for argument in tool.arguments}
        ask, said, arguments = _wanted(rng, Offered(tool, "", every, {}))
        if arguments and not any(may_mean(said, other.tool) for other in tools):
            return said, refusal(ask)


def result_chat(rng: Random, tool: Offered) -> list[dict[str, Any]]:
    """Return a chat in which the tool has answered, and the model says so."""
    said, arguments = wanted(rng, tool)
    if tool.tool is table().tools[0]:
        content, answer = _weather(rng, str(next(iter(arguments.values()))))
    else:
        content, answer = _result(rng)
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": tool.name, "arguments": json.dumps(arguments, ensure_ascii=False)},
    }
    return [
        {"role": "user", "content": said},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": content},
        {"role": "assistant", "content": answer},
    ]


def _weather(rng: Random, place: str) -> tuple[str, str]:
    """Return what the weather tool says, in words or as JSON, and the model after it."""
    kind, degrees = draw(rng, "weather"), rng.randint(-9, 39)
    if rng.random() < 0.4:
        keys = (rng.choice(("temperature", "temp", "degrees")), rng.choice(("condition", "sky", "weather")))
        return json.dumps(dict(zip(keys, (degrees, kind), strict=True))), (
            f"The weather in {place}: {kind}, {degrees} degrees."
        )
    plain = expand(rng, rng.choice(_WEATHER), {"n": (str(degrees),), "weather": (kind,)})
    return plain, f"The weather in {place}: {plain}."


def _result(rng: Random) -> tuple[str, str]:
    """Return what a tool says and the model after it, which repeats a text, and the members of an object."""
    if rng.random() < 0.3:
        kinds = rng.sample(("price", "name", "status", "count", "time", "city", "total", "date"), rng.randint(1, 2))
        members = {kind: _member(rng, kind) for kind in kinds}
        return json.dumps(members), f"The result is: {', '.join(f'{key} {value}' for key, value in members.items())}."
    texts = (
        str(rng.randint(1, 9999)),
        f"{rng.randint(0, 23)}:{rng.randint(10, 59)}",
        f"{draw(rng, 'adjective')} {draw(rng, 'noun')}",
        rng.choice(("done", "ok", "sent", "saved", "no result", "not found", "3 results", "on time", "delivered")),
        person(rng),
        f"{rng.randint(100, 9999) / 100} {rng.choice(('euros', 'dollars', 'km', 'EUR', 'USD', 'kg'))}",
    )
    content = rng.choice(texts)
    return content, f"The result is: {content}."


def _member(rng: Random, kind: str) -> Any:
    if kind in ("price", "total"):
        return rng.choice((rng.randint(1, 999), rng.randint(100, 9999) / 100))
    if kind == "count":
        return rng.randint(0, 500)
    return table().kinds["clock" if kind == "time" else kind].value(rng)
