"""The policy table of responses: complete, explained, and closed to what can harm an engine."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

import pytest
from openai.resources.responses import Responses as Sdk
from openai.resources.responses.input_tokens import InputTokens

from gateway.domain import Endpoint
from gateway.prompt.policy import TABLES, Action, Parameter
from gateway.prompt.response_policy import RESPONSES
from tests.unit.gateway.prompt.test_policy import GATEWAYS_OWN, HARMFUL, HTTP_OPTIONS, assert_explained

ROWS = list(RESPONSES.values())
NAMES = [row.name for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_row_has_a_check_where_the_value_is_used_and_a_reason_where_it_is_not(row: Parameter) -> None:
    assert RESPONSES[row.name] is row
    assert_explained(row)


@pytest.mark.parametrize("name", HARMFUL)
def test_what_can_slow_or_steer_an_engine_is_refused(name: str) -> None:
    assert name not in RESPONSES or RESPONSES[name].action is Action.REFUSE


@pytest.mark.parametrize("name", GATEWAYS_OWN)
def test_what_the_tenant_decides_is_not_the_clients(name: str) -> None:
    assert RESPONSES[name].action is Action.SET


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_what_goes_to_the_engine_unseen_is_checked_as_in_a_chat(row: Parameter) -> None:
    if row.action is Action.PASS:
        assert TABLES[Endpoint.CHAT][row.name] is row
    assert row.action is not Action.CAP


def sdk_parameters() -> set[str]:
    """Return what the installed SDK's `create()` and `input_tokens.count()` can send."""
    methods = (Sdk.create, InputTokens.count)
    return {name for method in methods for name in inspect.signature(method).parameters} - HTTP_OPTIONS


def vllm_fields() -> set[str]:
    """Return what the installed vLLM's request class has, from its source: importing it would take seconds."""
    found = importlib.util.find_spec("vllm")
    assert found
    assert found.origin
    source = Path(found.origin).parent / "entrypoints" / "openai" / "responses" / "protocol.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ResponsesRequest")
    targets = [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")}


def test_every_parameter_of_the_sdk_has_a_row() -> None:
    found = sdk_parameters()
    assert {"model", "input", "previous_response_id"} <= found
    assert found - set(RESPONSES) == set()


@pytest.mark.engine
def test_every_field_of_vllm_has_a_row() -> None:
    found = vllm_fields()
    assert {"model", "input", "previous_response_id"} <= found
    assert found - set(RESPONSES) == set()


@pytest.mark.engine
def test_a_row_is_known_to_somebody() -> None:
    of_chats = {row for table in TABLES.values() for row in table}
    assert set(RESPONSES) - sdk_parameters() - vllm_fields() - of_chats == set()


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("temperature", Action.PASS),
        ("input", Action.GATEWAY),
        ("max_output_tokens", Action.GATEWAY),
        ("user", Action.IGNORE),
        ("reasoning", Action.IGNORE),
        ("conversation", Action.REFUSE),
        ("session_id", Action.REFUSE),
        ("prompt", Action.REFUSE),
    ],
)
def test_well_known_parameters_are_treated_as_published(name: str, action: Action) -> None:
    assert RESPONSES[name].action is action


@pytest.mark.parametrize(
    "name", ["messages", "n", "max_tokens", "max_completion_tokens", "response_format", "functions"]
)
def test_parameters_of_a_chat_alone_are_not_known(name: str) -> None:
    assert name not in RESPONSES
