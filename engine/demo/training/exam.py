"""What keeps the training and the exam apart: no run of five words that somebody says there is said here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from random import Random

from engine.demo.evaluation.held_out import read_cases
from engine.demo.training.chats import Chat, chat

_RUN = 5
_WORD = re.compile(r"[^\W_]+")


def said_in_the_exam() -> frozenset[bytes]:
    """Return the runs of five words in what users say in the held-out cases. The training must not contain them."""
    said = (message["content"] for case in read_cases() for message in case.messages if message["role"] == "user")
    return frozenset(run for text in said for run in runs_of_five(text))


def runs_of_five(text: str) -> Iterator[bytes]:
    """Return a digest of each run of five words in a text."""
    found = _WORD.findall(text.lower())
    for at in range(len(found) - _RUN + 1):
        yield hashlib.blake2b(" ".join(found[at : at + _RUN]).encode(), digest_size=8).digest()


def fresh_chats(rng: Random, forbidden: frozenset[bytes]) -> Iterator[Chat]:
    """Return chats without end, but none in which somebody says a run of five words that is `forbidden`."""
    while True:
        made = chat(rng)
        said = (str(message.get("content") or "") for message in made.messages)
        if not any(run in forbidden for text in said for run in runs_of_five(text)):
            yield made
