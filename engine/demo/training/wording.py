"""A plain sentence → as people type it: capitals or none, contractions, polite words, slips of the finger."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from random import Random

from engine.demo.training.grammar import lines_of

_PROPER = {
    "vllm": "vLLM",
    "redis": "Redis",
    "openai": "OpenAI",
    "jwt": "JWT",
    "api": "API",
    "kv": "KV",
    "gpu": "GPU",
    "json": "JSON",
    "http": "HTTP",
    "sse": "SSE",
    "prometheus": "Prometheus",
    "kubernetes": "Kubernetes",
    "jwts": "JWTs",
    "docker": "Docker",
    "gemma": "Gemma",
    "langchain": "LangChain",
    "python": "Python",
    "google": "Google",
    "cpu": "CPU",
}
_SHORT = (
    ("what is", "what's"),
    ("who is", "who's"),
    ("i am", "i'm"),
    ("you are", "you're"),
    ("do not", "don't"),
    ("it is", "it's"),
    ("that is", "that's"),
    ("where is", "where's"),
    ("how is", "how's"),
    ("i would", "i'd"),
    ("what are", "what're"),
    ("what is", "whats"),
    ("cannot", "can't"),
    ("i have", "i've"),
    ("i am", "im"),
)
_BEFORE = (
    "please ",
    "hey, ",
    "hi, ",
    "hello, ",
    "quick question: ",
    "so ",
    "so, ",
    "and ",
    "ok, ",
    "now, ",
    "tell me, ",
    "um, ",
    "sorry, ",
    "question: ",
    "excuse me, ",
    "just curious, ",
    "i wonder, ",
    "one more thing: ",
    "another question: ",
    "well, ",
    "hi! ",
    "hello! ",
    "hey ",
    "ok so ",
    "but ",
    "actually, ",
    "by the way, ",
    "dear model, ",
    "thanks. ",
    "good morning, ",
    "great, ",
    "i have a question: ",
    "can you tell me, ",
    "do you know, ",
    "for my notes: ",
    "next: ",
)
_AFTER = (
    " please",
    ", please",
    " thanks",
    " exactly",
    " again",
    " for me",
    " in short",
    " here",
    " right now",
    " briefly",
    " in simple words",
    " in this project",
    " by the way",
    ", do you know",
    " then",
    " really",
    " in detail",
    " anyway",
    " (I am new here)",
    ", I forgot",
    " in practice",
)
_REWORDED_SHARE = 0.3
_ENDS = ("?", "?", "?", ".", "", "", "", "!", "??", " ?", "...")
_I = re.compile(r"\bi\b")
_WORD = re.compile(r"[a-z]{5,}")
_SMALL = frozenset(
    (
        *("a", "an", "the", "is", "are", "do", "does", "did", "can", "could", "will", "would", "should"),
        *("to", "of", "in", "on", "at", "for", "my", "me", "i", "you", "it"),
    )
)


def typed(rng: Random, sentence: str) -> str:
    """Return the sentence as somebody might type it. It is lower case but for names, which are left alone."""
    text = sentence
    for long, short in _SHORT:
        if long in text and rng.random() < 0.2:
            text = text.replace(long, short, 1)
    end = text[-1] if text[-1] in "?!." else ""
    text = text.removesuffix(end) if end else text
    if rng.random() < 0.06:
        text = _hasty(rng, text)
    if rng.random() < 0.16:
        text = rng.choice(_BEFORE) + text
    if rng.random() < 0.1:
        text += rng.choice(_AFTER)
    if rng.random() < 0.05:
        text = _slip(rng, text)
    if rng.random() < 0.3:
        end = rng.choice(_ENDS)
    return _cased(rng, text + end)


def reworded(rng: Random, sentence: str) -> str:
    """Return the sentence, and now and then with other words for some of its words."""
    if rng.random() >= _REWORDED_SHARE:
        return sentence
    found = _synonyms()
    return _known_words().sub(
        lambda word: rng.choice(found[word[0]]) if rng.random() < 0.5 else word[0],
        sentence,
    )


@cache
def _synonyms() -> Mapping[str, Sequence[str]]:
    """Return what may stand for a word: the first of its line for one of the others, and these for the first."""
    found: dict[str, list[str]] = {}
    for line in lines_of("synonyms.txt"):
        first, *others = line.split("|")
        found.setdefault(first, []).extend(others)
        for other in others:
            found.setdefault(other, []).append(first)
    return found


@cache
def _known_words() -> re.Pattern[str]:
    longest_first = sorted(_synonyms(), key=len, reverse=True)
    return re.compile(rf"(?<![\w/-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w/-])")


def _hasty(rng: Random, text: str) -> str:
    """Return the text without one of its small words, as in a hurry; short ones are left alone."""
    said = text.split(" ")
    small = [at for at, word in enumerate(said) if word in _SMALL]
    if len(said) > 4 and small:
        del said[rng.choice(small)]
    return " ".join(said)


def _slip(rng: Random, text: str) -> str:
    """Return the text with one letter lost, doubled or swapped in a longer word."""
    found = list(_WORD.finditer(text))
    if not found:
        return text
    word = rng.choice(found)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    kind = rng.randrange(3)
    middle = ("", text[at] * 2, text[at + 1] + text[at])[kind]
    return text[:at] + middle + text[at + (2 if kind == 2 else 1) :]


def _cased(rng: Random, text: str) -> str:
    if rng.random() < 0.7:
        text = " ".join(_proper(word) for word in text.split(" "))
    if rng.random() < 0.62:
        return _I.sub("I", text[:1].upper() + text[1:])
    return text.upper() if rng.random() < 0.02 else text


def _proper(word: str) -> str:
    bare = word.strip("?!.,")
    return word.replace(bare, _PROPER[bare]) if bare in _PROPER else word
