"""The kinds of things that users say about themselves: how each is told, acknowledged, asked for and recalled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.demo.training.grammar import phrases


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
    *("boss", "teacher", "doctor", "boat", "company", "street", "school", "team", "project", "colleague"),
)


def _favourite(noun: str) -> Remembered:
    return Remembered(
        (
            f"my favourite {noun} is {{x}}",
            f"my favorite {noun} is {{x}}",
            f"the {noun} i like best is {{x}}",
            f"of all {noun}s i like {{x}} most",
            f"{{x}} is my favourite {noun}",
        ),
        "I will remember that you like {x}.",
        (
            f"what is my favourite {noun}?",
            f"what is my favorite {noun}?",
            f"which {noun} do i like best?",
            f"do you remember my favourite {noun}?",
            f"what {noun} do i like?",
            f"which {noun} did i say i like?",
            f"my favourite {noun}?",
        ),
        f"Your favourite {noun} is {{x}}.",
        f"You have not told me your favourite {noun} yet.",
    )


def _relation(noun: str) -> Remembered:
    return Remembered(
        (
            f"my {noun} is called {{x}}",
            f"my {noun}'s name is {{x}}",
            f"{{x}} is the name of my {noun}",
            f"the name of my {noun} is {{x}}",
            f"i have a {noun} called {{x}}",
            f"{{x}} is my {noun}",
        ),
        "{x} is a nice name!",
        (
            f"what is my {noun} called?",
            f"what is my {noun}'s name?",
            f"what is the name of my {noun}?",
            f"do you remember my {noun}'s name?",
            f"how is my {noun} called?",
            f"what was my {noun} called?",
        ),
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
        ("i am {x} years old", "my age is {x}", "i'm {x} years old", "i turned {x} today", "i am {x}", "i'm {x}"),
        "{x} is a good age!",
        phrases("memory_age_ask"),
        "You are {x} years old.",
        "You have not told me your age yet.",
    ),
    "language": Remembered(
        (
            "i speak {x}",
            "my mother tongue is {x}",
            "my native language is {x}",
            "at home we speak {x}",
            "i am learning {x}",
        ),
        "{x} is a fine language!",
        (
            "which language do i speak?",
            "what language do i speak?",
            "what is my language?",
            "what is my mother tongue?",
        ),
        "You speak {x}.",
        "You have not told me your language yet.",
    ),
    "instrument": Remembered(
        (
            "i play the {x}",
            "my instrument is the {x}",
            "i have played the {x} for years",
            "i practise the {x} every day",
        ),
        "The {x} is a fine instrument!",
        (
            "which instrument do i play?",
            "what do i play?",
            "what is my instrument?",
            "what instrument did i say i play?",
        ),
        "You play the {x}.",
        "You have not told me which instrument you play.",
    ),
    "birthday": Remembered(
        ("my birthday is in {x}", "i was born in {x}", "i have my birthday in {x}", "my birth month is {x}"),
        "I will remember {x}.",
        ("when is my birthday?", "in which month is my birthday?", "when was i born?", "what is my birth month?"),
        "Your birthday is in {x}.",
        "You have not told me your birthday yet.",
    ),
    "country": Remembered(
        (
            "my country is {x}",
            "i grew up in {x}",
            "my home country is {x}",
            "i am a citizen of {x}",
            "i was raised in {x}",
        ),
        "{x} sounds like a nice place!",
        ("which country do i come from?", "what is my country?", "what is my home country?", "where did i grow up?"),
        "Your country is {x}.",
        "You have not told me your country yet.",
    ),
    "car": Remembered(
        ("i drive a {x}", "my car is a {x}", "i own a {x}", "i have bought a {x}", "i go to work with my {x}"),
        "A {x} is a good choice!",
        ("what do i drive?", "which car do i have?", "what is my car?", "what car do i drive?", "what did i buy?"),
        "You drive a {x}.",
        "You have not told me what you drive.",
    ),
    **{f"favourite {noun}": _favourite(noun) for noun in _FAVOURITES},
    **{noun: _relation(noun) for noun in _RELATIONS},
}
WEIGHTS = {
    "name": 10,
    "colour": 6,
    "city": 6,
    "pet": 6,
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
    **dict.fromkeys(_RELATIONS, 0.3),
}

WORDS = {
    "birthday": "month",
    "country": "place",
    "car": "vehicle",
    **{f"favourite {noun}": list_ for noun, list_ in _FAVOURITES.items()},
    **dict.fromkeys(_RELATIONS, "name"),
}
"""Of kinds that are drawn from a list of another name."""
