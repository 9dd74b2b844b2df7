"""What a JSON Schema of a client's may be, before an engine makes a grammar of it, which has no time-out. Pure.

Bounded here: its size, its depth (references followed), the properties and values it lists, how often it repeats. Not
allowed: regular expressions, whose automata can explode, and references that lead outside or in a circle. Of a schema
that the model only reads, size and depth are enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.prompt.policy import MAX_SCHEMA_BYTES

MAX_DEPTH = 32
MAX_PROPERTIES = 200
MAX_ENUM_VALUES = 500
MAX_REPEATS = 100_000

_ONE = (
    *("items", "additionalItems", "additionalProperties", "unevaluatedItems", "unevaluatedProperties"),
    *("contains", "propertyNames", "not", "if", "then", "else"),
)
_LISTED = ("anyOf", "allOf", "oneOf", "prefixItems", "items")
_NAMED = ("properties", "$defs", "definitions", "dependentSchemas")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_REFUSED = ("pattern", "patternProperties", "$dynamicRef", "$recursiveRef")
_TURNED_ROUND = ("not", "if")
"""Under these a schema that allows more makes the whole allow less."""


class _Wrong(Exception):
    """The message fits behind "must"."""


def size_problem(schema: Any) -> str | None:
    """Return what is wrong with the size of a schema that no engine compiles, in words that fit behind "must"."""
    if not isinstance(schema, dict):
        return "be a JSON object"
    if _nests_deeper(schema, MAX_DEPTH):
        return f"not nest deeper than {MAX_DEPTH}"
    if len(orjson.dumps(schema)) > MAX_SCHEMA_BYTES:
        return f"have at most {MAX_SCHEMA_BYTES} bytes"
    return None


def schema_problem(schema: Any) -> str | None:
    """Return what is wrong with a schema in words that fit behind "must", or None."""
    problem = size_problem(schema)
    if problem is not None:
        return problem
    try:
        _Walk(schema).height(schema, MAX_DEPTH)
    except _Wrong as wrong:
        return str(wrong)
    return None


def without_patterns(schema: Any) -> Any:
    """Return a schema that allows all that `schema` does, and texts of any pattern; its size has been checked.

    One with `not` or `if` in it is returned as it is. The branches of a `oneOf` may overlap then: grammars take it for
    `anyOf`.
    """
    return schema if _turns_round(schema) else _loosened(schema)


def _turns_round(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    return any(name in schema for name in _TURNED_ROUND) or any(map(_turns_round, _parts(schema)))


def _loosened(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    kept = {name: value for name, value in schema.items() if name != "pattern"}
    for name in kept.keys() & {*_ONE, *_LISTED, *_NAMED}:
        value = kept[name]
        if name in _LISTED and isinstance(value, list):
            kept[name] = [_loosened(each) for each in value]
        elif name in _NAMED and isinstance(value, dict):
            kept[name] = {key: _loosened(each) for key, each in value.items()}
        elif name in _ONE:
            kept[name] = _loosened(value)
    return kept


def _nests_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_nests_deeper(each, levels - 1) for each in inner)


class _Walk:
    """One walk over a schema, each part of it once; what it counts is the whole schema's."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._properties = 0
        self._enum_values = 0
        self._open: set[int] = set()
        self._heights: dict[int, int] = {}

    def height(self, schema: Any, levels: int) -> int:
        """Return how deep a schema goes, everything in it checked. Raises _Wrong."""
        if isinstance(schema, bool):
            return 0
        if not isinstance(schema, dict):
            raise _Wrong("have objects where schemas belong")
        if id(schema) in self._open:
            raise _Wrong("not be recursive: a '$ref' leads back to where it stands")
        if levels <= 0 or self._heights.get(id(schema), 0) > levels:
            raise _Wrong(f"not nest deeper than {MAX_DEPTH}, references followed")
        if id(schema) not in self._heights:
            self._heights[id(schema)] = self._first_height(schema, levels)
        return self._heights[id(schema)]

    def _first_height(self, schema: dict[str, Any], levels: int) -> int:
        self._open.add(id(schema))
        self._check(schema)
        parts = [*_parts(schema), *([self._target(schema["$ref"])] if "$ref" in schema else [])]
        height = 1 + max((self.height(part, levels - 1) for part in parts), default=0)
        self._open.remove(id(schema))
        return height

    def _target(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _Wrong("have no '$ref' but to a place in itself, as in '#/$defs/name'")
        target: Any = self._root
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, dict) or name not in target:
                raise _Wrong(f"have what '{reference[:64]}' refers to")
            target = target[name]
        return target

    def _check(self, schema: dict[str, Any]) -> None:
        refused = next((name for name in _REFUSED if name in schema), None)
        if refused is not None:
            raise _Wrong(f"not use '{refused}': expressions have no compile time-out")
        for name in _COUNTS:
            count = schema.get(name, 0)
            if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_REPEATS:
                raise _Wrong(f"have whole numbers from 0 to {MAX_REPEATS} for '{name}'")
        self._properties += len(_names_in(schema, "properties"))
        self._enum_values += len(_names_in(schema, "enum"))
        if self._properties > MAX_PROPERTIES:
            raise _Wrong(f"have at most {MAX_PROPERTIES} properties in all")
        if self._enum_values > MAX_ENUM_VALUES:
            raise _Wrong(f"have at most {MAX_ENUM_VALUES} enum values in all")


def _names_in(schema: dict[str, Any], name: str) -> Any:
    found = schema.get(name, ())
    return found if isinstance(found, dict | list) else ()


def _parts(schema: dict[str, Any]) -> Iterator[Any]:
    """Yield the schemas that a schema holds. What stands elsewhere (`const`, `default`, …) is data."""
    for name in _ONE:
        if name in schema and not isinstance(schema[name], list):
            yield schema[name]
    for name in _LISTED:
        if isinstance(schema.get(name), list):
            yield from schema[name]
    for name in _NAMED:
        if isinstance(schema.get(name), dict):
            yield from schema[name].values()
