"""The policy table: complete, explained, and closed to what can harm an engine."""

from __future__ import annotations

import pytest

from gateway.domain import Endpoint
from gateway.prompt.checks import boolean
from gateway.prompt.policy import TABLES, Action, Parameter, _table

ROWS = [(endpoint, row) for endpoint, table in TABLES.items() for row in table.values()]
IDS = [f"{endpoint.name.lower()}.{row.name}" for endpoint, row in ROWS]

HARMFUL = (
    *("chat_template", "chat_template_kwargs", "guided_regex", "guided_grammar", "structured_outputs"),
    *("stop_token_ids", "allowed_token_ids", "bad_words", "ignore_eos", "min_tokens", "use_beam_search"),
    *("prompt_logprobs", "prompt_embeds", "kv_transfer_params", "vllm_xargs", "mm_processor_kwargs"),
    *("priority", "cache_salt", "request_id", "truncate_prompt_tokens", "media_io_kwargs"),
)


def test_every_endpoint_has_a_table() -> None:
    assert set(TABLES) == set(Endpoint)


@pytest.mark.parametrize(("endpoint", "row"), ROWS, ids=IDS)
def test_a_row_has_a_check_where_the_value_is_used_and_a_reason_where_it_is_not(
    endpoint: Endpoint, row: Parameter
) -> None:
    assert TABLES[endpoint][row.name] is row
    if row.action in (Action.PASS, Action.GATEWAY):
        assert row.check is not None
    else:
        assert row.check is None
        assert row.note.endswith(".")
    if row.action is Action.GATEWAY:
        assert row.note.endswith(".")


@pytest.mark.parametrize("endpoint", list(Endpoint))
@pytest.mark.parametrize("name", HARMFUL)
def test_what_can_slow_or_steer_an_engine_is_refused(endpoint: Endpoint, name: str) -> None:
    assert TABLES[endpoint][name].action is Action.REFUSE


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
    assert "session_id" not in TABLES[Endpoint.COMPLETIONS]
    assert "prompt" not in TABLES[Endpoint.CHAT]


def test_a_parameter_may_not_stand_twice() -> None:
    row = Parameter("x", Action.PASS, boolean())
    with pytest.raises(ValueError, match="twice"):
        _table(row, row)
