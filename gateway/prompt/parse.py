"""Bytes of a client → Asked, or a 400 that names the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from config import PromptSettings
from config.schema import UnknownFields
from gateway.domain import Asked, Call, Endpoint, JsonObject
from gateway.errors import Forbidden, InvalidRequest, ModelNotFound
from gateway.prompt.completion_prompt import completion_prompt, texts_in
from gateway.prompt.media import TEXT_ONLY, MediaLimits
from gateway.prompt.messages import checked_messages, messages_as_they_came
from gateway.prompt.policy import SESSION_ID, TABLES, Action, Parameter
from gateway.prompt.salt import cache_salt
from gateway.prompt.structured import form_of
from gateway.prompt.tools import ToolPlan, tool_plan, with_tools

_TOOL_NAMES = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
_PASS, _IGNORE = Action.PASS, Action.IGNORE
_REFUSED = (Action.REFUSE, Action.SET)


@dataclass(frozen=True, slots=True)
class Policy:
    """What parsing needs to know besides the request."""

    settings: PromptSettings
    models: frozenset[str]
    salt_secret: bytes = b""
    """Of the tenants' cache salts; without it none is sent."""
    media: MediaLimits = TEXT_ONLY


def parse(call: Call, policy: Policy) -> Asked:
    """Return what `call` asks for. Raises InvalidRequest, ModelNotFound, Forbidden."""
    given = json_object(call.body)
    drops_unknown = policy.settings.unknown_fields is UnknownFields.DROP
    body, own = sorted_out(given, TABLES[call.endpoint], drops_unknown)
    model, alias = _model(own, call, policy)
    stream = bool(own.get("stream", False))
    body["model"] = model
    session_id = _session_id(call, own)
    body.update(_prompt_of(call, own, policy, drops_unknown, in_session=session_id is not None))
    body[_length_name(call.endpoint)] = _max_tokens(own, policy.settings)
    _check_choices(own, body, policy.settings)
    body.update(form_of(own))
    plan = None if _TOOL_NAMES.isdisjoint(own) else tool_plan(own, drops_unknown)
    if plan is not None:
        _put_tools(plan, body, in_session=session_id is not None)
    if policy.salt_secret:
        body["cache_salt"] = cache_salt(policy.salt_secret, call.caller.tenant)
    wants_usage = _wants_usage(own, stream)
    tools = plan.use if plan else None
    tool_text = plan.text if plan and session_id is not None else ""
    # In the order of its members: by name it takes twice as long to make.
    return Asked(call.endpoint, model, body, stream, wants_usage, session_id, tools, alias, tool_text, call.regenerate)


def json_object(body: bytes) -> JsonObject:
    """Return the JSON object that `body` is. Raises InvalidRequest."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(given, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    return given


def sorted_out(given: JsonObject, table: dict[str, Parameter], drops_unknown: bool) -> tuple[JsonObject, JsonObject]:
    """Return what goes to the engine and what the gateway uses. A null is as good as absent, as at OpenAI.

    Raises InvalidRequest naming the field.
    """
    passed: JsonObject = {}
    own: JsonObject = {}
    for name, value in given.items():
        row = table.get(name)
        if row is None:
            if drops_unknown:
                continue
            raise InvalidRequest(f"Unrecognized request argument: '{name[:64]}'.", param=name[:64])
        if value is None or row.action is _IGNORE:
            continue
        if row.check is None or row.check.problem(value) is not None:
            _refuse(row, value)
        (passed if row.action is _PASS else own)[name] = value
    return passed, own


def _refuse(row: Parameter, value: Any) -> None:
    """Raise InvalidRequest for a value that does not pass its check, or has none to pass."""
    if row.check is not None:
        problem = row.check.problem(value)
        raise InvalidRequest(f"'{row.name}' must be {problem}.", param=row.name, code="invalid_value")
    if row.action in _REFUSED:
        refused = f"'{row.name}' is not accepted. {row.note}"
        raise InvalidRequest(refused, param=row.name, code="unsupported_parameter")


def _model(own: JsonObject, call: Call, policy: Policy) -> tuple[str, str | None]:
    """Return the model's own name and, if the client used another, that one. To be allowed either is enough."""
    asked = own.get("model")
    if not isinstance(asked, str) or not asked:
        raise InvalidRequest("You must provide a 'model'.", param="model", code="missing_required_parameter")
    model = policy.settings.model_aliases.get(asked, asked)
    if model not in policy.models:
        raise ModelNotFound(f"The model '{asked}' does not exist.", param="model")
    allowed = call.caller.models
    if allowed is not None and allowed.isdisjoint((asked, model)):
        raise Forbidden(f"This credential does not allow the model '{asked}'.", param="model")
    return model, None if model == asked else asked


def _prompt_of(call: Call, own: JsonObject, policy: Policy, drops_unknown: bool, *, in_session: bool) -> JsonObject:
    if call.regenerate:
        return {"messages": ()}
    if call.endpoint is Endpoint.CHAT:
        given, most = own.get("messages"), policy.settings.max_messages
        if in_session:
            return {"messages": messages_as_they_came(given, most, drops_unknown)}
        return {"messages": checked_messages(given, most, drops_unknown, policy.media)}
    return {"prompt": completion_prompt(own.get("prompt"))}


def _length_name(endpoint: Endpoint) -> str:
    return "max_completion_tokens" if endpoint is Endpoint.CHAT else "max_tokens"


def _max_tokens(own: JsonObject, settings: PromptSettings) -> int:
    name = "max_completion_tokens" if "max_completion_tokens" in own else "max_tokens"
    asked: int | None = own.get(name)
    if asked is None:
        return settings.default_max_tokens
    if own.get("max_tokens", asked) != asked:
        raise InvalidRequest("'max_tokens' and 'max_completion_tokens' are one and differ.", param="max_tokens")
    if asked > settings.max_output_tokens:
        raise InvalidRequest(
            f"'{name}' must be at most {settings.max_output_tokens}.", param=name, code="invalid_value"
        )
    return asked


def _check_choices(own: JsonObject, body: JsonObject, settings: PromptSettings) -> None:
    choices = own.get("n", 1)
    if choices > settings.max_choices:
        raise InvalidRequest(f"'n' must be at most {settings.max_choices}.", param="n", code="invalid_value")
    if choices * texts_in(body) > settings.max_choices:
        problem = f"'prompt' must have at most {settings.max_choices} texts, times 'n'."
        raise InvalidRequest(problem, param="prompt", code="invalid_value")
    if choices > 1:
        body["n"] = choices


def _put_tools(plan: ToolPlan, body: JsonObject, *, in_session: bool) -> None:
    """Put the tools into the prompt, in a session later, and a grammar beside it where a call is required."""
    if not in_session:
        body["messages"] = with_tools(body["messages"], plan.text)
    forms = [body.pop(name) for name in ("response_format", "structured_outputs") if name in body]
    if plan.schema is not None:
        # An answer that must be calls has their form; the one asked for is that of answers in words.
        body["structured_outputs"] = {"json": plan.schema}
    elif forms:
        raise InvalidRequest(
            "'tool_choice' must be 'none' or 'required' where a form is asked for.", param="tool_choice"
        )


def _wants_usage(own: JsonObject, stream: bool) -> bool:
    options = own.get("stream_options")
    if options is None:
        return False
    if not stream:
        raise InvalidRequest("'stream_options' is only allowed with 'stream'.", param="stream_options")
    include = options.get("include_usage")
    if include is not None and not isinstance(include, bool):
        name = "stream_options.include_usage"
        raise InvalidRequest(f"'{name}' must be true or false.", param=name, code="invalid_value")
    return bool(include)


def _session_id(call: Call, own: JsonObject) -> str | None:
    """Return the session asked for by header or path, else by body. It is echoed in a header, so its form is checked.

    No id of ours has another form; here it is refused before anything is done with it.
    """
    if call.session_id is not None and call.endpoint is not Endpoint.CHAT:
        raise InvalidRequest("Sessions are for chats.", param="session_id", code="unsupported_parameter")
    given: str | None = call.session_id or own.get("session_id")
    problem = SESSION_ID.problem(given) if given is not None else None
    if problem is not None:
        raise InvalidRequest(f"'session_id' must be {problem}.", param="session_id", code="invalid_value")
    return given
