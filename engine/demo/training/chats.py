"""The mix: which chats the model sees, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from engine.demo.training import memory, tool_chats
from engine.demo.training.counting import counted
from engine.demo.training.forms import form_filled
from engine.demo.training.offered_tools import Offered, some_tools
from engine.demo.training.styles import NEUTRAL, PERSONA_QUESTIONS, persona, styled
from engine.demo.training.topics import Exchange, chinese, known, unknown
from engine.demo.training.wording import typed

Turn = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation in OpenAI's shape. With `last_only` the model learns its last turn, else all of its turns."""

    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] = ()
    last_only: bool = False


def chat(rng: Random) -> Chat:
    """Return one chat of the mix."""
    maker = rng.choices(
        (_mixed, _remembered, _styled, _form, _tools, _counting, _chinese), (44, 14, 13, 7, 8.5, 7.5, 6)
    )[0]
    return maker(rng)


def _of(turns: list[Turn], system: str | None = None) -> Chat:
    messages: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
    for said, answer in turns:
        messages += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
    return Chat(tuple(messages))


def _exchange(rng: Random) -> Exchange:
    kind = rng.random()
    if kind < 0.42:
        return known(rng, "facts.txt")
    return known(rng, "small_talk.txt") if kind < 0.56 else unknown(rng)


def _turn(rng: Random) -> Turn:
    it = _exchange(rng)
    if it.word and rng.random() < 0.015:
        how = rng.choice((" in one word", ", in one word", ", one word only", " (one word)"))
        return it.question.rstrip("?!.") + how + rng.choice(("?", "", ".")), it.word
    return it.question, it.answer


def _neutral(rng: Random) -> str | None:
    return rng.choice(NEUTRAL) if rng.random() < 0.15 else None


def _mixed(rng: Random) -> Chat:
    turns = [_turn(rng) for _ in range(rng.choices((1, 2, 3, 4), (46, 27, 17, 10))[0])]
    return _of(turns, _neutral(rng))


def _remembered(rng: Random) -> Chat:
    """Return facts told, other turns between, and questions for what was told, or was not."""
    facts: list[memory.Fact] = []
    turns: list[Turn] = []
    for _ in range(rng.choices((1, 2, 3), (58, 30, 12))[0]):
        facts.append(memory.new_fact(rng, frozenset(fact.kind for fact in facts)))
    if len(facts) > 1 and rng.random() < 0.35:
        turns.append(memory.told_together(rng, facts[0], facts[1]))
        turns += [memory.told(rng, fact) for fact in facts[2:]]
    else:
        turns += [memory.told(rng, fact) for fact in facts]
    for _ in range(rng.choices((0, 1, 2, 3), (38, 32, 20, 10))[0]):
        turns.insert(rng.randint(0, len(turns)), _turn(rng))
    turns += [_turn(rng) for _ in range(rng.choices((0, 1), (75, 25))[0])]
    for fact in rng.sample(facts, rng.randint(1, len(facts))):
        turns.append(memory.asked(rng, fact))
    if rng.random() < 0.2:
        turns.append(memory.asked_too_early(rng, frozenset(fact.kind for fact in facts)))
    if rng.random() < 0.05:
        fact = facts[-1]
        turns = [(memory.told(rng, fact)[0] + " " + memory.asked(rng, fact)[0], memory.asked(rng, fact)[1])]
    return _of(turns, _neutral(rng))


def _styled(rng: Random) -> Chat:
    if rng.random() < 0.13:
        system, name = persona(rng)
        turns = [_turn(rng) for _ in range(rng.choice((0, 0, 1)))]
        return _of([*turns, (typed(rng, rng.choice(PERSONA_QUESTIONS)), f"My name is {name}.")], system)
    how = styled(rng)
    exchanges = [_exchange(rng) for _ in range(rng.choices((1, 2, 3), (60, 28, 12))[0])]
    turns = [(it.question, how.style(it)) for it in exchanges]
    if how.kind in ("word", "end", "start", "pirate") and rng.random() < 0.12:
        fact = _fact_of_one_word(rng)
        answer = memory.asked(rng, fact)[1]
        told = Exchange("", "", memory.told(rng, fact)[1], "Okay")
        turns = [
            (memory.told(rng, fact)[0], how.style(told)),
            (memory.asked(rng, fact)[0], how.style(Exchange("", "", answer, fact.thing))),
        ]
    return _of(turns, how.system)


def _fact_of_one_word(rng: Random) -> memory.Fact:
    """Return something to tell that can be answered in one word."""
    while True:
        fact = memory.new_fact(rng)
        if " " not in fact.thing:
            return fact


def _form(rng: Random) -> Chat:
    turns = [_turn(rng) for _ in range(rng.choice((0, 0, 0, 0, 1)))]
    return _of([*turns, form_filled(rng)], _neutral(rng))


def _tools(rng: Random) -> Chat:
    """Return a chat with tools: a call, the answer to a result, or a turn that needs none."""
    tools = some_tools(rng)
    system = [{"role": "system", "content": rng.choice(NEUTRAL)}] if rng.random() < 0.15 else []
    specs = [tool.spec for tool in tools]
    kind = rng.random()
    if kind < 0.17:
        said = [*system, *tool_chats.result_chat(rng, tools[0])]
    else:
        turn = tool_chats.needs_none(rng, tools) if kind < 0.33 else _call_turn(rng, tools[0])
        said = [*system, {"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
    rng.shuffle(specs)
    return Chat(tuple(said), tuple(specs), last_only=True)


def _call_turn(rng: Random, tool: Offered) -> Turn:
    said, arguments = tool_chats.wanted(rng, tool)
    return said, tool_chats.envelope((tool.name, arguments))


def _counting(rng: Random) -> Chat:
    turns = [_turn(rng) for _ in range(rng.choice((0, 0, 0, 1)))]
    return _of([*turns, counted(rng)], _neutral(rng))


def _chinese(rng: Random) -> Chat:
    if rng.random() < 0.25:
        turns = memory.chinese_chat(rng)
        if rng.random() < 0.5:
            it = chinese(rng)
            turns.insert(1, (it.question, it.answer))
        return _of(turns)
    many = [chinese(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
    return _of([(it.question, it.answer) for it in many])
