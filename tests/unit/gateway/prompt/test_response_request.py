"""A request for a response becomes a chat's; what is wrong in it is named as the client wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain import Asked, JsonObject
from gateway.errors import InvalidRequest
from gateway.prompt import parse
from gateway.prompt.response_policy import RESPONSES
from gateway.prompt.response_request import Origin, ResponseRequest, as_chat, input_listed, response_request
from tests.unit.gateway.prompt.calls import MODEL, call, policy

LOOK: JsonObject = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}
HELLO: JsonObject = {"role": "user", "content": "Hello"}
SCHEMA: JsonObject = {"type": "object", "properties": {"a": {"type": "integer"}}}
WITH_LOGPROBS = "message.output_text.logprobs"
HISTORY: list[JsonObject] = [
    {"id": "msg_1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look."}]},
    {"id": "fc_1", "type": "function_call", "call_id": "before", "name": "look", "arguments": "{}"},
]


def request(fields: JsonObject | None = None, *, drops_unknown: bool = False) -> ResponseRequest:
    """Return what a minimal request with `fields` asks for."""
    body = orjson.dumps({"model": MODEL, "input": "Hello", **(fields or {})})
    return response_request(body, drops_unknown=drops_unknown)


def chat(fields: JsonObject | None = None, history: list[JsonObject] | None = None) -> JsonObject:
    """Return the chat of such a request."""
    return as_chat(request(fields), history or [])[0]


def added(fields: JsonObject) -> JsonObject:
    """Return what `fields` add to the chat."""
    plain = chat()
    return {name: value for name, value in chat(fields).items() if name not in plain or plain[name] != value}


def refusal(fields: JsonObject) -> InvalidRequest:
    """Return how a request is refused before there is a chat."""
    with pytest.raises(InvalidRequest) as caught:
        as_chat(request(fields), [])
    assert caught.value.status == 400
    return caught.value


def parsed(fields: JsonObject, history: list[JsonObject] | None = None, **settings: Any) -> Asked:
    """Return what the chat of such a request is for the pipeline."""
    return parse(call(orjson.dumps(chat(fields, history))), policy(**settings))


def named(fields: JsonObject, history: list[JsonObject] | None = None, **settings: Any) -> InvalidRequest:
    """Return the refusal of the chat's own checks as the client reads it."""
    made, origin = as_chat(request(fields), history or [])
    with pytest.raises(InvalidRequest) as caught:
        parse(call(orjson.dumps(made)), policy(**settings))
    error = origin.named(caught.value)
    assert error is caught.value
    return caught.value


# Every field.


def test_a_minimal_request_is_a_minimal_chat() -> None:
    assert chat() == {"model": MODEL, "stream": False, "messages": [HELLO]}


@pytest.mark.parametrize(
    ("fields", "passed"),
    [
        ({"temperature": 0.5, "top_p": 0.9, "top_k": 5, "seed": 7, "stop": ["x"]}, None),
        ({"presence_penalty": 1, "frequency_penalty": -1, "min_p": 0.1, "repetition_penalty": 1.1}, None),
        ({"logit_bias": {"1": 2}, "skip_special_tokens": False, "include_stop_str_in_output": True}, None),
        ({"max_output_tokens": 9}, {"max_completion_tokens": 9}),
        ({"parallel_tool_calls": False}, None),
        ({"metadata": {"a": "b"}, "store": False}, None),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"stream": True, "stream_options": {"include_obfuscation": False}}, added({"stream": True})),
        ({"stream": False, "stream_options": {"include_obfuscation": True}}, {}),
        ({"include": [WITH_LOGPROBS]}, {"logprobs": True, "top_logprobs": 0}),
        ({"include": [WITH_LOGPROBS], "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"top_logprobs": 0, "include": ["reasoning.encrypted_content"]}, {}),
        ({"tools": []}, {}),
        ({"tool_choice": "auto"}, None),
        (
            {"tool_choice": {"type": "function", "name": "look"}},
            {"tool_choice": {"type": "function", "function": {"name": "look"}}},
        ),
        ({"text": {}}, {}),
        ({"text": {"format": None, "verbosity": "low"}}, {}),
        ({"text": {"format": {"type": "text"}}}, {"response_format": {"type": "text"}}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        ({"truncation": "disabled", "background": False}, {}),
        ({"user": "u", "safety_identifier": "s", "service_tier": "flex", "prompt_cache_key": "k"}, {}),
        ({"reasoning": {"effort": "low"}, "max_tool_calls": 3, "moderation": {"a": 1}}, {}),
        ({"previous_response_id": "resp_1"}, {}),
        ({"instructions": ""}, {}),
        (dict.fromkeys(RESPONSES.keys() - {"model", "input"}), {}),
    ],
)
def test_a_field_is_what_it_is_in_a_chat(fields: JsonObject, passed: JsonObject | None) -> None:
    assert added(fields) == (fields if passed is None else passed)
    parsed({**fields, "tools": [LOOK]} if "tool_choice" in fields else fields)


def test_tools_are_those_of_a_chat() -> None:
    function = {"name": "look", "parameters": {"type": "object"}, "strict": True}
    assert added({"tools": [LOOK]}) == {"tools": [{"type": "function", "function": function}]}
    tools = parsed({"tools": [LOOK], "tool_choice": {"type": "function", "name": "look"}}).tools
    assert tools is not None
    assert tools.names == {"look"}


def test_a_schema_is_that_of_a_chat() -> None:
    form = {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True, "description": "…"}
    named = {"name": "a", "schema": SCHEMA, "strict": True, "description": "…"}
    assert added({"text": {"format": form}}) == {"response_format": {"type": "json_schema", "json_schema": named}}
    asked = parsed({"text": {"format": form}})
    assert asked.body["response_format"]["json_schema"] == {"name": "a", "schema": SCHEMA}


def test_instructions_are_the_first_message_and_history_comes_before_what_is_new() -> None:
    made = chat({"instructions": "Be brief."}, HISTORY)
    assert made["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "before", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        HELLO,
    ]


def test_what_is_asked_for_is_not_only_the_chat() -> None:
    asked = request({"instructions": "Be brief.", "previous_response_id": "resp_1", "store": True})
    assert (asked.instructions, asked.previous_response_id, asked.store) == ("Be brief.", "resp_1", True)
    assert asked.items == ({"type": "message", **HELLO},)
    plain = request()
    assert (plain.instructions, plain.previous_response_id, plain.store) == ("", None, None)
    assert request({"input": [HELLO, HELLO]}).items == (HELLO, HELLO)


def test_only_new_items_are_listed_and_their_ids_differ() -> None:
    items = input_listed(request({"input": [HELLO, {**HELLO, "id": "msg_1"}, HELLO]}), "resp_1_")
    assert [item["id"] for item in items] == ["resp_1_0000", "msg_1", "resp_1_0002"]


# What is refused at once.


@pytest.mark.parametrize("given", ["", [], None])
def test_an_input_is_needed(given: Any) -> None:
    error = refusal({"input": given})
    assert (error.param, error.code) == ("input", "missing_required_parameter")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": 5}, "input", "invalid_value"),
        ({"input": [5]}, "input[0]", "invalid_value"),
        ({"background": True}, "background", "unsupported_parameter"),
        ({"background": "no"}, "background", "invalid_value"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"prompt": {"id": "p"}}, "prompt", "unsupported_parameter"),
        ({"cache_salt": "x"}, "cache_salt", "unsupported_parameter"),
        ({"truncation": "auto"}, "truncation", "invalid_value"),
        ({"store": "yes"}, "store", "invalid_value"),
        ({"include": "all"}, "include", "invalid_value"),
        ({"top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"top_logprobs": True}, "top_logprobs", "invalid_value"),
        ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
        ({"previous_response_id": 5}, "previous_response_id", "invalid_value"),
        ({"instructions": [HELLO]}, "instructions", "invalid_value"),
        ({"text": "json"}, "text", "invalid_value"),
        ({"text": {"format": "json"}}, "text.format", "invalid_value"),
        ({"text": {"format": []}}, "text.format", "invalid_value"),
        ({"metadata": {"a": 5}}, "metadata", "invalid_value"),
        ({"metadata": {"a": None}}, "metadata", "invalid_value"),
        ({"metadata": {"": "x"}}, "metadata", "invalid_value"),
        ({"metadata": {"a" * 65: "x"}}, "metadata", "invalid_value"),
        ({"metadata": {"a": "x" * 513}}, "metadata", "invalid_value"),
        ({"metadata": {str(index): "x" for index in range(17)}}, "metadata", "invalid_value"),
        ({"tools": ["look"]}, "tools", "invalid_value"),
        ({"tools": [LOOK, {"type": "web_search"}]}, "tools[1].type", "unsupported_parameter"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type", "unsupported_parameter"),
        ({"tools": [{"name": "x"}]}, "tools[0].type", "unsupported_parameter"),
        ({"tool_choice": "always"}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "function"}}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "function", "name": ["x"]}}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [1]}}, "tool_choice.tools[0]", "invalid_value"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice", "invalid_value"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_field(fields: JsonObject, param: str, code: str) -> None:
    error = refusal(fields)
    assert (error.param, error.code) == (param, code)
    assert f"'{param}'" in error.message


def test_metadata_may_be_as_large_as_it_says() -> None:
    metadata = {f"{index:064}": "é" * 512 for index in range(16)}
    assert request({"metadata": metadata}).shown["metadata"] == metadata


def test_a_tool_choice_as_a_chat_writes_it_is_told_how_a_response_does() -> None:
    error = refusal({"tools": [LOOK], "tool_choice": {"type": "function", "function": {"name": "look"}}})
    assert "{'type': 'function', 'name': …}" in error.message


def test_a_field_that_nobody_knows_is_refused_or_dropped() -> None:
    for name in ("colour", "messages", "n", "response_format"):
        assert refusal({name: 1}).param == name
        assert request({name: 1}, drops_unknown=True) == request()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"input":"\xff"}', b'{"input":"\\ud800"}'])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        response_request(body, drops_unknown=False)
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize(
    "fields",
    [
        b'"input":[{"role":"user","content":"x","extra":%b}]',
        b'"input":"x","text":{"extra":%b}',
        b'"input":"x","tools":[{"type":"function","name":"look","extra":%b}]',
        b'"input":"x","tool_choice":{"type":"function","name":"look","extra":%b}',
    ],
)
def test_what_could_not_be_written_again_is_refused_before_anything_is_done(fields: bytes) -> None:
    deep = b"[" * 260 + b"]" * 260
    with pytest.raises(InvalidRequest) as caught:
        response_request(b'{"model":"m",%b}' % (fields % deep), drops_unknown=False)
    assert (caught.value.message, caught.value.code) == ("The body is nested too deeply.", "invalid_json")


@pytest.mark.parametrize(
    "fields",
    [
        b'"input":[{"role":"user","content":"x","extra":%b}]',
        b'"input":"x","text":{"extra":%b}',
        b'"input":"x","tool_choice":{"type":"function","name":"look","extra":%b}',
    ],
)
def test_what_just_can_be_written_can_be_written_where_it_will_stand(fields: bytes) -> None:
    taken = 0
    for depth in range(240, 260):
        body = b'{"model":"m",%b}' % (fields % (b"[" * depth + b"]" * depth))
        try:
            asked = response_request(body, drops_unknown=False)
        except InvalidRequest:
            break
        taken += 1
        orjson.dumps({"type": "response.created", "response": asked.shown})
        orjson.dumps({"object": "list", "data": input_listed(asked, "new_")})
    assert taken > 5


def test_a_request_knows_how_many_bytes_of_it_would_be_kept() -> None:
    small, large = request(), request({"input": "Hello" * 100, "instructions": "Be brief." * 100})
    assert large.bytes - small.bytes == 5 * 99 + len('"' + "Be brief." * 100 + '"') - len("null")


# What is shown.


def test_a_response_repeats_its_request() -> None:
    form = {"type": "json_schema", "name": "a", "schema": SCHEMA}
    fields: JsonObject = {
        "instructions": "Be brief.",
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "previous_response_id": "resp_1",
        "temperature": 0.5,
        "text": {"format": form, "verbosity": "low"},
        "tool_choice": {"type": "function", "name": "look"},
        "tools": [LOOK],
        "top_logprobs": 3,
        "top_p": 0.9,
        "background": False,
        "truncation": "disabled",
    }
    assert request(fields).shown.items() >= fields.items()


def test_a_response_names_what_holds_without_a_word_of_the_clients() -> None:
    assert request().shown == {
        "background": False,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": None,
        "truncation": "disabled",
        "user": None,
    }


def test_what_has_no_effect_is_not_shown_as_if_it_had() -> None:
    nothing = {"user": "u", "service_tier": "flex", "max_tool_calls": 3, "reasoning": {"effort": "high"}}
    assert request(nothing).shown == request().shown
    assert request(dict.fromkeys(request().shown)).shown == request().shown
    assert request({"text": {"format": None}}).shown == request().shown


# What the chat's own checks refuse.


def allowing(name: str) -> JsonObject:
    """Return a tool as a choice allows it."""
    return {"type": "function", "name": name}


def called(identity: Any, name: Any = "look", arguments: Any = "{}") -> JsonObject:
    """Return an item that calls a function."""
    return {"type": "function_call", "call_id": identity, "name": name, "arguments": arguments}


def result(identity: Any) -> JsonObject:
    """Return an item that answers a call."""
    return {"type": "function_call_output", "call_id": identity, "output": "found"}


def image(url: str) -> JsonObject:
    """Return an item with an image behind some words."""
    part = {"type": "input_image", "image_url": url}
    return {"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, part]}


CLIP = {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "!", "format": "wav"}}]}
SAID = {"role": "assistant", "content": "Let me see."}


@pytest.mark.parametrize("instructions", [{}, {"instructions": "Be brief."}])
@pytest.mark.parametrize("history", [[], HISTORY, [*HISTORY, result("before"), SAID]])
@pytest.mark.parametrize(
    ("new", "place"),
    [
        ([HELLO, HELLO, image("http://example.org/x.png")], "input[2].content[1].image_url"),
        ([HELLO, HELLO, image("https://example.org/x.png")], "input[2].content[1].image_url"),
        ([HELLO, image("data:image/png;base64,AAAA")], "input[1].content[1].image_url"),
        ([HELLO, CLIP], "input[1].content[0].input_audio.data"),
        ([HELLO, result("nobody")], "input[1].call_id"),
        ([HELLO, result(None)], "input[1].call_id"),
        ([HELLO, {"type": "reasoning"}, SAID, called("a"), called(5)], "input[4].call_id"),
        ([HELLO, called("")], "input[1].call_id"),
        ([HELLO, called("a"), called("b", "no name")], "input[2].name"),
        ([HELLO, SAID, called("a", None)], "input[2].name"),
        ([HELLO, called("a"), called("b"), result("a"), called("c", "look", {"a": 1})], "input[4].arguments"),
        ([HELLO, called("a", "look", None)], "input[1].arguments"),
        ([HELLO, *(called(str(number)) for number in range(129))], "input[1]"),
    ],
)
def test_a_place_in_the_input_is_named_as_the_client_counts(
    new: list[JsonObject], place: str, history: list[JsonObject], instructions: JsonObject
) -> None:
    error = named({"input": new, **instructions}, history)
    assert error.param == place
    assert error.message.startswith(f"'{place}' must be ")
    assert "message" not in error.message


def test_a_choice_may_allow_some_of_the_tools() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [allowing("look")]}
    tools = parsed({"tools": [LOOK, {**LOOK, "name": "hear"}], "tool_choice": choice}).tools
    assert tools is not None
    assert (set(tools.names), tools.forced) == ({"look"}, True)


def test_a_place_in_what_was_said_before_is_named_by_what_leads_to_it() -> None:
    error = named({"instructions": "Be brief."}, [HELLO, image("https://example.org/x.png")])
    assert error.param == "previous_response_id.content[1].image_url"
    error = named({}, [HELLO, called("a", "no name")])
    assert error.param == "previous_response_id.name"


def test_a_result_may_answer_a_call_of_a_response_before() -> None:
    asked = parsed({"input": [result("before")], "tools": [LOOK]}, HISTORY)
    assert '"tool_result"' in asked.body["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_output_tokens": 10**9}, "max_output_tokens"),
        ({"input": [HELLO] * 3_000}, "input"),
        ({"text": {"format": {}}}, "text.format.type"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "a b", "schema": SCHEMA}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {"pattern": "x"}}}}, "text.format.schema"),
        ({"text": {"format": {str(index): 1 for index in range(9)}}}, "text.format"),
        ({"tools": [{**LOOK, "name": "no name"}]}, "tools[0].name"),
        ({"tools": [LOOK, LOOK]}, "tools[1].name"),
        ({"tools": [{**LOOK, "parameters": {"type": "array"}}]}, "tools[0].parameters"),
        ({"tools": [{**LOOK, "description": 5}]}, "tools[0].description"),
        ({"tools": [{**LOOK, "extra": 1}]}, "tools[0].extra"),
        ({"tools": [LOOK], "tool_choice": {"type": "function", "name": "hear"}}, "tool_choice.name"),
        (
            {"tools": [LOOK], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [allowing("hear")]}},
            "tool_choice.tools[0].name",
        ),
        ({"tools": [LOOK], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice"),
        ({"tools": [LOOK], "tool_choice": {"type": "allowed_tools", "tools": [allowing("look")]}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [LOOK], "text": {"format": {"type": "json_object"}}}, "tool_choice"),
    ],
)
def test_a_field_is_named_as_the_client_calls_it(fields: JsonObject, param: str) -> None:
    error = named(fields, HISTORY, max_messages=1000)
    assert error.param == param
    assert error.message.startswith((f"'{param}'", "Unrecognized field 'tools"))
    for chats in ("messages[", "'messages'", "max_completion_tokens", "response_format", "json_schema.", ".function"):
        assert chats not in error.message


@pytest.mark.parametrize(
    "name", ["messages", "messages[0]", "messages[9].tool_calls[9]", "response_format", "tool_call_id", "function"]
)
def test_a_name_of_the_clients_own_is_left_as_it_is(name: str) -> None:
    error = named({"tools": [{**LOOK, name: 1}]})
    assert error.param == f"tools[0].{name}"
    assert error.message == f"Unrecognized field 'tools[0].{name}'."


def test_a_refusal_without_a_field_and_one_of_another_kind_stay_what_they_are() -> None:
    origin = Origin((), ())
    plain = InvalidRequest("It's 'messages' that don't fit.")
    assert origin.named(plain) is plain
    assert (plain.param, plain.message) == (None, "It's 'input' that don't fit.")
    beyond = InvalidRequest("'messages[7].content' is bad.", param="messages[7].content")
    origin.named(beyond)
    assert (beyond.param, beyond.message) == ("input.content", "'input.content' is bad.")


# Anything at all.

SCALARS = st.none() | st.booleans() | st.integers(-3, 10**6) | st.floats(allow_nan=False) | st.text(max_size=5)
WORDS = st.sampled_from(
    [
        *("user", "assistant", "system", "tool", "message", "function_call", "function_call_output", "reasoning"),
        *("input_text", "output_text", "input_image", "input_audio", "refusal", "function", "json_schema", "a", "look"),
        *("required", "none", "https://example.org/x.png", "data:image/png;base64,AAAA", WITH_LOGPROBS),
    ]
)
KEYS = st.sampled_from(
    [
        *(
            "type",
            "role",
            "content",
            "text",
            "image_url",
            "input_audio",
            "call_id",
            "name",
            "arguments",
            "output",
            "id",
        ),
        *("status", "refusal", "format", "schema", "parameters", "strict", "data", "messages", "function", "summary"),
    ]
)
ANY = st.recursive(
    SCALARS | WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)
TYPES = st.sampled_from(["message", "function_call", "function_call_output", "reasoning", "", None])
PARTS = st.fixed_dictionaries(
    {"type": WORDS}, optional={"text": SCALARS | WORDS, "image_url": ANY, "input_audio": ANY, "refusal": SCALARS}
)
ITEMS = st.fixed_dictionaries(
    {"type": TYPES | ANY},
    optional={
        "role": WORDS | ANY,
        "content": st.lists(PARTS | ANY, max_size=3) | ANY,
        "call_id": st.just("a") | ANY,
        "name": st.just("look") | ANY,
        "arguments": st.just("{}") | ANY,
        "output": st.lists(PARTS, max_size=2) | ANY,
        "id": ANY,
    },
)
INPUTS = st.lists(ITEMS | ANY, max_size=5) | ANY
TOOLS = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("function") | ANY},
        optional={"name": WORDS | ANY, "parameters": ANY, "messages": ANY, "description": ANY},
    ),
    max_size=3,
)
FORMATS = st.fixed_dictionaries({}, optional={"type": WORDS | ANY, "name": WORDS | ANY, "schema": ANY})
BODIES = st.fixed_dictionaries(
    {"model": st.just(MODEL), "input": INPUTS},
    optional={
        **{name: ANY for name in RESPONSES if name not in ("model", "input")},
        "tools": TOOLS | ANY,
        "text": st.fixed_dictionaries({"format": FORMATS | ANY}) | ANY,
        "metadata": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3) | ANY,
        "tool_choice": st.fixed_dictionaries({"type": WORDS, "name": WORDS}) | WORDS | ANY,
        "colour": ANY,
    },
)
"""Mostly what is nearly right, so that most of it is looked at."""


Result = TypeVar("Result")


def done_or_refused(act: Callable[[], Result], origin: Origin | None = None) -> Result | None:
    """Return what comes of it, None for a refusal that names a field of a response, none, or one that nobody knows."""
    try:
        return act()
    except InvalidRequest as refused:
        error = refused
    if origin is not None:
        origin.named(error)
    unknown = error.message == f"Unrecognized request argument: '{error.param}'."
    assert error.param is None or unknown or re.split(r"[.\[]", error.param)[0] in RESPONSES
    return None


SPARSE = st.fixed_dictionaries({"model": st.just(MODEL), "input": INPUTS}, optional={"tools": TOOLS | ANY})


@given(BODIES | SPARSE | ANY, st.lists(ITEMS, max_size=3), st.booleans())
@example({"model": MODEL, "input": [{"role": "user", "content": [{"type": []}]}]}, [], False)
def test_whatever_is_sent_is_a_chat_or_is_refused_by_a_field_of_the_clients(
    given_body: Any, history: list[JsonObject], drops_unknown: bool
) -> None:
    asked = done_or_refused(lambda: response_request(orjson.dumps(given_body), drops_unknown=drops_unknown))
    if asked is None:
        return
    found = done_or_refused(lambda: as_chat(asked, history))
    if found is None:
        return
    made, origin = found
    for each in (made, asked.shown, input_listed(asked, "new_")):
        orjson.dumps(each)
    assert len(origin.places) == len(made["messages"]) == len(origin.calls)
    done_or_refused(lambda: parse(call(orjson.dumps(made)), policy()), origin)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_bytes_are_sent_are_refused_or_read(body: bytes) -> None:
    done_or_refused(lambda: response_request(body, drops_unknown=True))
