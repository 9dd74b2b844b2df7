"""Chats in which the user says something about themselves and asks for it later. Most names are made up, so that the
model has to copy what was said and cannot know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from engine.demo.training.grammar import draw, expand, made_up, phrases, with_articles, words
from engine.demo.training.remembered import KINDS, WAYS, WEIGHTS, WORDS
from engine.demo.training.wording import typed

_CHINESE = phrases("memory_chinese")
"""How something is told, acknowledged, asked for, recalled and was not told, and the list it is drawn from."""
_PLAIN = ("my ", "i ", "i'm ", "the ", "we ", "our ")
"""How sentences begin that words such as "by the way," may come before."""
_ASKS = ("what ", "which ", "where ", "when ", "who ", "how ")


def person(rng: Random) -> str:
    """Return a first name, most often a made-up one."""
    if rng.random() < 0.4:
        return draw(rng, "name") if rng.random() < 0.5 else rng.choice(_listed("memory_names"))
    name = made_up(rng, rng.choice((1, 2, 2, 3))).capitalize()
    return name if rng.random() < 0.93 else f"{name} {made_up(rng).capitalize()}"


def town(rng: Random) -> str:
    """Return a city, often a made-up one."""
    if rng.random() < 0.5:
        return draw(rng, "city") if rng.random() < 0.5 else rng.choice(_listed("memory_towns"))
    return made_up(rng, rng.choice((2, 2, 3))).capitalize()


@cache
def _listed(name: str) -> tuple[str, ...]:
    """Return the words of a block of phrases with several words a line."""
    return tuple(word for line in phrases(name) for word in line.split("|"))


@cache
def _parts() -> Mapping[str, Sequence[str]]:
    """Return the lists that things are made of, beside those of words.txt."""
    names = ("noun", "adjective", "animal", "colour")
    return {
        "L": tuple("ABCDEFGHJKLMNPRSTUVWXYZ"),
        "D": tuple("123456789"),
        "planet": ("mars", "venus", "jupiter", "saturn", "pluto", "neptune", "mercury", "uranus"),
        **{name.capitalize(): tuple(word.title() for word in words()[name]) for name in names},
    }


def _written(rng: Random, way: str) -> str:
    """Return a thing of a kind in remembered.txt."""
    if not way.startswith("@"):
        return expand(rng, way, _parts())
    if way == "@name":
        return person(rng)
    if way == "@town":
        return town(rng)
    first, _, last = way[1:].partition("-")
    if last:
        return str(rng.randint(int(first), int(last)))
    return draw(rng, first) if rng.random() < 0.8 else made_up(rng, 2)


def _thing(rng: Random, kind: str) -> str:
    if kind in WAYS:
        return _written(rng, rng.choice(WAYS[kind]))
    if kind in ("name", "pet") or (kind in WORDS and WORDS[kind] == "name"):
        return person(rng)
    if kind == "city":
        return town(rng)
    if kind == "age":
        return str(rng.randint(5, 99))
    if kind == "number":
        return str(rng.randint(1, 999))
    if rng.random() < 0.3:
        return made_up(rng, 2)
    return draw(rng, WORDS.get(kind, kind))


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was said: its kind, the thing, and the words beside it; {x}, {c} and {a} in a template."""

    kind: str
    thing: str
    colour_word: str
    animal: str

    def fill(self, template: str) -> str:
        """Return the template with this fact in it; a sentence begins with a capital."""
        text = template.replace("{x}", self.thing).replace("{c}", self.colour_word).replace("{a}", self.animal)
        return with_articles(text[0].upper() + text[1:])


def new_fact(rng: Random, but: frozenset[str] = frozenset()) -> Fact:
    """Return something to tell, of a kind that is not in `but`."""
    kinds = [kind for kind in KINDS if kind not in but]
    (kind,) = rng.choices(kinds, [WEIGHTS[kind] for kind in kinds])
    thing = _thing(rng, kind)
    if kind in ("name", "city", "pet") and rng.random() < 0.12:
        thing = thing.lower()
    return Fact(kind, thing, rng.choice(("colour", "color")), draw(rng, "animal"))


def told(rng: Random, fact: Fact) -> tuple[str, str]:
    """Return what the user says and what the model answers."""
    keep = "\x00"
    parts = {"x": (keep,), "c": (fact.colour_word,), "a": (fact.animal,)}
    plain = expand(rng, rng.choice(KINDS[fact.kind].tell), parts)
    if plain.startswith(_PLAIN) and rng.random() < 0.14:
        plain = f"{rng.choice(phrases('memory_tell_first'))} {plain}"
    elif rng.random() < 0.04:
        plain = f"{plain}{rng.choice(phrases('memory_tell_last'))}"
    said = typed(rng, plain).rstrip("?").replace(keep, fact.thing)
    return with_articles(said), fact.fill(KINDS[fact.kind].reply)


def asked(rng: Random, fact: Fact) -> tuple[str, str]:
    """Return a question for the fact and its answer."""
    plain = expand(rng, rng.choice(KINDS[fact.kind].ask), {"c": (fact.colour_word,), "a": (fact.animal,)})
    if plain.startswith(_ASKS) and rng.random() < 0.1:
        plain = f"{rng.choice(phrases('memory_ask_first'))} {plain}"
    return typed(rng, plain), fact.fill(KINDS[fact.kind].recall)


def asked_too_early(rng: Random, but: frozenset[str]) -> tuple[str, str]:
    """Return a question for something that was never said."""
    fact = new_fact(rng, but)
    return asked(rng, fact)[0], fact.fill(KINDS[fact.kind].never_told)


def told_together(rng: Random, first: Fact, second: Fact) -> tuple[str, str]:
    """Return two facts in one message. The answer is to the first."""
    said, answer = told(rng, first)
    joint = rng.choice((" and ", ", and ", ". ", ", ", "; ", " - and ", ". Also, ", ". And ", ", also ", " & ", "! "))
    return said.rstrip("?!. ") + joint + told(rng, second)[0], answer


def _chinese_name(rng: Random) -> str:
    return rng.choice("王李张刘陈杨赵黄周吴徐孙马朱胡林郭何高罗小阿大老") + "".join(
        rng.sample("明华丽强芳军伟娜静磊洋勇艳杰涛超霞平刚雪梅龙文宇欣怡浩然婷晨阳", rng.choice((1, 1, 2)))
    )


def chinese_chat(rng: Random) -> list[tuple[str, str]]:
    """Return a chat in Chinese about a name, or another thing."""
    tell, reply, ask, recall, never, listed = rng.choice(_CHINESE).split(" ; ")
    question = expand(rng, ask) + rng.choice(("？", "?", ""))
    if rng.random() < 0.12:
        return [(question, never)]
    thing = rng.choice(listed.split("|")) if listed != "name" else _chinese_name(rng)
    said = expand(rng, tell.replace("{x}", thing)) + rng.choice(("。", "", "！"))
    return [(said, reply.replace("{x}", thing)), (question, recall.replace("{x}", thing))]
