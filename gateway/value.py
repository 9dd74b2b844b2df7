"""Frozen values that cost little: what passes between rooms is made anew for each request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

ValueT = TypeVar("ValueT")


@dataclass_transform(frozen_default=True)
def value(cls: type[ValueT]) -> type[ValueT]:
    """Make a frozen dataclass of `cls`; that nobody writes to one is the type checker's to see.

    For what is made anew for each request: a dataclass that guards itself takes more than twice the time to make, a
    named tuple more than twice the time to read.
    """
    return dataclass(slots=True)(cls)
