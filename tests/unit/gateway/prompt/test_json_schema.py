"""A client's JSON Schema: bounded before an engine compiles it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway.prompt.json_schema import MAX_DEPTH, schema_problem, size_problem, without_patterns

STRING = {"type": "string"}


class Step(BaseModel):
    """A model within a model."""

    explanation: str
    tags: list[str] | None = None


class Answer(BaseModel):
    """What a client of the SDK's `parse` has."""

    steps: list[Step]
    last: Step
    pattern: str


def nested(levels: int) -> dict[str, Any]:
    """Return arrays of arrays."""
    schema: dict[str, Any] = STRING
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def chain(length: int) -> dict[str, Any]:
    """Return definitions that refer each to the next."""
    links: dict[str, Any] = {f"d{index}": {"items": {"$ref": f"#/$defs/d{index + 1}"}} for index in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**links, f"d{length}": STRING}}


def doubling(length: int) -> dict[str, Any]:
    """Return definitions that refer each twice to the next, so that they unfold without end."""
    twice = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**twice, f"d{length}": STRING}}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        STRING,
        Answer.model_json_schema(),
        {"type": "object", "properties": {"pattern": STRING, "$ref": STRING, "maxLength": STRING}},
        {"enum": ["a", {"pattern": "x"}], "default": {"$ref": "#"}, "const": {"pattern": "x"}},
        {"type": "object", "additionalProperties": False, "properties": {"a/b~c": STRING}},
        {"$ref": "#/$defs/a~1b~0c", "$defs": {"a/b~c": STRING}},
        {"properties": {"a": {"$ref": "#/properties/b"}, "b": STRING}},
        {"properties": {f"p{index}": STRING for index in range(200)}},
        {"$ref": "#/$defs/all", "$defs": {"all": {"properties": {f"p{index}": STRING for index in range(200)}}}},
        {"enum": [str(index) for index in range(500)]},
        {"type": "string", "maxLength": 100_000},
        nested(31),
        doubling(12),
    ],
)
def test_a_bounded_schema_is_let_through(schema: Any) -> None:
    assert schema_problem(schema) is None


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (None, "be a JSON object"),
        ([], "be a JSON object"),
        (True, "be a JSON object"),
        ({"description": "x" * 16_384}, "16384 bytes"),
        (nested(40), "deeper than 32"),
        ({"default": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}, "deeper than 32"),
        (chain(20), "references followed"),
        (chain(200), "references followed"),
        ({"$ref": "#"}, "recursive"),
        ({"properties": {"next": {"$ref": "#"}}}, "recursive"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "recursive"),
        ({"$defs": {"unused": {"items": {"$ref": "#/$defs/unused"}}}}, "recursive"),
        ({"$ref": "#/$defs/nowhere"}, "refers to"),
        ({"$ref": "#/required/0", "required": ["x"]}, "refers to"),
        ({"$ref": "https://example.org/schema"}, "place in itself"),
        ({"$ref": 5}, "place in itself"),
        ({"type": "string", "pattern": "(a+)+"}, "'pattern'"),
        ({"items": {"anyOf": [{"pattern": "a"}]}}, "'pattern'"),
        ({"items": [{"pattern": "a"}]}, "'pattern'"),
        ({"patternProperties": {"a": STRING}}, "'patternProperties'"),
        ({"propertyNames": {"pattern": "a"}}, "'pattern'"),
        ({"$defs": {"unused": {"pattern": "a"}}}, "'pattern'"),
        ({"properties": {"a": {"properties": {f"p{index}": STRING for index in range(200)}}}}, "200 properties"),
        (
            {"anyOf": [{"enum": [str(index) for index in range(400)]}] * 1 + [{"enum": [*range(101)]}]},
            "500 enum values",
        ),
        ({"maxLength": 100_001}, "'maxLength'"),
        ({"minItems": -1}, "'minItems'"),
        ({"maxItems": "5"}, "'maxItems'"),
        ({"maxItems": True}, "'maxItems'"),
        ({"anyOf": ["a"]}, "objects where schemas belong"),
        ({"properties": {"a": None}}, "objects where schemas belong"),
    ],
)
def test_an_unbounded_schema_is_refused_with_the_reason(schema: Any, said: str) -> None:
    assert said in (schema_problem(schema) or "")


KEYWORDS = st.sampled_from(
    [
        "$ref",
        "$defs",
        "properties",
        "items",
        "anyOf",
        "enum",
        "pattern",
        "maxLength",
        "not",
        "a",
        "additionalProperties",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | st.sampled_from(["#", "#/$defs/a", "#/properties/a", "#a", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=30,
)


@given(VALUES)
def test_any_json_is_judged(schema: Any) -> None:
    problem = schema_problem(schema)
    assert problem is None or problem


@given(st.integers(1, 60))
def test_references_count_like_what_they_refer_to(length: int) -> None:
    assert (schema_problem(chain(length)) is None) == (2 * length + 2 <= MAX_DEPTH)


# What only a model reads, and what a grammar leaves out.


@pytest.mark.parametrize("schema", [{"pattern": "(a+)+"}, {"$ref": "#"}, {"$ref": 5}, {"maxLength": 10**9}, chain(20)])
def test_the_size_is_all_that_counts_where_nothing_is_compiled(schema: dict[str, Any]) -> None:
    assert schema_problem(schema) is not None
    assert size_problem(schema) is None


@pytest.mark.parametrize("schema", [None, [], {"description": "x" * 16_384}, nested(40)])
def test_the_size_is_bounded_everywhere(schema: Any) -> None:
    assert size_problem(schema) == schema_problem(schema) is not None


@pytest.mark.parametrize(
    ("schema", "left"),
    [
        ({"type": "string", "pattern": "a"}, STRING),
        ({"properties": {"pattern": {"type": "string", "pattern": "a"}}}, {"properties": {"pattern": STRING}}),
        (
            {"const": {"pattern": "a"}, "enum": [{"pattern": "a"}]},
            {"const": {"pattern": "a"}, "enum": [{"pattern": "a"}]},
        ),
        ({"items": [{"pattern": "a"}], "anyOf": [{"pattern": "a"}]}, {"items": [{}], "anyOf": [{}]}),
        ({"items": {"additionalProperties": {"pattern": "a"}}}, {"items": {"additionalProperties": {}}}),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"pattern": "a"}}}, {"$ref": "#/$defs/a", "$defs": {"a": {}}}),
        ({"additionalProperties": False, "items": True}, {"additionalProperties": False, "items": True}),
        ({"patternProperties": {"a": {"pattern": "a"}}}, {"patternProperties": {"a": {"pattern": "a"}}}),
        ({"pattern": "a", "anyOf": [{"not": STRING}]}, {"pattern": "a", "anyOf": [{"not": STRING}]}),
        ({"pattern": "a", "$defs": {"a": {"if": STRING}}}, {"pattern": "a", "$defs": {"a": {"if": STRING}}}),
    ],
)
def test_patterns_are_left_out_where_that_allows_more(schema: dict[str, Any], left: dict[str, Any]) -> None:
    assert without_patterns(schema) == left


@given(VALUES)
def test_without_patterns_a_schema_is_refused_for_something_else_or_for_what_turns_it_round(schema: Any) -> None:
    before = orjson.dumps(schema)
    problem = schema_problem(without_patterns(schema)) or ""
    assert "'pattern'" not in problem or "not" in before.decode()
    assert orjson.dumps(schema) == before
    if schema_problem(schema) is None:
        assert without_patterns(schema) == schema
