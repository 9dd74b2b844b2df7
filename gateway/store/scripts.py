"""Lua scripts: loaded from the file beside the room that owns them, known to Redis by their SHA-1."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and the digest that EVALSHA calls it by."""

    text: str
    sha: str


def load_script(package: str, name: str) -> Script:
    """Read `name` from `package`, e.g. `load_script("gateway.quota", "reserve.lua")`."""
    text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
    # SHA-1 is how Redis names scripts, not a safeguard.
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
