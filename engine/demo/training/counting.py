"""Counting and continuing lists: (question, answer)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from engine.demo.training.grammar import expand, lines_of, phrases
from engine.demo.training.wording import typed

_WORDS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_TENS = {30: "thirty", 40: "forty", 50: "fifty", 60: "sixty", 100: "a hundred"}
_STEP_NAMES = {
    2: "twos|2|two|2s",
    3: "threes|3|three|3s",
    4: "fours|4|four|4s",
    5: "fives|5|five|5s",
    10: "tens|10|ten|10s",
    20: "twenties|20|twenty",
    25: "25|twenty-five",
    50: "fifties|50|fifty",
    100: "hundreds|100|a hundred",
}
_STEP_WEIGHTS = (9, 4, 2, 8, 8, 2, 1, 1, 2)
_LONGEST_BACKWARDS = 12


@dataclass(slots=True)
class Listed:
    """A list that is known: what it is called, what one of them is called, and how often it is asked for."""

    name: str
    weight: int
    one: str = ""
    items: Sequence[str] = ()


@cache
def lists() -> Sequence[Listed]:
    """Return the lists of lists.txt, which says itself how it is written."""
    found: list[Listed] = []
    for line in lines_of("lists.txt"):
        mark, text = line.split(" ", 1)
        if mark == "=":
            weight, name = text.split(" ", 1)
            found.append(Listed(name, int(weight)))
        elif mark == "1":
            found[-1].one = text
        else:
            found[-1].items = text.split("|")
    return found


_UP = phrases("count_up")
_DOWN = phrases("count_down")
_STEPS = phrases("count_steps")
_STEPS_BACK = phrases("count_steps_back")
_FIRST_MULTIPLES = phrases("count_multiples")
_PARITY = phrases("count_even_odd")
_IN_WORDS = phrases("count_in_words")
_ON = phrases("count_on")
_PART = phrases("count_part")
_FIRST = phrases("count_first")
_BACK = phrases("count_back")
_AFTER = phrases("count_after")
_NAME = phrases("count_name")
_EVER = phrases("count_ever")


def counted(rng: Random) -> tuple[str, str]:
    """Return a question for numbers or a list, and its answer."""
    ways = {
        _up: 28,
        _down: 12,
        _steps: 6,
        _steps_back: 1.5,
        _even_or_odd: 3,
        _multiples: 2,
        _in_words: 2,
        _number_sequence: 16,
        _list_continued: 12,
        _list_named: 12,
        _list_part: 4,
        _after: 2,
        _ever: 1.2,
    }
    (way,) = rng.choices(tuple(ways), tuple(ways.values()))
    return way(rng)


def _numbers(numbers: range) -> str:
    return ", ".join(map(str, numbers))


def _said(rng: Random, number: int) -> str:
    if rng.random() < 0.3:
        if 0 < number <= len(_WORDS):
            return _WORDS[number - 1]
        return _TENS.get(number, str(number))
    return str(number)


def _asked(rng: Random, template: str, first: int, last: int) -> str:
    return typed(rng, template.replace("{a}", _said(rng, first)).replace("{b}", _said(rng, last)))


def _up(rng: Random) -> tuple[str, str]:
    template = rng.choice(_UP)
    first = 1
    if "{a}" in template and rng.random() < 0.65:
        first = rng.randint(0, 20) if rng.random() < 0.6 else rng.randint(0, 200)
    length = rng.choices(
        (rng.randint(3, 20), rng.choice((10, 10, 12, 15, 20, 25, 30)), rng.randint(20, 60), 100), (50, 30, 8, 1.5)
    )[0]
    last = first + length - 1
    return _asked(rng, template, first, last), _numbers(range(first, last + 1))


def _down(rng: Random) -> tuple[str, str]:
    template = rng.choice(_DOWN)
    last = rng.choices((rng.randint(3, 12), rng.choice((5, 10, 10, 20)), rng.randint(10, 40)), (5, 5, 1))[0]
    first = rng.randint(max(0, last - 20), last - 2) if "{a}" in template and rng.random() < 0.6 else 1
    return _asked(rng, template, first, last), _numbers(range(last, first - 1, -1))


def _step(rng: Random) -> tuple[int, str]:
    """Return a step, and how it is said."""
    (step,) = rng.choices(tuple(_STEP_NAMES), _STEP_WEIGHTS)
    return step, rng.choice(_STEP_NAMES[step].split("|"))


def _steps(rng: Random) -> tuple[str, str]:
    step, said = _step(rng)
    last = step * rng.randint(4, 12)
    ask = rng.choice(_STEPS).replace("{s}", said).replace("{b}", str(last))
    return typed(rng, ask), _numbers(range(step, last + 1, step))


def _steps_back(rng: Random) -> tuple[str, str]:
    step, said = _step(rng)
    first = step * rng.randint(4, 11)
    ask = rng.choice(_STEPS_BACK).replace("{s}", said).replace("{b}", str(first))
    return typed(rng, ask), _numbers(range(first, 0, -step))


def _multiples(rng: Random) -> tuple[str, str]:
    step = rng.choice((2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 100))
    ask, count = rng.choice(_FIRST_MULTIPLES), rng.choice((3, 4, 5, 6, 8, 10))
    count = count if "{n}" in ask or "{b}" in ask else 10
    told = "100" if step == 100 else _said(rng, step)  # "The a hundred times table" nobody says.
    ask = ask.replace("{n}", _said(rng, count)).replace("{s}", told).replace("{b}", str(step * count))
    return typed(rng, ask), _numbers(range(step, step * count + 1, step))


def _even_or_odd(rng: Random) -> tuple[str, str]:
    """Return a question for even or odd numbers; the limit is in, unless they are asked `below` it."""
    ask = rng.choice(_PARITY)
    kind, odd = rng.choice((("even", 0), ("odd", 1)))
    first = rng.randint(1, 30) if "{a}" in ask else 1
    last = first + rng.randint(7, 20)
    numbers = [each for each in range(first, last + ("below" not in ask)) if each % 2 == odd]
    ask = ask.replace("{k}", kind).replace("{a}", str(first)).replace("{b}", str(last))
    return typed(rng, ask), ", ".join(map(str, numbers))


def _in_words(rng: Random) -> tuple[str, str]:
    ask, last = rng.choice(_IN_WORDS), rng.randint(3, 20)
    words = _WORDS[:last]
    return _asked(rng, ask, 1, last), ", ".join(reversed(words) if "down" in ask else words)


def _number_sequence(rng: Random) -> tuple[str, str]:
    step = rng.choices((1, 2, 3, 5, 10, -1, 100), (50, 14, 4, 8, 10, 8, 2))[0]
    first = rng.randint(1, 20) if rng.random() < 0.6 else rng.randint(1, 300)
    if step in (5, 10, 100) or (step in (2, 3) and rng.random() < 0.6):
        first = step * rng.randint(1, 8)
    first = first + 20 if step < 0 else first
    told = rng.randint(3, 5)
    numbers = [first + step * index for index in range(told + 7)]
    ask = rng.choice(_ON).replace("{l}", ", ".join(map(str, numbers[:told])))
    return typed(rng, ask), ", ".join(map(str, numbers[told:]))


def _list(rng: Random) -> Listed:
    return rng.choices(lists(), [each.weight for each in lists()])[0]


def _list_continued(rng: Random) -> tuple[str, str]:
    items: Sequence[str] = ()
    while len(items) < 4:
        items = _list(rng).items
    start = rng.randrange(max(1, len(items) - 4)) if rng.random() < 0.4 else 0
    told = items[start : start + rng.randint(2, min(4, len(items) - start - 1))]
    ask = rng.choice(_ON).replace("{l}", "\x00")
    shown = ", ".join(told).lower() if rng.random() < 0.25 else ", ".join(told)
    return typed(rng, ask).replace("\x00", shown), ", ".join(_rest(told))


def _rest(told: Sequence[str]) -> Sequence[str]:
    """Return what follows in the first list that goes on after these: five working days are a week that goes on."""
    found = (
        listed.items[at + len(told) :]
        for listed in lists()
        for at in range(len(listed.items) - len(told))
        if listed.items[at : at + len(told)] == told
    )
    return next(found)


def _list_named(rng: Random) -> tuple[str, str]:
    listed = _list(rng)
    return typed(rng, expand(rng, rng.choice(_NAME).replace("{l}", listed.name))), ", ".join(listed.items)


def _list_part(rng: Random) -> tuple[str, str]:
    """Return a question for a run of a list, for its beginning, or for the whole of it backwards."""
    items: Sequence[str] = ()
    while len(items) < 5:
        listed = _list(rng)
        items = listed.items
    start = rng.randrange(len(items) - 2)
    end = rng.randint(start + 1, min(len(items) - 1, start + 9))
    kind = rng.choice((_PART, _PART, _FIRST, _BACK if len(items) <= _LONGEST_BACKWARDS else _FIRST))
    count = rng.randint(2, min(8, len(items) - 1))
    ask = rng.choice(kind).replace("{l}", listed.name).replace("{n}", _said(rng, count))
    said = typed(rng, expand(rng, ask.replace("{a}", "\x00").replace("{b}", "\x01")))
    if kind is _BACK:
        return said, ", ".join(reversed(items))
    if kind is _FIRST:
        return said, ", ".join(items[:count])
    said = said.replace("\x00", items[start]).replace("\x01", items[end])
    return said, ", ".join(items[start : end + 1])


def _after(rng: Random) -> tuple[str, str]:
    """Return a question for the one after, or before, one of a list."""
    listed = _list(rng)
    while not listed.one:
        listed = _list(rng)
    ask = expand(rng, rng.choice(_AFTER).replace("{o}", listed.one).replace("{x}", "\x00"))
    at = rng.randrange(1, len(listed.items))
    told, answer = (at, at - 1) if "before" in ask else (at - 1, at)
    return typed(rng, ask).replace("\x00", listed.items[told]), listed.items[answer]


def _ever(rng: Random) -> tuple[str, str]:
    return typed(rng, rng.choice(_EVER)), _numbers(range(1, 141))
