"""The form that an answer must have: OpenAI's `response_format` and vLLM's names, checked, for the engine. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from gateway.domain import JsonObject
from gateway.errors import InvalidRequest
from gateway.prompt.json_schema import schema_problem
from gateway.prompt.policy import CHOICES

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OFFERED = ("json", "choice", "json_object")


def form_of(own: JsonObject) -> JsonObject:
    """Return the field that makes the engine keep to the form asked for; nothing for plain text.

    Raises InvalidRequest for a form that is not offered, and where two are asked for.
    """
    if _FORMS.keys().isdisjoint(own):
        return {}
    asked = {name: form(own[name], name) for name, form in _FORMS.items() if name in own}
    forms = {name: form for name, form in asked.items() if form is not None}
    if len(forms) > 1:
        first, second, *_ = forms
        raise InvalidRequest(f"'{first}' and '{second}' cannot be used together.", param=second)
    return next(iter(forms.values()), {})


def _response_format(given: JsonObject, name: str) -> JsonObject | None:
    kind = given.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    if kind != "json_schema":
        raise _invalid(f"{name}.type", "be one of 'text', 'json_object', 'json_schema'")
    wanted = given.get("json_schema")
    if not isinstance(wanted, dict):
        raise _invalid(f"{name}.json_schema", "be an object with name and schema")
    title = wanted.get("name")
    if not isinstance(title, str) or not _NAME.fullmatch(title):
        raise _invalid(f"{name}.json_schema.name", "be 1 to 64 of the characters A-Z, a-z, 0-9, '_' and '-'")
    schema = _checked(wanted.get("schema"), f"{name}.json_schema.schema")
    return {"response_format": {"type": "json_schema", "json_schema": {"name": title, "schema": schema}}}


def _guided_json(given: Any, name: str) -> JsonObject:
    return {"structured_outputs": {"json": _checked(_parsed(given, name), name)}}


def _guided_choice(given: Any, name: str) -> JsonObject:
    if not given or CHOICES.problem(given) is not None:
        raise _invalid(name, f"be {CHOICES.problem(None)}, and not empty")
    return {"structured_outputs": {"choice": given}}


def _structured_outputs(given: JsonObject, name: str) -> JsonObject:
    filled = {key: value for key, value in given.items() if value is not None and value is not False}
    if len(filled) != 1 or not filled.keys() <= set(_OFFERED):
        offered = ", ".join(f"'{key}'" for key in _OFFERED)
        why = "expressions, grammars and structural tags have no compile time-out"
        raise _invalid(name, f"have exactly one of {offered}; {why}")
    if "json" in filled:
        return _guided_json(filled["json"], f"{name}.json")
    if "choice" in filled:
        return _guided_choice(filled["choice"], f"{name}.choice")
    if filled["json_object"] is not True:
        raise _invalid(f"{name}.json_object", "be true or false")
    return {"structured_outputs": {"json_object": True}}


def _parsed(given: Any, where: str) -> Any:
    """Return a schema that may have come as a text, which vLLM allows."""
    if not isinstance(given, str):
        return given
    try:
        return orjson.loads(given)
    except orjson.JSONDecodeError:
        raise _invalid(where, "be a JSON Schema") from None


def _checked(schema: Any, where: str) -> Any:
    problem = schema_problem(schema)
    if problem is not None:
        raise _invalid(where, problem)
    return schema


def _invalid(where: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"'{where}' must {problem}.", param=where, code="invalid_value")


_FORMS: dict[str, Callable[[Any, str], JsonObject | None]] = {
    "response_format": _response_format,
    "guided_json": _guided_json,
    "guided_choice": _guided_choice,
    "structured_outputs": _structured_outputs,
}
