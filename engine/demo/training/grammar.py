"""Sentences from templates: `[a|b|]` is a choice, `{name}` a word of a list. Draws come from the given generator."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random

DATA = Path(__file__).parent / "data"
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{([a-zA-Z]+)\}")
_SPACES = re.compile(r" {2,}")
_ARTICLE = re.compile(r"\ba (?=[AEIOaeio])")
_ONSETS = (
    "b",
    "br",
    "c",
    "ch",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kl",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "qu",
    "r",
    "s",
)
_MORE_ONSETS = ("sh", "sk", "st", "t", "th", "tr", "v", "w", "y", "z")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ee", "io", "ou", "y")
_CODAS = ("", "", "", "n", "r", "l", "s", "k", "th", "x", "m", "nd", "rt", "ck", "st", "v")


@cache
def words() -> Mapping[str, Sequence[str]]:
    """Return the word lists by name."""
    pairs = (line.split(": ", 1) for line in lines_of("words.txt"))
    return {name: tuple(listed.split("|")) for name, listed in pairs}


@cache
def lines_of(name: str) -> tuple[str, ...]:
    """Return the lines of a data file, without comments and blank ones."""
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


@cache
def _phrases() -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for line in lines_of("phrases.txt"):
        if line.startswith("= "):
            found[line[2:]] = []
        else:
            found[next(reversed(found))].append(line)
    return {name: tuple(listed) for name, listed in found.items()}


def phrases(name: str) -> Sequence[str]:
    """Return the phrases of that name in phrases.txt."""
    return _phrases()[name]


def made_up(rng: Random, syllables: int = 0) -> str:
    """Return a word that means nothing, in lower case."""
    count = syllables or rng.choice((1, 2, 2, 2, 3))
    parts = (rng.choice(_ONSETS + _MORE_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(count))
    return "".join(parts)


def draw(rng: Random, name: str) -> str:
    """Return a word of the list `name`, or a number, a year or a made-up word."""
    if name == "number":
        return str(rng.randrange(10 ** rng.randint(1, 4)))
    if name == "year":
        return str(rng.randint(1000, 2030))
    if name == "nonsense":
        return made_up(rng)
    if name == "Nonsense":
        return made_up(rng).capitalize()
    return rng.choice(words()[name])


def with_articles(text: str) -> str:
    """Return the text with "an" for "a" before a vowel; a u, which may sound like "you", is left alone."""
    return _ARTICLE.sub("an ", text)


def top_level(text: str) -> list[str]:
    """Return the parts between the bars that are in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def decided(rng: Random, template: str) -> str:
    """Return the template with each of its choices made."""
    text = template
    while match := _CHOICE.search(text):
        text = text[: match.start()] + rng.choice(match[1].split("|")) + text[match.end() :]
    return text


def expand(rng: Random, template: str, more: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return one sentence of a template. `more` has further lists."""
    text = decided(rng, template)
    lists = more or {}
    text = _SLOT.sub(lambda slot: rng.choice(lists[slot[1]]) if slot[1] in lists else draw(rng, slot[1]), text)
    return _SPACES.sub(" ", text).replace(" ?", "?").strip()
