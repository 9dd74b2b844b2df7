"""The tools of the chats: read from data/tools.txt, and drawn as a client would send them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from engine.demo.training.grammar import draw, lines_of, top_level, with_articles

_SLOT = re.compile(r"\{([a-zA-Z0-9]+)\}")
_WORD = re.compile(r"[a-z]{4,}")
_COMMON_TOOLS = 8
"""A word that so many tools are asked for with tells none of them."""
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value. `how`: `#` whole numbers, `%` numbers, `=` one of a few that the schema lists, `:` texts."""

    how: str
    text: str

    def value(self, rng: Random) -> Any:
        """Return a value of this kind."""
        if self.how in "#%":
            low, high = map(int, self.text.split())
            return rng.randint(low, high) if self.how == "#" or rng.random() < 0.4 else _broken(rng, low, high)
        return _filled(rng, rng.choice(self.text.split("|")))

    def schema(self, rng: Random) -> dict[str, Any]:
        """Return the JSON Schema that a client gives for it."""
        if self.how in "#%":
            return {"type": "integer" if self.how == "#" and rng.random() < 0.75 else "number"}
        return {"type": "string", "enum": self.text.split("|")} if self.how == "=" else {"type": "string"}


def _broken(rng: Random, low: int, high: int) -> float:
    return round(rng.uniform(low, high), rng.choice((1, 2)))


def _filled(rng: Random, template: str) -> str:
    return with_articles(_SLOT.sub(lambda slot: _part(rng, slot[1]), template))


def _part(rng: Random, name: str) -> str:
    """Return a digit for `d`, a capital for `L`, else a value of the kind, or a word of the list, of that name."""
    if name in ("d", "L"):
        return rng.choice("0123456789" if name == "d" else _LETTERS)
    kinds = table().kinds
    return str(kinds[name].value(rng)) if name in kinds else draw(rng, name)


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument: its slot in the ways to ask, its kind, the names it may have. What is optional may stay unsaid."""

    slot: str
    kind: Kind
    names: Sequence[str]
    optional: bool


@dataclass(slots=True, eq=False)
class Tool:
    """A tool: its names, what it does, its arguments and how people ask for it. Tools of one group are much alike."""

    names: Sequence[str]
    groups: frozenset[str] = frozenset()
    does: list[str] = field(default_factory=list)
    arguments: list[Argument] = field(default_factory=list)
    asks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Table:
    """What data/tools.txt holds. The first tool is the one that is asked for most."""

    kinds: dict[str, Kind]
    tools: list[Tool]


@cache
def table() -> Table:
    """Return the kinds and tools of the data file, which says itself how it is written."""
    found = Table({}, [])
    for line in lines_of("tools.txt"):
        mark, text = line.split(" ", 1)
        if mark == "K":
            name, how, values = text.split(" ", 2)
            found.kinds[name] = Kind(how, values)
        elif mark == "=":
            found.tools.append(Tool(text.split("|")))
        elif mark == "G":
            found.tools[-1].groups = frozenset(text.split())
        elif mark == "A":
            found.tools[-1].arguments.append(_argument(text, found.kinds))
        else:
            {"D": found.tools[-1].does, "Q": found.tools[-1].asks}[mark].extend(top_level(text))
    return found


def _argument(text: str, kinds: Mapping[str, Kind]) -> Argument:
    """Return the argument of `slot names` or `slot:kind names`, with a `?` where it is optional."""
    what, names = text.split(" ", 1)
    slot, _, kind = what.replace("?", "").partition(":")
    return Argument(slot, kinds[kind or slot], names.split("|"), "?" in what)


@cache
def _said(tool: Tool) -> frozenset[str]:
    """Return the longer words of the ways to ask."""
    return frozenset(_WORD.findall(_SLOT.sub("", " ".join(tool.asks))))


@cache
def _telling(tool: Tool) -> frozenset[str]:
    """Return the longer words of the ways to ask, but for those that many tools are asked for with."""
    counted = Counter(word for each in table().tools for word in _said(each))
    return frozenset(word for word in _said(tool) if counted[word] < _COMMON_TOOLS)


def may_mean(question: str, tool: Tool) -> bool:
    """Whether a telling word of the question is one that people ask for this tool with."""
    return not _telling(tool).isdisjoint(_WORD.findall(question.lower()))


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool as it is sent, the name that it has there, and those of its arguments by slot."""

    tool: Tool
    name: str
    keys: Mapping[str, str]
    spec: dict[str, Any]


def offered(rng: Random, tool: Tool) -> Offered:
    """Return the tool as a client would send it; some of its optional arguments are left out."""
    name = _cased(rng, rng.choice(tool.names))
    sent = [argument for argument in tool.arguments if not argument.optional or rng.random() < 0.55]
    keys: dict[str, str] = {}
    properties: dict[str, Any] = {}
    described = rng.random() < 0.25
    for argument in sent:
        names = [each for each in argument.names if each not in properties]
        key = rng.choice(names)
        keys[argument.slot] = key
        properties[key] = _property(rng, argument, key if described else "")
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    needed = [keys[argument.slot] for argument in sent if not argument.optional]
    if needed and rng.random() < 0.93:
        parameters["required"] = needed
    if rng.random() < 0.25:
        parameters["additionalProperties"] = False
    function: dict[str, Any] = {"name": name, "parameters": parameters}
    if rng.random() < 0.75:
        function["description"] = rng.choice(tool.does)
    return Offered(tool, name, keys, {"type": "function", "function": function})


def _cased(rng: Random, name: str) -> str:
    """Return the name as it is, or now and then in another of the customary spellings."""
    kind = rng.random()
    if kind < 0.08:
        return "".join(part.capitalize() if index else part for index, part in enumerate(name.split("_")))
    return name.replace("_", "-") if kind < 0.12 else name


def _property(rng: Random, argument: Argument, described_as: str) -> dict[str, Any]:
    schema = argument.kind.schema(rng)
    if described_as:
        plain = described_as.replace("_", " ")
        example = argument.kind.value(rng)
        says = (f"The {plain}", f"{plain.capitalize()}", f"The {plain}, e.g. {example}", f"{plain}, such as {example}")
        schema["description"] = rng.choice(says)
    return schema


def some_tools(rng: Random) -> list[Offered]:
    """Return some tools that nobody takes for each other; the first of them is the one that will be asked for."""
    tools = table().tools
    chosen = [tools[0] if rng.random() < 0.34 else rng.choice(tools)]
    for _ in range(rng.choices((0, 1, 2, 3), (38, 30, 20, 12))[0]):
        others = [tool for tool in tools if not any(alike(tool, one) for one in chosen)]
        chosen.append(rng.choice(others))
    return [offered(rng, tool) for tool in chosen]


def alike(tool: Tool, other: Tool) -> bool:
    """Whether a question for one of them might as well be one for the other, or they share a name."""
    same_group = not tool.groups.isdisjoint(other.groups)
    return tool is other or same_group or not set(tool.names).isdisjoint(other.names)
