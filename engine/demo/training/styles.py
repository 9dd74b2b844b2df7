"""System prompts, and what they make of an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from engine.demo.training.grammar import draw, made_up, phrases
from engine.demo.training.topics import Exchange

NEUTRAL = phrases("style_neutral")
_BRIEF = phrases("style_brief")
_WORD = phrases("style_word")
_UPPER = phrases("style_upper")
_LOWER = phrases("style_lower")
_PIRATE = phrases("style_pirate")
_END = phrases("style_end")
_START = phrases("style_start")
_CALL = phrases("style_call")
_PERSONA = phrases("style_persona")
PERSONA_QUESTIONS = phrases("style_persona_questions")
Style = Callable[[Exchange], str]


@dataclass(frozen=True, slots=True)
class Styled:
    """A system prompt and what it asks for."""

    system: str
    style: Style
    kind: str


def quoted(rng: Random, phrase: str) -> str:
    """Return the phrase as a prompt would show it."""
    return rng.choice(("'{}'", '"{}"', "'{}'", '"{}"', "{}", "{}")).format(phrase)


def phrase(rng: Random) -> str:
    """Return words to begin or end with; most often made up of unrelated words, so that they have to be copied."""
    kind = rng.random()
    if kind < 0.35:
        text = draw(rng, "phrase")
    elif kind < 0.7:
        text = " ".join(
            draw(rng, rng.choice(("noun", "adjective", "food", "animal", "colour"))) for _ in range(rng.randint(1, 3))
        )
    else:
        text = " ".join(made_up(rng) for _ in range(rng.randint(1, 2)))
    text = text.capitalize() if rng.random() < 0.4 else text
    return text.upper() if rng.random() < 0.1 else text + rng.choice(("", "", "", "!", "."))


def styled(rng: Random) -> Styled:
    """Return a system prompt that changes answers."""
    kind = rng.choices(
        ("word", "upper", "lower", "pirate", "end", "start", "brief", "call"), (18, 18, 9, 15, 24, 10, 5, 3)
    )[0]
    if kind in ("end", "start", "call"):
        words = (
            phrase(rng)
            if kind != "call"
            else rng.choice((draw(rng, "name"), made_up(rng).capitalize(), "Captain", "Boss", "Sir"))
        )
        prompts = {"end": _END, "start": _START, "call": _CALL}[kind]
        system = rng.choice(prompts).replace("{q}", quoted(rng, words))
        system = system.replace("!.", "!").replace("..", ".")
        styles: dict[str, Style] = {
            "end": lambda it: f"{it.short} {words}",
            "start": lambda it: f"{words} {it.short}",
            "call": lambda it: f"{words}, here you go: {it.short}",
        }
        return Styled(_beside(rng, system), styles[kind], kind)
    prompts, style = _PLAIN[kind]
    return Styled(_beside(rng, rng.choice(prompts)), style, kind)


def _beside(rng: Random, system: str) -> str:
    """Return the system prompt, sometimes with another sentence beside it."""
    kind = rng.random()
    if kind < 0.12:
        return f"{rng.choice(NEUTRAL)} {system}"
    if kind < 0.17:
        return f"{system} {rng.choice(NEUTRAL)}"
    if kind < 0.25:
        return system[0].lower() + system[1:] if kind < 0.2 else system.removesuffix(".")
    return system


def persona(rng: Random) -> tuple[str, str]:
    """Return a system prompt that gives the model a name, and the name."""
    name = draw(rng, "name") if rng.random() < 0.3 else made_up(rng, 2).capitalize()
    return rng.choice(_PERSONA).replace("{x}", name), name


_PLAIN: dict[str, tuple[Sequence[str], Style]] = {
    "word": (_WORD, lambda it: it.word),
    "upper": (_UPPER, lambda it: it.short.upper()),
    "lower": (_LOWER, lambda it: it.short.lower()),
    "pirate": (_PIRATE, lambda it: f"Arr, matey! {it.short}"),
    "brief": (_BRIEF, lambda it: it.short),
}
