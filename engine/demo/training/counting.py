"""Counting and continuing lists: (question, answer)."""

from __future__ import annotations

from random import Random

from engine.demo.training.grammar import expand, phrases
from engine.demo.training.wording import typed

_SMALL = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
]
_WORDS = [*_SMALL, "eighteen", "nineteen", "twenty"]
_TENS = {30: "thirty", 40: "forty", 50: "fifty", 60: "sixty", 100: "a hundred"}
_LISTS = {
    "[days of the week|days of a week|weekdays|seven days of the week|days]": (
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
    ),
    "[months|months of the year|twelve months|months in a year]": (
        "January February March April May June July August September October November December"
    ),
    "[letters|letters of the alphabet|alphabet]": "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
    "[seasons|four seasons|seasons of the year]": "spring summer autumn winter",
    "[planets|planets of the solar system]": "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune",
}
_UP = phrases("count_up")
_DOWN = phrases("count_down")
_STEPS = phrases("count_steps")
_ON = phrases("count_on")
_NAME = phrases("count_name")
_EVER = phrases("count_ever")


def counted(rng: Random) -> tuple[str, str]:
    """Return a question for numbers or a list, and its answer."""
    way = rng.choices(
        (_up, _down, _steps, _number_sequence, _list_continued, _list_named, _ever), (30, 13, 7, 16, 12, 12, 1.2)
    )[0]
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
    return typed(rng, template.replace("{a}", _said(rng, first)).replace("{b}", _said(rng, last))).replace(
        "A hundred", "a hundred"
    )


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


def _steps(rng: Random) -> tuple[str, str]:
    kinds = {
        2: ("twos", "2", "two", "2s"),
        3: ("threes", "3", "three"),
        5: ("fives", "5", "five", "5s"),
        10: ("tens", "10", "10s"),
    }
    step = rng.choice(tuple(kinds))
    last = step * rng.randint(4, 12)
    if step == 2 and rng.random() < 0.4:
        even = rng.random() < 0.6
        kind, first = ("even", 2) if even else ("odd", 1)
        ask = rng.choice(
            (
                "list the {k} numbers up to {b}",
                "{k} numbers to {b}",
                "what are the {k} numbers up to {b}?",
                "name the {k} numbers below {b}",
            )
        )
        last = last if even else last + 1
        stop = last if "below" in ask else last + 1
        return typed(rng, ask.replace("{k}", kind).replace("{b}", str(last))), _numbers(range(first, stop, 2))
    ask = rng.choice(_STEPS).replace("{s}", rng.choice(kinds[step])).replace("{b}", str(last))
    return typed(rng, ask), _numbers(range(step, last + 1, step))


def _number_sequence(rng: Random) -> tuple[str, str]:
    step = rng.choices((1, 2, 3, 5, 10, -1, 100), (50, 14, 4, 8, 10, 8, 2))[0]
    first = rng.randint(1, 20) if rng.random() < 0.6 else rng.randint(1, 300)
    if step in (5, 10, 100) or (step in (2, 3) and rng.random() < 0.6):
        first = step * rng.randint(1, 8)
    first = first + 20 if step < 0 else first
    told = rng.randint(3, 5)
    numbers = [first + step * index for index in range(told + 7)]
    if step < 0:
        numbers = [number for number in numbers if number > 0]
    ask = rng.choice(_ON).replace("{l}", ", ".join(map(str, numbers[:told])))
    return typed(rng, ask), ", ".join(map(str, numbers[told:]))


def _list_continued(rng: Random) -> tuple[str, str]:
    items = rng.choice(tuple(_LISTS.values())).split()
    start = rng.randrange(max(1, len(items) - 4)) if rng.random() < 0.4 else 0
    told = rng.randint(2, min(4, len(items) - start - 1))
    shown = ", ".join(items[start : start + told])
    ask = rng.choice(_ON).replace("{l}", "\x00")
    shown = shown.lower() if rng.random() < 0.25 else shown
    return typed(rng, ask).replace("\x00", shown), ", ".join(items[start + told :])


def _list_named(rng: Random) -> tuple[str, str]:
    name, items = rng.choice(tuple(_LISTS.items()))
    return typed(rng, expand(rng, rng.choice(_NAME).replace("{l}", name))), ", ".join(items.split())


def _ever(rng: Random) -> tuple[str, str]:
    return typed(rng, rng.choice(_EVER)), _numbers(range(1, 141))
