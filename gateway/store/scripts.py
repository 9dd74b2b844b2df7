"""Lua scripts: loaded from the file beside the room that owns them, known to Redis by their SHA-1."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from gateway.store.command import Argument, items, pack


class NotLoaded(Exception):
    """Redis does not know a script by its digest: it has been restarted."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and the digest that EVALSHA calls it by."""

    text: str
    sha: str

    def packed(self, keys: Sequence[str], arguments: Sequence[Argument]) -> bytes:
        """Return a call by the digest. Raises UnicodeEncodeError for what cannot be sent."""
        return pack(("EVALSHA", self.sha, len(keys), *keys, *arguments))

    def in_full(self, packed: bytes) -> bytes:
        """Return the same call with the text in the digest's place: Redis knows the script from then on."""
        return packed.replace(items(("EVALSHA", self.sha)), items(("EVAL", self.text)), 1)


class Prepared:
    """A script's call but for its last arguments: what many calls have in common is packed once."""

    __slots__ = ("_head", "_varying", "arguments", "keys", "script")

    def __init__(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], varying: int) -> None:
        self.script = script
        self.keys = tuple(keys)
        self.arguments = tuple(arguments)
        self._varying = varying
        """How many arguments each call adds."""
        head = ("EVALSHA", script.sha, len(self.keys), *self.keys, *self.arguments)
        self._head = b"*%d\r\n%b" % (len(head) + varying, items(head))

    def packed(self, last: tuple[Argument, ...]) -> bytes:
        """Return the call that ends with `last`. Raises ValueError where that is not as many as was said."""
        if len(last) != self._varying:
            raise ValueError(f"{len(last)} arguments for a call that wants {self._varying}")
        return self._head + items(last)


def load_script(package: str, name: str) -> Script:
    """Read `name` from `package`, e.g. `load_script("gateway.quota", "reserve.lua")`."""
    text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
    # SHA-1 is how Redis names scripts, not a safeguard.
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
