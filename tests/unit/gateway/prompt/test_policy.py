"""The policy table: complete, explained, and closed to what can harm an engine."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

import pytest
from openai.resources.chat.completions import Completions as SdkChat
from openai.resources.completions import Completions as SdkText

from gateway.domain import Endpoint
from gateway.prompt.checks import boolean
from gateway.prompt.policy import TABLES, Action, Parameter, table

ROWS = [(endpoint, row) for endpoint, table in TABLES.items() for row in table.values()]
IDS = [f"{endpoint.name.lower()}.{row.name}" for endpoint, row in ROWS]

HARMFUL = (
    *("chat_template", "chat_template_kwargs", "guided_regex", "guided_grammar", "add_special_tokens"),
    *("stop_token_ids", "allowed_token_ids", "bad_words", "ignore_eos", "min_tokens", "use_beam_search"),
    *("prompt_logprobs", "prompt_embeds", "kv_transfer_params", "vllm_xargs", "mm_processor_kwargs"),
    *("truncate_prompt_tokens", "media_io_kwargs", "repetition_detection", "return_mm_kwargs"),
)
GATEWAYS_OWN = ("priority", "cache_salt", "request_id")
HTTP_OPTIONS = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
FORMER_NAMES = {
    *("guided_json", "guided_choice", "guided_regex", "guided_grammar"),
    *("guided_decoding_backend", "guided_whitespace_pattern"),
}
"""vLLM knew these; now it ignores them, which the client would not notice."""


def assert_explained(row: Parameter) -> None:
    """Assert that a row has a check where the value is used, and a reason where it is not."""
    used = row.action in (Action.PASS, Action.CAP, Action.GATEWAY)
    assert (row.check is not None) is used
    assert row.note.endswith(".") or row.action is Action.PASS


def test_every_endpoint_has_a_table() -> None:
    assert set(TABLES) == set(Endpoint)


@pytest.mark.parametrize(("endpoint", "row"), ROWS, ids=IDS)
def test_a_row_has_a_check_where_the_value_is_used_and_a_reason_where_it_is_not(
    endpoint: Endpoint, row: Parameter
) -> None:
    assert TABLES[endpoint][row.name] is row
    assert_explained(row)


@pytest.mark.parametrize("endpoint", list(Endpoint))
@pytest.mark.parametrize("name", HARMFUL)
def test_what_can_slow_or_steer_an_engine_is_refused(endpoint: Endpoint, name: str) -> None:
    assert TABLES[endpoint][name].action is Action.REFUSE


@pytest.mark.parametrize("endpoint", list(Endpoint))
@pytest.mark.parametrize("name", GATEWAYS_OWN)
def test_what_the_tenant_decides_is_not_the_clients(endpoint: Endpoint, name: str) -> None:
    assert TABLES[endpoint][name].action is Action.SET


def sdk_parameters(endpoint: Endpoint) -> set[str]:
    """Return what the installed SDK's `create()` can send."""
    create = SdkChat.create if endpoint is Endpoint.CHAT else SdkText.create
    return set(inspect.signature(create).parameters) - HTTP_OPTIONS


def vllm_fields(endpoint: Endpoint) -> set[str]:
    """Return what the installed vLLM's request class has, from its source: importing it would take seconds."""
    found = importlib.util.find_spec("vllm")
    assert found
    assert found.origin
    folder, name = ("chat_completion", "Chat") if endpoint is Endpoint.CHAT else ("completion", "")
    source = Path(found.origin).parent / "entrypoints" / "openai" / folder / "protocol.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    (body,) = (
        node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == f"{name}CompletionRequest"
    )
    targets = [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")}


@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_every_parameter_of_the_sdk_has_a_row(endpoint: Endpoint) -> None:
    found = sdk_parameters(endpoint)
    assert "model" in found
    assert found - set(TABLES[endpoint]) == set()


@pytest.mark.engine
@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_every_field_of_vllm_has_a_row(endpoint: Endpoint) -> None:
    found = vllm_fields(endpoint)
    assert "model" in found
    assert found - set(TABLES[endpoint]) == set()


@pytest.mark.engine
def test_a_row_is_known_to_somebody() -> None:
    known = {name for endpoint in Endpoint for name in sdk_parameters(endpoint) | vllm_fields(endpoint)}
    rows = {name for table in TABLES.values() for name in table}
    assert rows - known == FORMER_NAMES


@pytest.mark.parametrize(
    ("endpoint", "name", "action"),
    [
        (Endpoint.CHAT, "temperature", Action.PASS),
        (Endpoint.CHAT, "messages", Action.GATEWAY),
        (Endpoint.CHAT, "user", Action.IGNORE),
        (Endpoint.CHAT, "audio", Action.REFUSE),
        (Endpoint.COMPLETIONS, "prompt", Action.GATEWAY),
        (Endpoint.COMPLETIONS, "best_of", Action.IGNORE),
        (Endpoint.COMPLETIONS, "suffix", Action.REFUSE),
    ],
)
def test_well_known_parameters_are_treated_as_published(endpoint: Endpoint, name: str, action: Action) -> None:
    assert TABLES[endpoint][name].action is action


def test_parameters_of_the_other_endpoint_are_not_known() -> None:
    assert "messages" not in TABLES[Endpoint.COMPLETIONS]
    assert "prompt" not in TABLES[Endpoint.CHAT]


def test_a_parameter_may_not_stand_twice() -> None:
    row = Parameter("x", Action.PASS, boolean())
    with pytest.raises(ValueError, match="twice"):
        table(row, row)
