"""A client's bytes become an Asked or a 4xx that names the field, and nothing else ever."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config import PromptSettings
from gateway.domain import Asked, Endpoint
from gateway.errors import Forbidden, GatewayError, InvalidRequest, ModelNotFound
from gateway.prompt import Policy, parse
from gateway.prompt.policy import TABLES, Action
from gateway.prompt.salt import cache_salt
from tests.unit.gateway.prompt.calls import HELLO, MODEL, ONCE, call, parsed, policy

CHAT, TEXT = Endpoint.CHAT, Endpoint.COMPLETIONS
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(sorted({name for table in TABLES.values() for name in table} | {"role", "content", "x"}))


def refused(body: bytes, endpoint: Endpoint = CHAT, **settings: Any) -> GatewayError:
    """Return the error that this body is refused with."""
    with pytest.raises(GatewayError) as caught:
        parse(call(body, endpoint), policy(**settings))
    return caught.value


def refused_with(fields: dict[str, Any], endpoint: Endpoint = CHAT, **settings: Any) -> GatewayError:
    """Return the error for a good request with these fields in it."""
    minimal = HELLO if endpoint is CHAT else ONCE
    return refused(json.dumps({**minimal, **fields}).encode(), endpoint, **settings)


def test_the_least_request_gets_the_defaults() -> None:
    assert parsed({}) == Asked(
        endpoint=CHAT,
        model=MODEL,
        body={
            "model": MODEL,
            "messages": ({"role": "user", "content": "Hello"},),
            "max_completion_tokens": 1024,
        },
        stream=False,
        wants_usage=False,
        session_id=None,
    )


def test_the_least_text_request_gets_the_defaults() -> None:
    assert parsed({}, TEXT).body == {"model": MODEL, "prompt": "Once", "max_tokens": 1024}


@pytest.mark.parametrize(
    ("fields", "passed"),
    [
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_p": 0.5, "top_k": -1, "min_p": 0, "seed": -1}, {"top_p": 0.5, "top_k": -1, "min_p": 0, "seed": -1}),
        ({"stop": "\n"}, {"stop": "\n"}),
        ({"stop": ["a", "b", "c", "d"]}, {"stop": ["a", "b", "c", "d"]}),
        ({"logit_bias": {"5": -100}}, {"logit_bias": {"5": -100}}),
        ({"logprobs": True, "top_logprobs": 20}, {"logprobs": True, "top_logprobs": 20}),
        ({"n": 1}, {}),
        ({"n": 4}, {"n": 4}),
        ({"modalities": ["text"]}, {}),
        ({"max_tokens": 7}, {"max_completion_tokens": 7}),
        ({"max_completion_tokens": 7}, {"max_completion_tokens": 7}),
        ({"max_completion_tokens": 7, "max_tokens": 7}, {"max_completion_tokens": 7}),
        ({"user": {"any": ["thing"]}, "store": 1, "metadata": "x", "parallel_tool_calls": None}, {}),
        ({"temperature": None, "stop": None, "chat_template": None, "stream": None, "n": None}, {}),
        ({"response_format": {"type": "text"}, "tools": [], "tool_choice": "none"}, {}),
    ],
)
def test_a_good_field_reaches_the_engine_as_the_table_says(fields: dict[str, Any], passed: dict[str, Any]) -> None:
    body = {name: value for name, value in parsed(fields).body.items() if name not in ("model", "messages")}
    assert body == {"max_completion_tokens": 1024, **passed}


@pytest.mark.parametrize(
    ("fields", "passed"),
    [
        ({"prompt": ["Once"]}, {"prompt": "Once"}),
        ({"prompt": ["a", "b"]}, {"prompt": ["a", "b"]}),
        ({"prompt": ["a", "b"], "n": 2}, {"prompt": ["a", "b"], "n": 2}),
        ({"prompt": [2, 0, 7]}, {"prompt": [2, 0, 7]}),
        ({"prompt": [0]}, {"prompt": [0]}),
        ({"logprobs": 3, "echo": True}, {"logprobs": 3, "echo": True}),
        ({"max_tokens": 7, "best_of": 9}, {"max_tokens": 7}),
    ],
)
def test_a_good_field_of_a_text_request_reaches_the_engine(fields: dict[str, Any], passed: dict[str, Any]) -> None:
    assert parsed(fields, TEXT).body == {"model": MODEL, "prompt": "Once", "max_tokens": 1024, **passed}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": ""}, "model", "missing_required_parameter"),
        ({"model": 3}, "model", "invalid_value"),
        ({"model": "m" * 257}, "model", "invalid_value"),
        ({"messages": None}, "messages", None),
        ({"messages": []}, "messages", None),
        ({"messages": "hi"}, "messages", "invalid_value"),
        ({"messages": [{"role": [], "content": "x"}]}, "messages[0].role", None),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"temperature": "1"}, "temperature", "invalid_value"),
        ({"temperature": True}, "temperature", "invalid_value"),
        ({"top_k": -2}, "top_k", "invalid_value"),
        ({"seed": 2**63}, "seed", "invalid_value"),
        ({"stop": ["a"] * 5}, "stop", "invalid_value"),
        ({"stop": [1]}, "stop", "invalid_value"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"5": [[]]}}, "logit_bias", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_value"),
        ({"stream": 1}, "stream", "invalid_value"),
        ({"stream_options": {}}, "stream_options", None),
        ({"stream": True, "stream_options": []}, "stream_options", "invalid_value"),
        ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", "invalid_value"),
        ({"modalities": ["audio"]}, "modalities", "invalid_value"),
        ({"modalities": ["text", "audio"]}, "modalities", "invalid_value"),
        ({"modalities": "text"}, "modalities", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 5}, "n", "invalid_value"),
        ({"n": True}, "n", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 8193}, "max_tokens", "invalid_value"),
        ({"max_completion_tokens": 8193}, "max_completion_tokens", "invalid_value"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens", None),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_value"),
        ({"response_format": {"type": "structural_tag"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": ["text"]}}, "response_format.type", "invalid_value"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"stop": [""]}, "stop", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools[0]", "invalid_value"),
        ({"tool_choice": {"type": "function"}}, "tool_choice", "invalid_value"),
        ({"chat_template": "{{ x }}"}, "chat_template", "unsupported_parameter"),
        ({"functions": []}, "functions", "unsupported_parameter"),
        ({"temprature": 1}, "temprature", None),
        ({"x" * 100: 1}, "x" * 64, None),
        ({"prompt": "x"}, "prompt", None),
        ({"session_id": 5}, "session_id", "invalid_value"),
        ({"session_id": ""}, "session_id", "invalid_value"),
        ({"session_id": "s" * 65}, "session_id", "invalid_value"),
        ({"session_id": "sess_1\r\nset-cookie: a=b"}, "session_id", "invalid_value"),
        ({"session_id": "sess_1:messages"}, "session_id", "invalid_value"),
        ({"session_id": "sess é"}, "session_id", "invalid_value"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], param: str, code: str | None) -> None:
    error = refused_with(fields)
    assert isinstance(error, InvalidRequest)
    assert (error.status, error.param, error.envelope()["error"]["code"]) == (400, param, code)
    assert param.split(".")[0].split("[")[0] in error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [""]}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [1.0]}, "prompt"),
        ({"prompt": [10**9]}, "prompt"),
        ({"prompt": [1] * 131_073}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"prompt": ["a"] * 5}, "prompt"),
        ({"prompt": ["a"] * 3, "n": 2}, "prompt"),
        ({"messages": []}, "messages"),
        ({"max_completion_tokens": 1}, "max_completion_tokens"),
        ({"suffix": "x"}, "suffix"),
        ({"logprobs": True}, "logprobs"),
    ],
)
def test_a_bad_field_of_a_text_request_is_named(fields: dict[str, Any], param: str) -> None:
    assert refused_with(fields, TEXT).param == param


@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_every_refused_parameter_is_answered_with_its_reason(endpoint: Endpoint) -> None:
    for row in TABLES[endpoint].values():
        if row.action in (Action.REFUSE, Action.SET):
            error = refused_with({row.name: 1}, endpoint)
            assert (error.status, error.param) == (400, row.name)
            assert row.note in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{'model': 1}",
        b'{"model": NaN}',
        b'{"temperature": Infinity}',
        b'{"temperature": 1e999}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        b'{"model": "\xff"}',
        b'{"model": "\\ud800"}',
        b'{"\\udc00": 1}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"messages": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"a": ' * 5000 + b"1" + b"}" * 5000,
        b"{} {}",
        b"\x00",
    ],
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    error = refused(body)
    assert isinstance(error, InvalidRequest)
    assert error.status == 400


def test_nesting_that_the_encoder_would_not_take_is_refused_or_left_out() -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    for name, row in TABLES[CHAT].items():
        try:
            asked = parsed_raw({**HELLO, name: deep})
        except GatewayError:
            continue
        orjson.dumps(asked.body)
        assert row.action is Action.IGNORE


def parsed_raw(fields: dict[str, Any]) -> Asked:
    """Parse what only the standard library's encoder can write."""
    return parse(call(json.dumps(fields).encode()), policy())


def test_a_number_too_large_for_a_double_is_refused() -> None:
    assert refused(b'{"model": "gemma-3n", "messages": [], "temperature": 1' + b"0" * 400 + b"}").status == 400


def test_of_two_members_with_one_name_the_last_holds() -> None:
    body = b'{"model": "gemma-3n", "messages": [{"role": "user", "content": "x"}], "n": 99, "n": 1}'
    assert "n" not in parse(call(body), policy()).body


def test_a_model_that_no_engine_serves_is_not_found() -> None:
    error = refused_with({"model": "gpt-4o"})
    assert isinstance(error, ModelNotFound)
    assert error.param == "model"
    assert "gpt-4o" in error.message


def test_a_model_that_the_credential_does_not_allow_is_forbidden() -> None:
    body = orjson.dumps(HELLO)
    with pytest.raises(Forbidden):
        parse(call(body, models=frozenset({"other"})), policy())
    assert parse(call(body, models=frozenset({MODEL})), policy()).model == MODEL


@pytest.mark.parametrize("allowed", [{"gpt-4o-mini"}, {MODEL}])
def test_an_alias_leads_to_a_model(allowed: set[str]) -> None:
    body = orjson.dumps({**HELLO, "model": "gpt-4o-mini"})
    aliases = {"gpt-4o-mini": MODEL}
    asked = parse(call(body, models=frozenset(allowed)), policy(model_aliases=aliases))
    assert (asked.model, asked.alias, asked.body["model"]) == (MODEL, "gpt-4o-mini", MODEL)
    with pytest.raises(Forbidden, match="gpt-4o-mini"):
        parse(call(body, models=frozenset({"other"})), policy(model_aliases=aliases))


def test_an_alias_of_a_model_that_nobody_serves_is_not_found_by_its_own_name() -> None:
    error = refused_with({"model": "gpt-4o"}, model_aliases={"gpt-4o": "gemma-9"})
    assert isinstance(error, ModelNotFound)
    assert "gpt-4o" in error.message
    assert "gemma-9" not in error.message


def test_a_models_own_name_is_no_alias() -> None:
    assert parsed({}).alias is None


def test_unknown_fields_can_be_dropped() -> None:
    fields = {"temprature": 1, "messages": [{"role": "user", "content": "Hello", "color": "red"}]}
    assert parsed(fields, unknown_fields="drop") == parsed({})


def test_what_is_known_and_refused_is_not_dropped() -> None:
    assert refused_with({"chat_template": "x"}, unknown_fields="drop").param == "chat_template"


@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_the_tenant_decides_the_cache_salt(endpoint: Endpoint) -> None:
    salted = Policy(PromptSettings(), frozenset({MODEL}), b"secret")
    body = orjson.dumps(HELLO if endpoint is CHAT else ONCE)
    assert parse(call(body, endpoint), salted).body["cache_salt"] == cache_salt(b"secret", "acme")
    with pytest.raises(InvalidRequest, match="gateway's to set"):
        parse(call(orjson.dumps({**HELLO, "cache_salt": "mine"})), salted)


def test_a_credential_without_any_model_is_forbidden_each() -> None:
    with pytest.raises(Forbidden):
        parse(call(orjson.dumps(HELLO), models=frozenset()), policy())


@pytest.mark.parametrize(
    ("fields", "stream", "wants_usage"),
    [
        ({}, False, False),
        ({"stream": False}, False, False),
        ({"stream": True}, True, False),
        ({"stream": True, "stream_options": None}, True, False),
        ({"stream": True, "stream_options": {}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": False}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": None}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True, True),
        ({"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}}, True, True),
    ],
)
def test_usage_is_sent_where_it_was_asked_for(fields: dict[str, Any], stream: bool, wants_usage: bool) -> None:
    asked = parsed(fields)
    assert (asked.stream, asked.wants_usage) == (stream, wants_usage)
    assert "stream" not in asked.body
    assert "stream_options" not in asked.body


def test_settings_bound_what_the_table_lets_through() -> None:
    assert refused_with({"n": 2}, max_choices=1).param == "n"
    assert refused_with({"max_tokens": 11}, max_output_tokens=10).param == "max_tokens"
    two = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert refused_with({"messages": two}, max_messages=1).param == "messages"
    assert parsed({}, default_max_tokens=3).body["max_completion_tokens"] == 3


@pytest.mark.parametrize(("name", "bound"), [("n", 4), ("max_tokens", 8192), ("max_completion_tokens", 8192)])
@pytest.mark.parametrize("value", [0, -1, 9000, 2**63 - 1])
def test_a_refusal_names_the_bound_that_holds_and_no_other(name: str, bound: int, value: int) -> None:
    message = refused_with({name: value}).message
    assert re.findall(r"\d+", message) == (["1"] if value < 1 else [str(bound)])


def test_the_session_is_taken_from_the_body_or_from_the_header_which_wins() -> None:
    body = orjson.dumps({**HELLO, "session_id": "sess_body"})
    assert parse(call(body), policy()).session_id == "sess_body"
    assert parse(call(body, session_id="sess_header"), policy()).session_id == "sess_header"
    assert "session_id" not in parse(call(body), policy()).body


@pytest.mark.parametrize("session_id", ["a\r\nx: y", "a b", "é", "a:b", "{a}", "s" * 65])
@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_a_session_id_that_cannot_be_one_is_refused_before_it_is_echoed(endpoint: Endpoint, session_id: str) -> None:
    body = orjson.dumps(HELLO if endpoint is CHAT else ONCE)
    with pytest.raises(InvalidRequest) as caught:
        parse(call(body, endpoint, session_id=session_id), policy())
    assert caught.value.param == "session_id"


def _answered(body: bytes, endpoint: Endpoint) -> None:
    refusal: GatewayError | None = None
    try:
        asked = parse(call(body, endpoint), policy())
        assert asked.model in policy().models
        orjson.dumps(asked.body)
    except (InvalidRequest, ModelNotFound, Forbidden) as error:
        refusal = error
    if refusal is not None:
        assert 400 <= refusal.status < 500
        orjson.dumps(refusal.envelope())


@given(st.binary(), st.sampled_from(Endpoint))
def test_any_bytes_are_answered(body: bytes, endpoint: Endpoint) -> None:
    _answered(body, endpoint)


@given(JSON, st.sampled_from(Endpoint))
def test_any_json_is_answered(value: Any, endpoint: Endpoint) -> None:
    _answered(json.dumps(value).encode("utf-8", "surrogatepass"), endpoint)


@given(st.dictionaries(NAMES, JSON), st.sampled_from(Endpoint))
@example({"messages": [{"role": {}, "content": ""}]}, CHAT)
@example({"logit_bias": {"1": {}}}, CHAT)
@example({"response_format": {"type": []}}, CHAT)
@example({"structured_outputs": {"json": []}}, CHAT)
@example({"guided_json": '{"$ref": "#"}'}, TEXT)
def test_any_value_of_any_known_field_is_answered(fields: dict[str, Any], endpoint: Endpoint) -> None:
    minimal = HELLO if endpoint is CHAT else ONCE
    _answered(json.dumps({**minimal, **fields}).encode("utf-8", "surrogatepass"), endpoint)


@given(st.lists(st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls", "type"]), JSON), min_size=1))
def test_any_messages_are_answered(messages: list[Any]) -> None:
    _answered(json.dumps({**HELLO, "messages": messages}).encode("utf-8", "surrogatepass"), CHAT)
