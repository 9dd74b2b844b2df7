"""The kinds of things that users say about themselves: how each is told, acknowledged, asked for and recalled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.demo.training.grammar import lines_of, phrases, top_level


@dataclass(frozen=True, slots=True)
class Remembered:
    """A kind of thing to remember: how it is said, acknowledged, asked for and recalled. `{x}` is the thing."""

    tell: Sequence[str]
    reply: str
    ask: Sequence[str]
    recall: str
    never_told: str


_FAVOURITES = {
    "drink": "drink",
    "animal": "animal",
    "sport": "hobby",
    "fruit": "fruit",
    "season": "season",
    "flower": "flower",
    "month": "month",
    "subject": "subject",
    "language": "language",
}
"""With the list of words that each is drawn from."""
_RELATIONS = (
    *("sister", "brother", "son", "daughter", "wife", "husband", "mother", "father", "best friend", "neighbour"),
    *("boss", "teacher", "doctor", "boat", "company", "street", "school", "colleague", "partner", "girlfriend"),
    *("boyfriend", "cousin", "uncle", "aunt", "grandmother", "grandfather", "nephew", "niece", "flatmate", "baby"),
    *("manager", "landlord", "dentist", "coach", "twin", "fiancee", "customer", "village", "band"),
)


def _of(block: str, noun: str) -> tuple[str, ...]:
    return tuple(line.replace("{n}", noun) for line in phrases(block))


def _favourite(noun: str) -> Remembered:
    return Remembered(
        _of("memory_favourite_tell", noun),
        "I will remember that you like {x}.",
        _of("memory_favourite_ask", noun),
        f"Your favourite {noun} is {{x}}.",
        f"You have not told me your favourite {noun} yet.",
    )


def _relation(noun: str) -> Remembered:
    return Remembered(
        _of("memory_relation_tell", noun),
        "{x} is a nice name!",
        _of("memory_relation_ask", noun),
        f"Your {noun} is called {{x}}.",
        f"You have not told me about your {noun} yet.",
    )


KINDS = {
    "name": Remembered(
        phrases("memory_name_tell"),
        "Nice to meet you, {x}!",
        phrases("memory_name_ask"),
        "Your name is {x}.",
        "You have not told me your name yet.",
    ),
    "colour": Remembered(
        phrases("memory_colour_tell"),
        "I will remember that you like {x}.",
        phrases("memory_colour_ask"),
        "Your favourite colour is {x}.",
        "You have not told me your favourite colour yet.",
    ),
    "city": Remembered(
        phrases("memory_city_tell"),
        "{x} sounds like a nice place!",
        phrases("memory_city_ask"),
        "You live in {x}.",
        "You have not told me where you live yet.",
    ),
    "pet": Remembered(
        phrases("memory_pet_tell"),
        "{x} is a nice name for a {a}!",
        phrases("memory_pet_ask"),
        "Your {a} is called {x}.",
        "You have not told me about your {a} yet.",
    ),
    "food": Remembered(
        phrases("memory_food_tell"),
        "I will remember that you like {x}.",
        phrases("memory_food_ask"),
        "Your favourite food is {x}.",
        "You have not told me your favourite food yet.",
    ),
    "job": Remembered(
        phrases("memory_job_tell"),
        "That is a fine job, {x}!",
        phrases("memory_job_ask"),
        "You work as a {x}.",
        "You have not told me your job yet.",
    ),
    "hobby": Remembered(
        phrases("memory_hobby_tell"),
        "{x} is a nice hobby!",
        phrases("memory_hobby_ask"),
        "Your hobby is {x}.",
        "You have not told me your hobby yet.",
    ),
    "number": Remembered(
        phrases("memory_number_tell"),
        "I will remember the number {x}.",
        phrases("memory_number_ask"),
        "The number is {x}.",
        "You have not told me a number yet.",
    ),
    "age": Remembered(
        phrases("memory_age_tell"),
        "{x} is a good age!",
        phrases("memory_age_ask"),
        "You are {x} years old.",
        "You have not told me your age yet.",
    ),
    "language": Remembered(
        phrases("memory_language_tell"),
        "{x} is a fine language!",
        phrases("memory_language_ask"),
        "You speak {x}.",
        "You have not told me your language yet.",
    ),
    "instrument": Remembered(
        phrases("memory_instrument_tell"),
        "The {x} is a fine instrument!",
        phrases("memory_instrument_ask"),
        "You play the {x}.",
        "You have not told me which instrument you play.",
    ),
    "birthday": Remembered(
        phrases("memory_birthday_tell"),
        "I will remember {x}.",
        phrases("memory_birthday_ask"),
        "Your birthday is in {x}.",
        "You have not told me your birthday yet.",
    ),
    "country": Remembered(
        phrases("memory_country_tell"),
        "{x} sounds like a nice place!",
        phrases("memory_country_ask"),
        "Your country is {x}.",
        "You have not told me your country yet.",
    ),
    "car": Remembered(
        phrases("memory_car_tell"),
        "A {x} is a good choice!",
        phrases("memory_car_ask"),
        "You drive a {x}.",
        "You have not told me what you drive.",
    ),
    **{f"favourite {noun}": _favourite(noun) for noun in _FAVOURITES},
    **{noun: _relation(noun) for noun in _RELATIONS},
}
WEIGHTS: dict[str, float] = {
    "name": 14,
    "colour": 8,
    "city": 8,
    "pet": 8,
    "food": 1.5,
    "job": 1.5,
    "hobby": 1,
    "number": 1.5,
    "age": 1.5,
    "language": 0.7,
    "instrument": 0.7,
    "birthday": 0.7,
    "country": 0.7,
    "car": 0.7,
    **dict.fromkeys((f"favourite {noun}" for noun in _FAVOURITES), 0.5),
    **dict.fromkeys(_RELATIONS, 0.2),
}

WAYS: dict[str, tuple[str, ...]] = {}
"""How the things of the kinds in remembered.txt are written: templates, the name of a list, or a range of numbers."""


def _read() -> None:
    """Add the kinds of remembered.txt."""
    texts: dict[str, dict[str, str]] = {}
    for line in lines_of("remembered.txt"):
        key, text = line.split(" ", 1)
        if key == "=":
            texts[text] = {}
        else:
            texts[next(reversed(texts))][key] = text
    for kind, said in texts.items():
        items = said.get("I:", "").split("|")
        for item in items:
            each = {key: text.replace("{i}", item) for key, text in said.items()}
            tell, ask, ways = (tuple(top_level(each[key])) for key in ("T:", "A:", "X:"))
            name = f"{kind} {item}".strip()
            KINDS[name] = Remembered(tell, each["R:"], ask, each["C:"], each["N:"])
            WEIGHTS[name] = float(said["W:"]) / len(items)
            WAYS[name] = ways


WORDS = {
    "birthday": "month",
    "country": "place",
    "car": "vehicle",
    **{f"favourite {noun}": list_ for noun, list_ in _FAVOURITES.items()},
    **dict.fromkeys(_RELATIONS, "name"),
}
"""Of kinds that are drawn from a list of another name."""

_read()
