"""A request for a response, as the chat request that it stands for. Pure.

What the chat's own checks refuse later they name by the chat's fields; `Origin.named` says what the client calls them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.domain import JsonObject
from gateway.errors import GatewayError, InvalidRequest
from gateway.prompt.parse import json_object, sorted_out
from gateway.prompt.response_items import chat_of, listed
from gateway.prompt.response_policy import RESPONSES

_WITH_LOGPROBS = "message.output_text.logprobs"
_MAX_METADATA_KEY_CHARACTERS = 64
_MAX_METADATA_VALUE_CHARACTERS = 512
_CALL = re.compile(r"(?<!\.)messages\[(\d+)\]\.tool_calls\[(\d+)\](\.function|(?P<id>\.id))?")
_MESSAGE = re.compile(r"(?<!\.)messages\[(\d+)\]")
_NAMES = (
    (re.compile(r"^('?)messages\b"), r"\1input"),
    (re.compile(r"^('?)max_completion_tokens\b"), r"\1max_output_tokens"),
    (re.compile(r"^('?)response_format(\.json_schema)?\b"), r"\1text.format"),
    (re.compile(r"^('?tool_choice)\.allowed_tools\b"), r"\1"),
    (re.compile(r"^('?)(tools\[\d+\]|tool_choice(\.tools\[\d+\])?)\.function\b"), r"\1\2"),
    (re.compile(r"^('?(input|previous_response_id)\b.*)\.tool_call_id\b"), r"\1.call_id"),
    (re.compile(r"^('?(input|previous_response_id)\b.*\.image_url)\.url\b"), r"\1"),
    (re.compile(r"^('?input\[\d+\])\.tool_calls\b"), r"\1"),
)
_BEFORE_IN_A_CHAT = "a call in 'tool_calls' of a message before it"
_BEFORE = "a 'function_call' before it"
_QUOTED = re.compile(r"'[^' ]*'")


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """What was asked for, but for the values that the chat's own checks look at."""

    chat: JsonObject
    """The chat request without its messages."""
    instructions: str
    items: tuple[JsonObject, ...]
    previous_response_id: str | None
    store: bool | None
    """None where the client did not say."""
    shown: JsonObject
    """What the response repeats of its request."""
    bytes: int
    """Of items and of what is shown, as JSON."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where each message of a chat stood in the request that it was made of."""

    places: tuple[str, ...]
    calls: tuple[tuple[str, ...], ...]
    """Where its calls did."""

    def named(self, error: GatewayError) -> GatewayError:
        """Return `error` in the client's own words, to be raised in its place."""
        if isinstance(error, InvalidRequest):
            message = error.message.replace(_BEFORE_IN_A_CHAT, _BEFORE)
            error.message = _QUOTED.sub(lambda match: self._name(match[0]), message)
            error.param = error.param and self._name(error.param)
        return error

    def _name(self, name: str) -> str:
        name = _MESSAGE.sub(self._place, _CALL.sub(self._place_of_call, name))
        for chats, ours in _NAMES:
            name = chats.sub(ours, name)
        return name

    def _place(self, match: re.Match[str]) -> str:
        index = int(match[1])
        return self.places[index] if index < len(self.places) else "input"

    def _place_of_call(self, match: re.Match[str]) -> str:
        place = self.calls[int(match[1])][int(match[2])]
        return f"{place}.call_id" if match["id"] else place


def response_request(body: bytes, *, drops_unknown: bool) -> ResponseRequest:
    """Return what `body` asks for. Raises InvalidRequest naming the field."""
    passed, own = sorted_out(json_object(body), RESPONSES, drops_unknown)
    if own.get("background"):
        raise InvalidRequest(
            "'background' is not accepted. Answers are made while the client waits.",
            param="background",
            code="unsupported_parameter",
        )
    items = _items(own.get("input"))
    instructions = own.get("instructions", "")
    stream = own.get("stream", False)
    wants_logprobs = _WITH_LOGPROBS in own.get("include", ()) or own.get("top_logprobs", 0) > 0
    tools = [_chat_tool(tool, f"tools[{index}]") for index, tool in enumerate(own.get("tools", ()))]
    chat: JsonObject = {
        **passed,
        **{name: own[name] for name in ("model", "parallel_tool_calls", "metadata", "store") if name in own},
        "stream": stream,
        **({"stream_options": {"include_usage": True}} if stream else {}),
        **({"max_completion_tokens": own["max_output_tokens"]} if "max_output_tokens" in own else {}),
        **({"logprobs": True, "top_logprobs": own.get("top_logprobs", 0)} if wants_logprobs else {}),
        **({"tools": tools} if tools else {}),
        **({"tool_choice": _chat_choice(own["tool_choice"])} if "tool_choice" in own else {}),
        **_chat_form(own.get("text", {}).get("format")),
    }
    shown = _shown(own, passed)
    # In a list, since they are written within events and lists: what is too deep there is refused here.
    size = len(written([items, shown]))
    return ResponseRequest(chat, instructions, items, own.get("previous_response_id"), own.get("store"), shown, size)


def written(value: Any) -> bytes:
    """Return a value of a client's as JSON. Raises InvalidRequest: what can be read may be nested too deeply for it."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise InvalidRequest("The body is nested too deeply.", code="invalid_json") from None


def as_chat(request: ResponseRequest, history: Sequence[JsonObject]) -> tuple[JsonObject, Origin]:
    """Return the chat request, with the items said before in front of the new ones. Raises InvalidRequest."""
    first = len(history)

    def where(index: int) -> str:
        return "previous_response_id" if index < first else f"input[{index - first}]"

    chat = chat_of([*history, *request.items], where)
    system = [{"role": "system", "content": request.instructions}] if request.instructions else []
    calls = tuple(tuple(map(where, calls)) for calls in chat.calls)
    origin = Origin((*("instructions" for _ in system), *map(where, chat.items)), (*(() for _ in system), *calls))
    return {**request.chat, "messages": [*system, *chat.messages]}, origin


def input_listed(request: ResponseRequest, name: str) -> list[JsonObject]:
    """Return the new items as they are kept and listed; those without an id get one that begins with `name`."""
    return listed(request.items, lambda index: f"{name}{index:04x}")


def _items(given: Any) -> tuple[JsonObject, ...]:
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": given}] if given else []
    if not given:
        raise InvalidRequest("You must provide an 'input'.", param="input", code="missing_required_parameter")
    return tuple(given)


def _chat_tool(tool: JsonObject, where: str) -> JsonObject:
    kind = tool.get("type")
    if kind != "function":
        problem = f"'{where}.type' must be 'function': this gateway runs no tools of its own."
        raise InvalidRequest(problem, param=f"{where}.type", code="unsupported_parameter")
    return {"type": kind, "function": {key: value for key, value in tool.items() if key != "type"}}


def _chat_choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") == "allowed_tools" and isinstance(choice.get("tools"), list):
        tools = [_chat_function(tool, f"tool_choice.tools[{index}]") for index, tool in enumerate(choice["tools"])]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": tools}}
    return _chat_function(choice, "tool_choice", "'none', 'auto', 'required' or ")


def _chat_function(choice: Any, where: str, words: str = "") -> JsonObject:
    named = isinstance(choice, dict) and choice.get("type") == "function" and isinstance(choice.get("name"), str)
    if not named:
        wanted = f"{words}{{'type': 'function', 'name': …}}"
        raise InvalidRequest(f"'{where}' must be {wanted}.", param=where, code="invalid_value")
    return {"type": "function", "function": {"name": choice["name"]}}


def _chat_form(form: Any) -> JsonObject:
    """Return the form of an answer as a chat names it."""
    if form is None:
        return {}
    if not isinstance(form, dict):
        raise InvalidRequest("'text.format' must be an object.", param="text.format", code="invalid_value")
    if form.get("type") != "json_schema":
        return {"response_format": form}
    named = {key: value for key, value in form.items() if key != "type"}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _shown(own: JsonObject, passed: JsonObject) -> JsonObject:
    return {
        "background": False,
        "instructions": own.get("instructions"),
        "max_output_tokens": own.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": _checked_metadata(own.get("metadata", {})),
        "parallel_tool_calls": own.get("parallel_tool_calls", True),
        "previous_response_id": own.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "temperature": passed.get("temperature"),
        "text": {"format": {"type": "text"}} | _without_nulls(own.get("text", {})),
        "tool_choice": own.get("tool_choice", "auto"),
        "tools": own.get("tools", []),
        "top_logprobs": own.get("top_logprobs", 0),
        "top_p": passed.get("top_p"),
        "truncation": "disabled",
        "user": None,
    }


def _without_nulls(given: JsonObject) -> JsonObject:
    return {name: value for name, value in given.items() if value is not None}


def _checked_metadata(given: JsonObject) -> JsonObject:
    for key, value in given.items():
        fits = isinstance(value, str) and len(value) <= _MAX_METADATA_VALUE_CHARACTERS
        if not fits or not 0 < len(key) <= _MAX_METADATA_KEY_CHARACTERS:
            wanted = "texts of at most 512 characters under names of 1 to 64"
            raise InvalidRequest(f"'metadata' must be {wanted}.", param="metadata", code="invalid_value")
    return given
