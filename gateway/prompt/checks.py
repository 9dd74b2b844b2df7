"""Checks of one value, each of which can also say its JSON Schema for the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.domain import JsonObject

_ID_DIGITS = "[0-9]{1,9}"
_MAX_TOKEN_ID = 999_999_999


@dataclass(frozen=True, slots=True)
class Check:
    """`problem(value)` returns what is wrong in words that fit behind "must be", or None."""

    problem: Callable[[Any], str | None]
    schema: JsonObject


def integer(low: int, high: int) -> Check:
    """A whole number within bounds; a boolean is not one."""

    def problem(value: Any) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if fits else f"a whole number from {low} to {high}"

    return Check(problem, {"type": "integer", "minimum": low, "maximum": high})


def count() -> Check:
    """A whole number of at least 1, whose bound a setting says."""

    def problem(value: Any) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        return None if fits else "a whole number of at least 1"

    return Check(problem, {"type": "integer", "minimum": 1})


def number(low: float, high: float) -> Check:
    """A finite number within bounds."""

    def problem(value: Any) -> str | None:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return None if fits else f"a number from {low} to {high}"

    return Check(problem, {"type": "number", "minimum": low, "maximum": high})


def boolean() -> Check:
    """True or false."""
    return Check(lambda value: None if isinstance(value, bool) else "true or false", {"type": "boolean"})


def text(max_characters: int, min_characters: int = 0) -> Check:
    """A text of bounded length."""
    length = f"{min_characters} to {max_characters}" if min_characters else f"at most {max_characters}"

    def problem(value: Any) -> str | None:
        fits = isinstance(value, str) and min_characters <= len(value) <= max_characters
        return None if fits else f"a text of {length} characters"

    least = {"minLength": min_characters} if min_characters else {}
    return Check(problem, {"type": "string", **least, "maxLength": max_characters})


def one_of(*words: str) -> Check:
    """One of a few words."""
    wanted = "one of " + ", ".join(f"'{word}'" for word in words)
    return Check(lambda value: None if value in words else wanted, {"type": "string", "enum": list(words)})


def identifier(max_characters: int) -> Check:
    """A name that is safe wherever it is written: in a header, a log, a Redis key."""
    pattern = f"[A-Za-z0-9_-]{{1,{max_characters}}}"
    wanted = f"an id of at most {max_characters} of the characters A-Z, a-z, 0-9, '_' and '-'"

    def problem(value: Any) -> str | None:
        return None if isinstance(value, str) and re.fullmatch(pattern, value) else wanted

    return Check(problem, {"type": "string", "pattern": f"^{pattern}$"})


def biases(max_entries: int) -> Check:
    """An object of token ids, each with a number from -100 to 100."""
    bias = number(-100, 100)

    def problem(value: Any) -> str | None:
        fits = isinstance(value, dict) and len(value) <= max_entries
        if fits:
            fits = all(re.fullmatch(_ID_DIGITS, key) and bias.problem(entry) is None for key, entry in value.items())
        return None if fits else f"an object of at most {max_entries} token ids, each with {bias.problem(None)}"

    names = {"propertyNames": {"pattern": f"^{_ID_DIGITS}$"}}
    return Check(
        problem, {"type": "object", "maxProperties": max_entries, **names, "additionalProperties": bias.schema}
    )


def mapping(max_entries: int) -> Check:
    """A JSON object of bounded size."""

    def problem(value: Any) -> str | None:
        fits = isinstance(value, dict) and len(value) <= max_entries
        return None if fits else f"an object of at most {max_entries} entries"

    return Check(problem, {"type": "object", "maxProperties": max_entries})


def array(max_items: int, item: Check | None = None) -> Check:
    """A list of bounded length whose items pass a check."""
    each = f", each {item.problem(None)}" if item else ""

    def problem(value: Any) -> str | None:
        fits = isinstance(value, list) and len(value) <= max_items
        if fits and item is not None:
            fits = all(item.problem(entry) is None for entry in value)
        return None if fits else f"a list of at most {max_items} items{each}"

    return Check(problem, {"type": "array", "maxItems": max_items, "items": item.schema if item else {}})


def token_ids(max_items: int) -> Check:
    """A list of token ids, not an empty one; whether the model has each of them its engine says."""
    wanted = f"a list of 1 to {max_items} token ids"

    def problem(value: Any) -> str | None:
        fits = isinstance(value, list) and 0 < len(value) <= max_items and {*map(type, value)} == {int}
        return None if fits and min(value) >= 0 and max(value) <= _MAX_TOKEN_ID else wanted

    item = {"type": "integer", "minimum": 0, "maximum": _MAX_TOKEN_ID}
    return Check(problem, {"type": "array", "minItems": 1, "maxItems": max_items, "items": item})


def either(first: Check, second: Check) -> Check:
    """Whatever passes one of two checks."""

    def problem(value: Any) -> str | None:
        one = first.problem(value)
        return None if one is None or second.problem(value) is None else f"{one}, or {second.problem(value)}"

    return Check(problem, {"anyOf": [first.schema, second.schema]})
