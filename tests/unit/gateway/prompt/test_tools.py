"""Tools in the prompt: what is taken, what the model reads, what the grammar forces."""

from __future__ import annotations

import functools
import operator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import JsonObject, ToolUse
from gateway.errors import InvalidRequest
from gateway.prompt.tool_history import render_history
from gateway.prompt.tools import tool_plan, with_tools
from tests.unit.gateway.prompt.calls import parsed

CITY = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
USER = {"role": "user", "content": "Hello"}


def tool(name: str, parameters: Any = None, **fields: Any) -> JsonObject:
    """Return a tool as clients send it."""
    function = {"name": name, **fields}
    return {"type": "function", "function": function if parameters is None else {**function, "parameters": parameters}}


WEATHER = tool("get_weather", CITY, description="The weather of a city.")
TIME = tool("get_time")
NAMED = {"type": "function", "function": {"name": "get_time"}}


def allowed(mode: Any, *tools: Any) -> JsonObject:
    """Return the choice that allows these tools."""
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


def call(identity: str, name: str, arguments: str = "{}") -> JsonObject:
    """Return a call as clients send it back."""
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def error_of(fields: JsonObject) -> tuple[str | None, str]:
    """Return the field that a refusal names, and its message."""
    with pytest.raises(InvalidRequest) as caught:
        parsed(fields)
    return caught.value.param, caught.value.message


# What is taken.


@pytest.mark.parametrize("fields", [{}, {"tools": []}, {"tools": [TIME], "tool_choice": "none"}, {"tools": None}])
def test_where_nothing_can_be_called_nothing_is_changed(fields: JsonObject) -> None:
    asked = parsed(fields)
    assert asked.tools is None
    assert asked.body["messages"] == (USER,)
    assert "structured_outputs" not in asked.body


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{}], "tools[0]"),
        ([TIME, {"type": "custom", "custom": {"name": "x"}}], "tools[1]"),
        ([{"type": "function", "function": "x"}], "tools[0]"),
        ([TIME, TIME], "tools[1].function.name"),
        ([tool("")], "tools[0].function.name"),
        ([tool("a b")], "tools[0].function.name"),
        ([tool("a\n")], "tools[0].function.name"),
        ([tool("x" * 65)], "tools[0].function.name"),
        ([tool("x", extra=1)], "tools[0].function.extra"),
        ([tool("x", description=5)], "tools[0].function.description"),
        ([tool("x", description="x" * 4097)], "tools[0].function.description"),
        ([tool("x", {"type": "array"})], "tools[0].function.parameters"),
        ([tool("x", [])], "tools[0].function.parameters"),
        ([tool("x", {"description": "x" * 20_000})], "tools[0].function.parameters"),
        ([tool(f"x{index}", description="x" * 4000) for index in range(40)], "tools"),
        ([tool(f"x{index}") for index in range(129)], "tools"),
        ("x", "tools"),
        (["x"], "tools"),
    ],
)
def test_a_bad_tool_is_refused_by_its_place(tools: Any, param: str) -> None:
    assert error_of({"tools": tools})[0] == param


def test_a_schema_that_nests_too_deep_is_refused() -> None:
    schema: JsonObject = {"type": "object"}
    for _ in range(60):
        schema = {"type": "object", "properties": {"a": schema}}
    assert error_of({"tools": [tool("x", schema)]})[0] == "tools[0].function.parameters"


UNCOMPILABLE = [
    {"properties": {"a": {"$ref": "https://example.com/schema"}}},
    {"properties": {"a": {"$ref": "#/$defs/none"}}},
    {"properties": {"next": {"$ref": "#"}}},
    {"patternProperties": {"a+": {"type": "string"}}},
    {"properties": {"a": {"not": {"pattern": "a+"}}}},
    {"properties": {"a": {"maxLength": 10**9}}},
]
PATTERNS = {"type": "object", "properties": {"city": {"type": "string", "pattern": "^[A-Z]+$"}}}


@pytest.mark.parametrize("choice", ["auto", "none", None, NAMED])
@pytest.mark.parametrize("parameters", [*UNCOMPILABLE, PATTERNS])
def test_a_schema_that_no_grammar_is_made_of_may_say_what_it_likes(parameters: JsonObject, choice: Any) -> None:
    asked = parsed({"tools": [tool("x", parameters), TIME], "tool_choice": choice})
    system = asked.body["messages"][0]["content"]
    assert choice == "none" or orjson.dumps(parameters).decode()[1:] in system


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "x"}}])
@pytest.mark.parametrize("parameters", UNCOMPILABLE)
def test_a_grammar_is_made_of_a_bounded_schema_only(parameters: JsonObject, choice: Any) -> None:
    tools = [TIME, tool("x", parameters)]
    assert error_of({"tools": tools, "tool_choice": choice})[0] == "tools[1].function.parameters"


def test_as_many_tools_as_at_openai_can_be_sent() -> None:
    use = parsed({"tools": [tool(f"x{index}") for index in range(128)]}).tools
    assert use is not None
    assert len(use.names) == 128


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": NAMED}, "tool_choice.function.name"),
        ({"tools": [WEATHER], "tool_choice": NAMED}, "tool_choice.function.name"),
        ({"tools": [TIME], "tool_choice": "always"}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": {"type": "custom", "function": {"name": "get_time"}}}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": ["x"]}}}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        ({"tools": [TIME], "tool_choice": allowed("none", NAMED)}, "tool_choice.allowed_tools"),
        ({"tools": [TIME], "tool_choice": allowed(["auto"], NAMED)}, "tool_choice.allowed_tools"),
        ({"tools": [TIME], "tool_choice": allowed("auto")}, "tool_choice.allowed_tools"),
        ({"tools": [TIME], "tool_choice": allowed("auto", NAMED, "get_time")}, "tool_choice.allowed_tools.tools[1]"),
        (
            {"tools": [WEATHER], "tool_choice": allowed("auto", NAMED)},
            "tool_choice.allowed_tools.tools[0].function.name",
        ),
        ({"tool_choice": allowed("auto", NAMED)}, "tool_choice.allowed_tools.tools[0].function.name"),
        ({"tools": [TIME], "parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"tools": [TIME], "response_format": {"type": "json_object"}}, "tool_choice"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_field(fields: JsonObject, param: str) -> None:
    assert error_of(fields)[0] == param


MANY = [tool(f"x{index}", {"type": "object", "properties": {f"p{index}": {}}}) for index in range(4)]


@given(st.sets(st.sampled_from(range(4)), min_size=1), st.sampled_from(["auto", "required"]), st.booleans())
def test_allowing_some_tools_is_as_sending_no_others(indexes: set[int], mode: str, parallel: bool) -> None:
    choices = [{"type": "function", "function": {"name": f"x{index}"}} for index in sorted(indexes, reverse=True)]
    fields = {"tools": MANY, "tool_choice": allowed(mode, *choices), "parallel_tool_calls": parallel}
    only = {**fields, "tools": [MANY[index] for index in sorted(indexes)], "tool_choice": mode}
    assert parsed(fields) == parsed(only)


def test_what_a_grammar_cannot_hold_is_named_by_its_place_among_all_tools() -> None:
    choice = allowed("required", {"type": "function", "function": {"name": "x"}})
    fields = {"tools": [TIME, tool("x", {"properties": {"a": {"$ref": "#"}}})], "tool_choice": choice}
    assert error_of(fields)[0] == "tools[1].function.parameters"


def test_a_tool_may_have_the_name_of_a_choice() -> None:
    tools = [tool("auto"), tool("required")]
    named = {"type": "function", "function": {"name": "auto"}}
    assert parsed({"tools": tools}).tools == parsed({"tools": tools, "tool_choice": "auto"}).tools
    forced = parsed({"tools": tools, "tool_choice": named}).tools
    assert forced is not None
    assert (forced.forced, forced.names, forced.max_calls) == (True, frozenset({"auto"}), 1)


def test_fields_that_nobody_knows_can_be_dropped() -> None:
    messages = [
        {"role": "assistant", "tool_calls": [call("c", "get_time")]},
        {"role": "tool", "tool_call_id": "c", "content": "x", "color": "red"},
    ]
    fields = {"tools": [tool("get_time", color="red")], "messages": [USER, *messages]}
    asked = parsed(fields, unknown_fields="drop")
    assert "red" not in str(asked.body)
    assert error_of(fields)[0] == "messages[2].color"


# What the model reads.


def test_the_tools_stand_at_the_end_of_the_system_text() -> None:
    system = {"role": "system", "content": "Be brief."}
    first, second = parsed({"tools": [WEATHER, TIME], "messages": [system, USER]}).body["messages"]
    before, _, text = first["content"].partition("\n\n")
    assert (first["role"], before, second) == ("system", "Be brief.", USER)
    lines = text.splitlines()
    assert orjson.loads(lines[1]) == WEATHER["function"]
    assert orjson.loads(lines[2]) == {"name": "get_time", "parameters": {"type": "object", "properties": {}}}
    assert '{"tool_calls":[{"name":' in text


def test_tools_without_a_system_message_get_one_and_parts_stay_parts() -> None:
    text = {"type": "text", "text": "Be brief."}
    assert with_tools([USER], "T") == ({"role": "system", "content": "T"}, USER)
    parts = with_tools([{"role": "developer", "content": [text]}], "T")
    assert parts == ({"role": "developer", "content": [text, {"type": "text", "text": "T"}]},)


def test_the_text_is_the_same_whatever_is_chosen_so_that_the_prefix_cache_holds() -> None:
    choices = ("auto", "required", NAMED)
    texts = {str(parsed({"tools": [WEATHER, TIME], "tool_choice": choice}).body["messages"]) for choice in choices}
    assert len(texts) == 1


def test_calls_and_results_become_text_that_says_what_answers_what() -> None:
    messages = [
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("c1", "get_time"), call("c2", "get_weather", '{"city": "Rome"}')],
        },
        {"role": "tool", "tool_call_id": "c2", "content": '{"sun":\n true}'},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": 'It is "noon"'}]},
    ]
    assert [message["content"] for message in render_history(messages)] == [
        "Hello",
        '{"tool_calls":[{"name":"get_time","arguments":{}},{"name":"get_weather","arguments":{"city": "Rome"}}]}',
        '{"tool_result":{"call":2,"name":"get_weather","content":{"sun":\n true}}}',
        '{"tool_result":{"call":1,"name":"get_time","content":"It is \\"noon\\""}}',
    ]
    assert [message["role"] for message in render_history(messages)] == ["user", "assistant", "user", "user"]


def test_what_was_said_before_a_call_stays_before_it_and_broken_arguments_are_kept_as_text() -> None:
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": [call("c1", "get_time", '{"a"')]}
    (rendered,) = render_history([message])
    assert rendered["content"] == 'Let me see.\n\n{"tool_calls":[{"name":"get_time","arguments":"{\\"a\\""}]}'


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "tool", "tool_call_id": "c1", "content": "x"}], "messages[0].tool_call_id"),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
        ([USER, {"role": "assistant", "tool_calls": 5}], "messages[1].tool_calls"),
        ([USER, {"role": "assistant", "tool_calls": [5]}], "messages[1].tool_calls[0]"),
        ([USER, {"role": "assistant", "tool_calls": [{"type": "custom", "id": "c1"}]}], "messages[1].tool_calls[0]"),
        ([{"role": "assistant", "tool_calls": [call("", "x")]}], "messages[0].tool_calls[0].id"),
        ([{"role": "assistant", "tool_calls": [call("c", "a b")]}], "messages[0].tool_calls[0].function.name"),
        (
            [{"role": "assistant", "tool_calls": [call("c", "a", 5)]}],  # type: ignore[arg-type]
            "messages[0].tool_calls[0].function.arguments",
        ),
        ([{"role": "assistant", "content": 5, "tool_calls": [call("c", "a")]}], "messages[0].content"),
        ([{"role": "user", "content": "x", "tool_calls": [call("c", "a")]}], "messages[0].tool_calls"),
        (
            [{"role": "assistant", "tool_calls": [call("c", "a")]}, {"role": "tool", "tool_call_id": "c"}],
            "messages[1].content",
        ),
        (
            [{"role": "assistant", "tool_calls": [call("c", "a")]}, {"role": "tool", "tool_call_id": "c", "x": 1}],
            "messages[1].x",
        ),
        (
            [
                {"role": "assistant", "tool_calls": [call("c", "a")]},
                {"role": "tool", "tool_call_id": "c", "content": [{"type": "image_url"}]},
            ],
            "messages[1].content[0]",
        ),
    ],
)
def test_a_history_that_does_not_hold_together_is_refused_by_its_place(messages: list[Any], param: str) -> None:
    assert error_of({"messages": messages})[0] == param


@given(st.lists(st.none() | st.integers() | st.text() | st.fixed_dictionaries({"role": st.text()})))
def test_messages_without_tools_are_returned_as_they_came(messages: list[Any]) -> None:
    rendered = render_history(messages)
    assert all(one is other for one, other in zip(rendered, messages, strict=True) if one != {"role": "tool"})


@given(st.text())
def test_no_text_of_a_result_is_lost_and_none_can_pass_for_another_turn(text: str) -> None:
    messages = [
        {"role": "assistant", "tool_calls": [call("c1", "get_time")]},
        {"role": "tool", "tool_call_id": "c1", "content": text},
    ]
    result = orjson.loads(render_history(messages)[1]["content"])["tool_result"]
    content = result["content"]
    assert (result["call"], result["name"]) == (1, "get_time")
    assert content == text or content == orjson.loads(text)


# What the grammar forces.


def forced_schema(fields: JsonObject) -> JsonObject:
    """Return the schema that the engine gets."""
    schema: JsonObject = parsed(fields).body["structured_outputs"]["json"]
    return schema


def fits(schema: JsonObject, *calls: Any) -> bool:
    """Whether an envelope with these calls is what the schema wants."""
    return valid({"tool_calls": list(calls)}, schema, schema)


def valid(value: Any, schema: JsonObject, root: JsonObject) -> bool:
    """Judge by the keywords that these tests use."""
    if "$ref" in schema:
        return valid(value, functools.reduce(operator.getitem, schema["$ref"].split("/")[1:], root), root)
    if "anyOf" in schema:
        return any(valid(value, each, root) for each in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    if schema["type"] == "string":
        return isinstance(value, str)
    if schema["type"] == "array":
        counted = schema["minItems"] <= len(value) <= schema["maxItems"]
        return counted and all(valid(each, schema["items"], root) for each in value)
    properties = schema.get("properties", {})
    whole = set(schema.get("required", ())) <= value.keys()
    known = schema.get("additionalProperties", True) or value.keys() <= properties.keys()
    return whole and known and all(valid(each, properties.get(key, {}), root) for key, each in value.items())


ROME = {"name": "get_weather", "arguments": {"city": "Rome"}}
NOON = {"name": "get_time", "arguments": {}}


def test_a_required_call_is_of_a_tool_with_arguments_that_fit_its_schema() -> None:
    schema = forced_schema({"tools": [WEATHER, TIME], "tool_choice": "required"})
    assert fits(schema, ROME)
    assert fits(schema, *[NOON] * 8)
    for wrong in ([], [NOON] * 9, [{"name": "other", "arguments": {}}], [{"name": "get_weather", "arguments": {}}]):
        assert not fits(schema, *wrong)
    assert not fits(schema, {"name": "get_weather", "arguments": {"city": "Bonn"}})


def test_a_named_call_is_one_of_that_tool_and_without_parallel_calls_there_is_one() -> None:
    named = forced_schema({"tools": [WEATHER, TIME], "tool_choice": NAMED})
    single = forced_schema({"tools": [WEATHER, TIME], "tool_choice": "required", "parallel_tool_calls": False})
    assert fits(named, NOON)
    assert not fits(named, ROME)
    assert not fits(named, NOON, NOON)
    assert fits(single, ROME)
    assert not fits(single, ROME, NOON)


def test_references_within_a_tools_schema_lead_to_the_same_place_as_before() -> None:
    child = {"type": "object", "properties": {"city": {"$ref": "#/$defs/City"}}, "required": ["city"]}
    parameters = {"type": "object", "properties": {"where": child}, "$defs": {"City": {"enum": ["Rome"]}}}
    schema = forced_schema({"tools": [tool("go", parameters)], "tool_choice": "required"})
    assert fits(schema, {"name": "go", "arguments": {"where": {"city": "Rome"}}})
    assert not fits(schema, {"name": "go", "arguments": {"where": {"city": "Oslo"}}})


def test_a_grammar_leaves_out_the_patterns_that_the_model_reads() -> None:
    asked = parsed({"tools": [tool("go", PATTERNS)], "tool_choice": "required"})
    assert fits(asked.body["structured_outputs"]["json"], {"name": "go", "arguments": {"city": "rome"}})
    assert "pattern" not in str(asked.body["structured_outputs"])
    assert '"pattern":"^[A-Z]+$"' in asked.body["messages"][0]["content"]


def test_an_answer_that_must_be_calls_has_their_form_and_not_the_one_of_words() -> None:
    asked = parsed({"tools": [TIME], "tool_choice": "required", "response_format": {"type": "json_object"}})
    assert "response_format" not in asked.body
    assert asked.body["structured_outputs"]["json"]["required"] == ["tool_calls"]


def test_what_may_be_called_is_known_to_who_reads_the_answer() -> None:
    plan = tool_plan({"tools": [WEATHER, TIME]})
    assert plan is not None
    assert plan.schema is None
    assert plan.use == ToolUse(frozenset({"get_weather", "get_time"}), forced=False, max_calls=8)
