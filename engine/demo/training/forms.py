"""Sentences with values in them → a JSON object. The grammar forces the members; the model has to copy the values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

from engine.demo.training.grammar import decided, draw, lines_of, made_up, phrases, with_articles
from engine.demo.training.memory import person, town
from engine.demo.training.offered_tools import table

_DAYS = (
    *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "today", "tomorrow", "3 May"),
    *("12 June", "next Monday", "1 January", "24 December", "2026-03-14", "August 9"),
)
_SENTENCES = phrases("form_sentences")
_ASK = phrases("form_ask")
_ASK_KEYS = phrases("form_ask_keys")
_WHOLE = phrases("form_whole")
_FEELING = phrases("form_feeling")
_GOOD = (
    *("great", "wonderful", "fantastic", "good", "excellent", "perfect", "lovely", "amazing", "nice", "brilliant"),
    *("superb", "delightful", "charming", "splendid", "awesome", "pleasant", "marvellous", "beautiful"),
)
_BAD = (
    *("terrible", "awful", "bad", "horrible", "broken", "disappointing", "poor", "ugly", "boring", "useless"),
    *("dreadful", "disgusting", "annoying", "lousy", "miserable", "nasty", "faulty", "sad"),
)
_NUMBERS = {"age": (1, 99), "quantity": (1, 99), "people": (1, 99), "room": (1, 400), "year": (1900, 2026)}
_SLOT = re.compile(r"\{(\w+)\}|<(!?)(\w+)>")
"""`{kind}` stands for a value; `<kind>` is no text, but says that something is true, `<!kind>` that it is not."""


def compact(value: Any) -> str:
    """Return JSON as the engine's grammar wants it: without a blank between its parts."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@cache
def members() -> Mapping[str, tuple[str, Sequence[str]]]:
    """Return, by the kind of a member, the kind of its values and the names that it may have: forms.txt."""
    found: dict[str, tuple[str, Sequence[str]]] = {}
    for line in lines_of("forms.txt"):
        what, names = line.split(" ", 1)
        kind, _, values = what.rstrip("!").partition(":")
        found[kind] = (values or kind, names.split("|"))
    return found


def _value(rng: Random, kind: str) -> Any:
    if kind.endswith("*"):
        several = dict.fromkeys(str(_value(rng, kind[:-1])) for _ in range(rng.randint(2, 4)))
        return list(several)
    if kind in ("name", "pet_name"):
        return str(table().kinds["name"].value(rng)) if rng.random() < 0.35 else person(rng)
    if kind in ("city", "origin", "goal"):
        return str(table().kinds["realcity"].value(rng)) if rng.random() < 0.35 else town(rng)
    if kind in _NUMBERS:
        return rng.randint(*_NUMBERS[kind])
    if kind == "price":
        whole = (rng.randint(1, 999), rng.randint(1, 99))
        return rng.choice((*whole, rng.randint(10, 999) / 10, rng.randint(100, 9999) / 100))
    return _word(rng, kind)


def _word(rng: Random, kind: str) -> Any:
    if kind == "day":
        return rng.choice(_DAYS)
    if kind == "time":
        clock = f"{rng.randint(0, 23)}:{rng.choice(('00', '15', '30', '45'))}"
        return rng.choice((clock, f"{rng.randint(1, 12)} {rng.choice(('am', 'pm'))}"))
    if kind == "title":
        return f"The {draw(rng, 'adjective').capitalize()} {draw(rng, 'noun').title()}"
    if kind == "item" and rng.random() < 0.2:
        return made_up(rng, 2)
    return table().kinds[kind].value(rng) if kind in table().kinds else draw(rng, kind)


def form_filled(rng: Random) -> tuple[str, str]:
    """Return a message with values and the JSON object of it."""
    if rng.random() < 0.07:
        return _sentiment(rng)
    found: dict[str, Any] = {}

    def put(slot: re.Match[str]) -> str:
        kind = slot[1] or slot[3]
        if slot[3]:
            found[kind] = not slot[2]
            return ""
        if kind not in found:
            found[kind] = _value(rng, members()[kind][0])
        return _told(found[kind])

    said = _SLOT.sub(put, _with_capitals(rng, decided(rng, rng.choice(_SENTENCES))))
    return _with_keys(rng, with_articles(said), found)


def _with_capitals(rng: Random, template: str) -> str:
    """Return the template as people begin a sentence and write "I", before it has values: these stay as they are."""
    if rng.random() < 0.75:
        template = template[0].upper() + template[1:]
    return template.replace(" i ", " I ") if rng.random() < 0.8 else template


def _told(value: Any) -> str:
    """Return a value as it stands in a sentence."""
    if isinstance(value, list):
        *first, last = value
        return f"{', '.join(first)} and {last}" if first else str(last)
    return str(value)


def _with_keys(rng: Random, said: str, found: dict[str, Any]) -> tuple[str, str]:
    wanted = list(found)
    if len(wanted) > 2 and rng.random() < 0.2:
        wanted = rng.sample(wanted, len(wanted) - 1)
    if rng.random() < 0.25:
        rng.shuffle(wanted)
    taken: dict[str, Any] = {}
    for kind in wanted:
        names = [name for name in members()[kind][1] if name not in taken]
        taken[rng.choice(names)] = found[kind]
    return _message(rng, said, list(taken)), compact(taken)


def _message(rng: Random, said: str, keys: list[str]) -> str:
    kind = rng.random()
    if kind < 0.25:
        return _started(rng, decided(rng, rng.choice(_WHOLE)), _listed(rng, keys), said)
    if kind > 0.89:
        return said + rng.choice((".", "", "!"))
    ask = rng.choice(_ASK)
    if kind < 0.5:
        ask = decided(rng, rng.choice(_ASK_KEYS)).replace("{k}", _listed(rng, keys))
    ask = f"{ask[0].upper()}{ask[1:]}" if rng.random() < 0.8 else ask
    if rng.random() < 0.35:
        return f"{ask}: {said}{rng.choice(('.', '', '.'))}"
    return f"{said}{rng.choice(('. ', '. ', ', ', ' - ', '; '))}{ask}{rng.choice(('.', '', '!'))}"


def _listed(rng: Random, keys: list[str]) -> str:
    """Return the names of the members as somebody lists them."""
    kind = rng.random()
    if kind < 0.4:
        keys = [key.replace("_", " ") for key in keys]
    if kind < 0.6:
        return f"{', '.join(keys[:-1])} and {keys[-1]}" if len(keys) > 1 else keys[0]
    if kind < 0.7:
        return ", ".join(f'"{key}"' for key in keys)
    return " and ".join(keys) if kind < 0.75 else ", ".join(keys)


def _started(rng: Random, template: str, keys: str, said: str) -> str:
    template = template[0].upper() + template[1:] if rng.random() < 0.7 else template
    return template.replace("{k}", keys).replace("{t}", said)


def _sentiment(rng: Random) -> tuple[str, str]:
    good = rng.random() < 0.5
    word, thing = rng.choice(_GOOD if good else _BAD), draw(rng, rng.choice(("noun", "item", "food")))
    template = _with_capitals(rng, decided(rng, rng.choice(_FEELING)))
    said = with_articles(template.replace("{w}", word).replace("{t}", thing))
    key = rng.choice(members()["sentiment"][1])
    return _message(rng, said, [key]), compact({key: "positive" if good else "negative"})
