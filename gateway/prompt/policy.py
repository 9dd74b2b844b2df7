"""The policy table: every parameter that a client can send, and what becomes of it.

It has a row for each that OpenAI's SDK or vLLM knows; tests compare. What an engine must never see is here with its
reason, because one such request can slow or kill it: unbounded `n`, client-made chat templates, grammars without a
compile time-out, token-id lists of any length.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.domain import Endpoint
from gateway.prompt.checks import (
    Check,
    array,
    biases,
    boolean,
    count,
    either,
    identifier,
    integer,
    mapping,
    number,
    one_of,
    text,
    token_ids,
)

MAX_STOP_STRINGS = 4
MAX_LOGIT_BIAS = 300
MAX_TOP_LOGPROBS = 20
MAX_NAME_CHARACTERS = 256
MAX_TOOLS = 128
MAX_SCHEMA_BYTES = 16_384
MAX_TEXTS = 128
MAX_TOKEN_IDS = 131_072
"""More than any Gemma's context; what is longer than the model's is refused before an engine is asked."""
CHOICES = array(500, text(256, min_characters=1))
SESSION_ID = identifier(64)
INT64 = 2**63 - 1


class Action(StrEnum):
    """What becomes of a parameter."""

    PASS = "pass"  # noqa: S105 - a word of the policy, not a credential
    """Checked, then sent to the engine as it is."""
    CAP = "cap"
    """Checked, held to a setting, then sent."""
    GATEWAY = "gateway"
    """Checked and used by the gateway, which decides what the engine is sent."""
    SET = "set"
    """The gateway's own to send or to leave out; from a client it is answered with 400."""
    IGNORE = "ignore"
    """Accepted without effect: clients send it, and it means nothing to a self-hosted model."""
    REFUSE = "refuse"
    """Answered with 400 and the reason."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row. `note` is the reason of a refusal, or what a reader of the docs should know."""

    name: str
    action: Action
    check: Check | None = None
    note: str = ""


def _pass(name: str, check: Check, note: str = "") -> Parameter:
    return Parameter(name, Action.PASS, check, note)


def own(name: str, check: Check, note: str) -> Parameter:
    """Return the row of a parameter that the gateway uses."""
    return Parameter(name, Action.GATEWAY, check, note)


def _cap(name: str, check: Check, note: str) -> Parameter:
    return Parameter(name, Action.CAP, check, note)


def reserved(*names: str) -> tuple[Parameter, ...]:
    """Return rows of what is the gateway's to send or to leave out."""
    return tuple(Parameter(name, Action.SET, None, "It is the gateway's to set, not a client's.") for name in names)


def ignore(*names: str) -> tuple[Parameter, ...]:
    """Return rows of what has no effect."""
    return tuple(Parameter(name, Action.IGNORE, None, "Accepted without effect.") for name in names)


def refuse(note: str, *names: str) -> tuple[Parameter, ...]:
    """Return rows of what is answered with 400, for the reason in `note`."""
    return tuple(Parameter(name, Action.REFUSE, None, note) for name in names)


_STOP_STRING = text(256, min_characters=1)

SAMPLING = (
    _pass("temperature", number(0, 2)),
    _pass("top_p", number(0, 1)),
    _pass("top_k", integer(-1, 100_000), "vLLM's; -1 or 0 is off."),
    _pass("min_p", number(0, 1), "vLLM's."),
    _pass("repetition_penalty", number(0.01, 10), "vLLM's."),
    _pass("presence_penalty", number(-2, 2)),
    _pass("frequency_penalty", number(-2, 2)),
    _pass("seed", integer(-INT64, INT64)),
    _pass("stop", either(_STOP_STRING, array(MAX_STOP_STRINGS, _STOP_STRING))),
    _pass("include_stop_str_in_output", boolean(), "vLLM's."),
    _pass("logit_bias", biases(MAX_LOGIT_BIAS)),
    _pass("skip_special_tokens", boolean(), "vLLM's."),
    _pass("spaces_between_special_tokens", boolean(), "vLLM's."),
)

_FORMS = (
    own("response_format", mapping(8), "`text`, `json_object` or `json_schema`."),
    own("guided_json", either(mapping(256), text(MAX_SCHEMA_BYTES)), "vLLM's former name of a JSON Schema."),
    own("guided_choice", CHOICES, "vLLM's former way to have one of some texts."),
    own("structured_outputs", mapping(16), "vLLM's; one of `json`, `choice` and `json_object`."),
    *refuse("Expressions and grammars have no compile time-out.", "guided_regex", "guided_grammar"),
    *refuse("The operator chooses it.", "guided_decoding_backend", "guided_whitespace_pattern"),
)

HARMFUL = (
    *refuse("Chat templates come from the model only.", "chat_template", "chat_template_kwargs", "documents"),
    *refuse("It changes how the prompt is built.", "add_special_tokens", "truncate_prompt_tokens", "truncation_side"),
    *refuse("It changes how the engine reads media.", "mm_processor_kwargs", "media_io_kwargs", "mm_payload"),
    *refuse("It can be used to slow or stop the engine.", "allowed_token_ids", "bad_words", "min_tokens"),
    *refuse("It can be used to slow or stop the engine.", "ignore_eos", "use_beam_search", "length_penalty"),
    *refuse("It can be used to slow or stop the engine.", "stop_token_ids", "logprob_token_ids", "prompt_logprobs"),
    *refuse("It can be used to slow or stop the engine.", "repetition_detection"),
    *refuse("It is for the engine's own tools.", "kv_transfer_params", "ec_transfer_params", "vllm_xargs"),
    *refuse("It is for the engine's own tools.", "return_token_ids", "return_tokens_as_token_ids", "prompt_embeds"),
    *refuse("It is for the engine's own tools.", "return_prompt_text", "return_token_offsets", "return_mm_kwargs"),
    *refuse("It is for the engine's own tools.", "routed_experts_prompt_start", "stream_interval", "watermarking"),
)

_COMMON = (
    own("model", text(MAX_NAME_CHARACTERS), "A name that /v1/models lists."),
    own("stream", boolean(), "Server-sent events instead of one body."),
    own("stream_options", mapping(8), "`include_usage` adds a last chunk with the usage."),
    _cap("n", count(), "Choices; the setting prompt.max_choices bounds it."),
    *SAMPLING,
    *_FORMS,
    *ignore("user", "store", "metadata", "service_tier", "prompt_cache_key", "prompt_cache_retention"),
    *ignore("safety_identifier", "moderation", "prompt_cache_options", "thinking_token_budget"),
    *reserved("priority", "cache_salt", "request_id"),
    *HARMFUL,
)

_CHAT = (
    own("messages", array(1_000_000), "The conversation; the setting prompt.max_messages bounds it."),
    _cap("max_tokens", count(), "The same as max_completion_tokens."),
    _cap("max_completion_tokens", count(), "Longest answer; the setting prompt.max_output_tokens bounds it."),
    own("session_id", SESSION_ID, "Continue this session; the header X-Session-Id does the same."),
    _pass("logprobs", boolean()),
    _pass("top_logprobs", integer(0, MAX_TOP_LOGPROBS)),
    own("tools", array(MAX_TOOLS, mapping(8)), "Functions that the answer may call; see Tools."),
    own("tool_choice", either(one_of("none", "auto", "required"), mapping(4)), "The default is `auto`."),
    own("parallel_tool_calls", boolean(), "With `false` an answer has one call at most."),
    own("modalities", array(1, one_of("text")), "This model writes text only."),
    *ignore("reasoning_effort", "include_reasoning", "verbosity", "prediction"),
    *refuse("This model writes text only.", "audio", "web_search_options"),
    *refuse("It changes how the prompt is built.", "echo", "add_generation_prompt", "continue_final_message"),
    *refuse("Not offered; OpenAI has retired it.", "functions", "function_call"),
)

_TEXT = text(4_000_000)
_TEXTS = either(_TEXT, array(MAX_TEXTS, _TEXT))

_COMPLETIONS = (
    own("prompt", either(_TEXTS, token_ids(MAX_TOKEN_IDS)), "The setting prompt.max_choices bounds texts times n."),
    _cap("max_tokens", count(), "Longest answer; the setting prompt.max_output_tokens bounds it."),
    _pass("logprobs", integer(0, MAX_TOP_LOGPROBS)),
    _pass("echo", boolean()),
    *ignore("best_of"),
    *refuse("It needs a model trained for it.", "suffix"),
    *refuse("Sessions are for chats.", "session_id"),
)


def table(*rows: Parameter) -> dict[str, Parameter]:
    """Return rows by name. Raises ValueError where one stands twice."""
    found = {row.name: row for row in rows}
    if len(found) != len(rows):
        raise ValueError("a parameter stands twice in the policy table")
    return found


TABLES: dict[Endpoint, dict[str, Parameter]] = {
    Endpoint.CHAT: table(*_COMMON, *_CHAT),
    Endpoint.COMPLETIONS: table(*_COMMON, *_COMPLETIONS),
}
