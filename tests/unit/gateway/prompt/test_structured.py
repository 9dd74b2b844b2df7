"""The form an answer must have: OpenAI's way and vLLM's, and nothing that an engine has no time-out for."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain import Endpoint
from gateway.errors import InvalidRequest
from tests.unit.gateway.prompt.calls import parsed

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
CYCLE = {"properties": {"next": {"$ref": "#"}}}


def json_schema(schema: Any, **fields: Any) -> dict[str, Any]:
    """Return a response_format as the SDKs send it."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **fields}}


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, {}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": None}, {}),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        ({"response_format": json_schema(SCHEMA)}, {"response_format": json_schema(SCHEMA)}),
        (
            {"response_format": json_schema(SCHEMA, strict=True, description="x")},
            {"response_format": json_schema(SCHEMA)},
        ),
        ({"guided_json": SCHEMA}, {"structured_outputs": {"json": SCHEMA}}),
        ({"guided_json": '{"type": "string"}'}, {"structured_outputs": {"json": {"type": "string"}}}),
        ({"guided_choice": ["yes", "no"]}, {"structured_outputs": {"choice": ["yes", "no"]}}),
        ({"structured_outputs": {"json": SCHEMA, "regex": None}}, {"structured_outputs": {"json": SCHEMA}}),
        ({"structured_outputs": {"choice": ["a"]}}, {"structured_outputs": {"choice": ["a"]}}),
        (
            {"structured_outputs": {"json_object": True, "disable_any_whitespace": False}},
            {"structured_outputs": {"json_object": True}},
        ),
        (
            {"response_format": {"type": "text"}, "guided_choice": ["a"]},
            {"structured_outputs": {"choice": ["a"]}},
        ),
    ],
)
@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_a_form_reaches_the_engine(endpoint: Endpoint, fields: dict[str, Any], sent: dict[str, Any]) -> None:
    body = parsed(fields, endpoint).body
    assert {name: body[name] for name in ("response_format", "structured_outputs") if name in body} == sent
    assert not {"guided_json", "guided_choice"} & set(body)


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"response_format": {}}, "response_format.type", "json_schema"),
        ({"response_format": {"type": "grammar"}}, "response_format.type", "one of"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "name and schema"),
        ({"response_format": json_schema(SCHEMA, name="a b")}, "response_format.json_schema.name", "1 to 64"),
        ({"response_format": json_schema(SCHEMA, name=None)}, "response_format.json_schema.name", "1 to 64"),
        ({"response_format": json_schema(None)}, "response_format.json_schema.schema", "JSON object"),
        ({"response_format": json_schema(CYCLE)}, "response_format.json_schema.schema", "recursive"),
        ({"response_format": json_schema({"pattern": "x"})}, "response_format.json_schema.schema", "time-out"),
        ({"guided_json": CYCLE}, "guided_json", "recursive"),
        ({"guided_json": "{"}, "guided_json", "JSON Schema"),
        ({"guided_json": "[]"}, "guided_json", "JSON object"),
        ({"guided_json": 5}, "guided_json", "object"),
        ({"guided_choice": []}, "guided_choice", "not empty"),
        ({"guided_choice": [""]}, "guided_choice", "1 to 256"),
        ({"guided_choice": ["a"] * 501}, "guided_choice", "500"),
        ({"structured_outputs": {}}, "structured_outputs", "exactly one"),
        ({"structured_outputs": {"regex": "(a+)+"}}, "structured_outputs", "time-out"),
        ({"structured_outputs": {"grammar": "root ::= x"}}, "structured_outputs", "time-out"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs", "structural tags"),
        ({"structured_outputs": {"json": SCHEMA, "choice": ["a"]}}, "structured_outputs", "exactly one"),
        ({"structured_outputs": {"json": CYCLE}}, "structured_outputs.json", "recursive"),
        ({"structured_outputs": {"choice": "a"}}, "structured_outputs.choice", "list"),
        ({"structured_outputs": {"json_object": "yes"}}, "structured_outputs.json_object", "true or false"),
        ({"guided_regex": "a"}, "guided_regex", "time-out"),
        ({"guided_grammar": "a"}, "guided_grammar", "time-out"),
        ({"guided_choice": ["a"], "response_format": {"type": "json_object"}}, "guided_choice", "together"),
    ],
)
def test_a_form_that_is_wrong_or_not_offered_is_named(fields: dict[str, Any], param: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(fields)
    assert caught.value.param == param
    assert said in caught.value.message
