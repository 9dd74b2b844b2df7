"""Sentences with values in them → a JSON object. The grammar forces the members; the model has to copy the values."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from engine.demo.training.grammar import draw, made_up, phrases
from engine.demo.training.memory import person, town

_DAYS = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "today",
    "tomorrow",
    "3 May",
    "12 June",
)
_KEYS = {
    "name": "name|name|name|first_name|customer|person|user|full_name|contact|guest|author|student|patient",
    "age": "age|age|age|years",
    "city": "city|city|town|location|place|home|address",
    "job": "job|profession|occupation|role",
    "colour": "colour|color|favourite_colour|favorite_color",
    "animal": "animal|pet|species|kind|type",
    "pet_name": "name|pet_name|pet",
    "food": "food|dish|favourite_food|meal",
    "hobby": "hobby|sport|interest",
    "item": "item|product|article|name|thing|goods",
    "quantity": "quantity|amount|count|number|pieces",
    "price": "price|cost|total|amount|euros",
    "day": "day|date|when|weekday",
    "time": "time|start|hour|at",
    "origin": "from|origin|start|departure|source",
    "goal": "to|destination|arrival|end|target",
    "email": "email|mail|contact|address",
    "country": "country|nation",
    "subject": "topic|subject|title|event|what",
    "room": "room|office",
    "people": "people|guests|persons|seats|count|party_size",
    "drink": "drink|beverage|item",
    "title": "title|book|name",
    "year": "year|published",
    "sentiment": "sentiment|mood|feeling|opinion|label",
}
_SENTENCES = phrases("form_sentences")  # fmt: skip
_ASK = phrases("form_ask")  # fmt: skip
_GOOD = ("great", "wonderful", "fantastic", "good", "excellent", "perfect", "lovely", "amazing", "nice", "brilliant")
_BAD = ("terrible", "awful", "bad", "horrible", "broken", "disappointing", "poor", "ugly", "boring", "useless")
_NUMBERS = {"age": (1, 99), "quantity": (1, 99), "people": (1, 99), "room": (1, 400), "year": (1900, 2026)}


def compact(value: Any) -> str:
    """Return JSON as the engine's grammar wants it: without a blank between its parts."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _value(rng: Random, kind: str) -> Any:
    if kind in ("name", "pet_name"):
        return person(rng)
    if kind in ("city", "origin", "goal"):
        return town(rng)
    if kind in _NUMBERS:
        return rng.randint(*_NUMBERS[kind])
    if kind == "price":
        return rng.choice(
            (rng.randint(1, 999), rng.randint(1, 99), rng.randint(10, 999) / 10, rng.randint(100, 9999) / 100)
        )
    if kind == "day":
        return rng.choice(_DAYS)
    if kind == "time":
        return rng.choice(
            (
                f"{rng.randint(0, 23)}:{rng.choice(('00', '15', '30', '45'))}",
                f"{rng.randint(1, 12)} {rng.choice(('am', 'pm'))}",
            )
        )
    if kind == "email":
        return f"{draw(rng, 'name').lower()}@{made_up(rng, 2)}.{rng.choice(('com', 'org', 'de', 'net'))}"
    return _word(rng, kind)


def _word(rng: Random, kind: str) -> str:
    if kind == "country":
        return draw(rng, "place")
    if kind == "title":
        return f"The {draw(rng, 'adjective').capitalize()} {draw(rng, 'noun').title()}"
    if kind == "item" and rng.random() < 0.2:
        return made_up(rng, 2)
    return draw(rng, kind)


def form_filled(rng: Random) -> tuple[str, str]:
    """Return a message with values and the JSON object of it."""
    if rng.random() < 0.07:
        return _sentiment(rng)
    template = rng.choice(_SENTENCES)
    while "[" in template:
        start, end = template.index("["), template.index("]")
        template = template[:start] + rng.choice(template[start + 1 : end].split("|")) + template[end + 1 :]
    kinds = [part.split("}")[0] for part in template.split("{")[1:]]
    found = {kind: _value(rng, kind) for kind in kinds}
    said = template
    for kind, value in found.items():
        said = said.replace(f"{{{kind}}}", str(value))
    return _with_keys(rng, said, found)


def _with_keys(rng: Random, said: str, found: dict[str, Any]) -> tuple[str, str]:
    wanted = list(found)
    if len(wanted) > 2 and rng.random() < 0.2:
        wanted = rng.sample(wanted, len(wanted) - 1)
    if rng.random() < 0.25:
        rng.shuffle(wanted)
    taken: dict[str, Any] = {}
    for kind in wanted:
        key = rng.choice(_KEYS[kind].split("|"))
        taken[kind if key in taken else key] = found[kind]
    return _message(rng, said, list(taken)), compact(taken)


def _message(rng: Random, said: str, keys: list[str]) -> str:
    said = said[0].upper() + said[1:] if rng.random() < 0.75 else said
    said = said.replace(" i ", " I ") if rng.random() < 0.8 else said
    kind = rng.random()
    ask = rng.choice(_ASK)
    if kind < 0.3:
        listed = " and ".join(key.replace("_", " ") for key in keys) if rng.random() < 0.5 else ", ".join(keys)
        ask = rng.choice(
            (
                f"{ask} with {listed}",
                f"extract {listed}",
                f"{ask}: {listed}",
                f"give me {listed} as JSON",
                f"JSON with {listed}",
            )
        )
    if kind > 0.88:
        return said + rng.choice((".", "", "!"))
    if rng.random() < 0.35:
        return f"{ask[0].upper()}{ask[1:]}: {said}{rng.choice(('.', '', '.'))}"
    return f"{said}{rng.choice(('. ', '. ', ', ', ' - '))}{ask[0].upper()}{ask[1:]}{rng.choice(('.', '', '!'))}"


def _sentiment(rng: Random) -> tuple[str, str]:
    good = rng.random() < 0.5
    word, thing = rng.choice(_GOOD if good else _BAD), draw(rng, "noun")
    said = rng.choice(
        (f"the {thing} is {word}", f"what a {word} {thing}", f"i find this {thing} {word}", f"this is a {word} {thing}")
    )
    key = rng.choice(_KEYS["sentiment"].split("|"))
    return _message(rng, said, [key]), compact({key: "positive" if good else "negative"})
