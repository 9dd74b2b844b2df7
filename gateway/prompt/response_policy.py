"""The policy table of `POST /v1/responses`: https://platform.openai.com/docs/api-reference/responses/create.

A response is served as the chat that it stands for, so what is sampled, and how, is checked by the chat's own table.
"""

from __future__ import annotations

from gateway.prompt.checks import array, boolean, either, integer, mapping, one_of, text
from gateway.prompt.policy import (
    HARMFUL,
    INT64,
    MAX_NAME_CHARACTERS,
    MAX_TOOLS,
    MAX_TOP_LOGPROBS,
    SAMPLING,
    ignore,
    own,
    refuse,
    reserved,
    table,
)

_MAX_TEXT_CHARACTERS = 4_000_000
_MAX_METADATA = 16

RESPONSES = table(
    own("model", text(MAX_NAME_CHARACTERS), "A name that /v1/models lists."),
    own("input", either(text(_MAX_TEXT_CHARACTERS), array(1_000_000)), "A text, or a list of items."),
    own("instructions", text(_MAX_TEXT_CHARACTERS), "The system prompt of this response alone."),
    own("previous_response_id", text(64), "A kept response that this one goes on from."),
    own("store", boolean(), "Whether the response is kept; the setting responses.store says what holds without it."),
    own("metadata", mapping(_MAX_METADATA), "Texts that come back with the response."),
    own("stream", boolean(), "Server-sent events instead of one body."),
    own("stream_options", mapping(8), "`include_obfuscation` has no effect: nothing is padded."),
    own("max_output_tokens", integer(1, INT64), "Longest answer; the setting prompt.max_output_tokens bounds it."),
    own("text", mapping(8), "Its `format`: `text`, `json_object` or `json_schema`."),
    own("tools", array(MAX_TOOLS, mapping(8)), "Functions that the answer may call; see Tools."),
    own("tool_choice", either(one_of("none", "auto", "required"), mapping(4)), "The default is `auto`."),
    own("parallel_tool_calls", boolean(), "With `false` an answer has one call at most."),
    own("top_logprobs", integer(0, MAX_TOP_LOGPROBS), "With `include`, or above 0, texts have log probabilities."),
    own("include", array(16, text(64)), "Only `message.output_text.logprobs` has an effect."),
    own("truncation", one_of("disabled"), "What does not fit is refused; sessions leave the oldest out."),
    own("background", boolean(), "Only `false`: answers are made while the client waits."),
    *SAMPLING,
    *ignore("user", "safety_identifier", "service_tier", "prompt_cache_key", "prompt_cache_retention"),
    *ignore("prompt_cache_options", "reasoning", "include_reasoning", "max_tool_calls", "moderation", "personality"),
    *refuse("Name the response before with previous_response_id, or use a session.", "conversation", "session_id"),
    *refuse("Name the response before with previous_response_id, or send its items.", "previous_input_messages"),
    *refuse("The form of an answer is text.format.", "structured_outputs"),
    *refuse("It is for the engine's own tools.", "enable_response_messages"),
    *refuse("Answers are made while the client waits.", "background_options"),
    *refuse("No prompts are kept here.", "prompt"),
    *refuse("Nothing is compacted; sessions leave the oldest out.", "context_management"),
    *refuse("This model writes text only.", "image"),
    *refuse("There are no such programs here.", "access_programs"),
    *reserved("priority", "cache_salt", "request_id"),
    *HARMFUL,
)
