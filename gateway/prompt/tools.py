"""Tools for a model that knows none: rendered into the prompt, and a grammar where a call is required. Pure.

Gemma 3n has no tool format and vLLM no parser for one, so the gateway has an envelope of its own, which is one JSON
object: `{"tool_calls":[{"name":…,"arguments":{…}}]}`. The system text shows it, the history repeats it, and
`gateway/upstream/tool_calls.py` reads it. Shapes of tools and of calls:
https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.domain import JsonObject, ToolUse
from gateway.errors import InvalidRequest
from gateway.prompt.json_schema import schema_problem, size_problem, without_patterns
from gateway.prompt.tool_history import checked_name

MAX_CALLS = 8
MAX_DESCRIPTION_CHARACTERS = 4096
MAX_TOOLS_BYTES = 131_072

_HEAD = "You can call these tools. Each line is one tool: its name, what it does, the JSON Schema of its arguments."
_FORMAT = """\
To call {many}, answer with this JSON object and nothing before or after it:
{{"tool_calls":[{{"name":"the tool's name","arguments":{{}}}}]}}
Each result comes back as {{"tool_result":{{"call":1,"name":"the tool's name","content":"..."}}}}.
If no tool is needed, answer in plain words."""


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """What a request's tools mean: for the prompt, for the engine's grammar, and for who reads the answer."""

    text: str
    """For the system message. It depends on the tools only, whichever is chosen: the prefix cache lives on it."""
    schema: JsonObject | None
    """The envelope as a JSON Schema where a call is required, else None."""
    use: ToolUse


def tool_plan(asked: JsonObject, drops_unknown: bool = False) -> ToolPlan | None:
    """Return the plan for `tools`, `tool_choice` and `parallel_tool_calls`, None where nothing can be called.

    Raises InvalidRequest naming the field.
    """
    tools = _checked_tools(asked.get("tools") or [], drops_unknown)
    names = list(tools)
    choice = asked.get("tool_choice", "auto")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        choice, tools = _allowed(choice, tools)
    named = _named(choice, tools)
    if not tools or choice == "none":
        return None
    most = MAX_CALLS if asked.get("parallel_tool_calls", True) else 1
    offered = tools if named is None else {named: tools[named]}
    use = ToolUse(frozenset(offered), choice != "auto", most if named is None else 1)
    schema = _envelope_schema(_compilable(offered, names), use.max_calls) if use.forced else None
    return ToolPlan(_system_text(tools, most), schema, use)


def with_tools(messages: Iterable[JsonObject], text: str) -> tuple[JsonObject, ...]:
    """Return the messages with `text` as the end of the leading system message, or as one of its own."""
    first, *rest = messages
    if first["role"] not in ("system", "developer"):
        return ({"role": "system", "content": text}, first, *rest)
    content = first["content"]
    together = f"{content}\n\n{text}" if isinstance(content, str) else [*content, {"type": "text", "text": text}]
    return ({**first, "content": together}, *rest)


def _checked_tools(tools: list[Any], drops_unknown: bool) -> dict[str, JsonObject]:
    """Return each tool's function by its name, in the client's order."""
    found: dict[str, JsonObject] = {}
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if not isinstance(tool, dict) or tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
            raise _invalid(where, "an object of type 'function' with a 'function'")
        function = _checked_function(tool["function"], f"{where}.function", drops_unknown)
        if function["name"] in found:
            raise _invalid(f"{where}.function.name", "different from the names before it")
        found[function["name"]] = function
    if len(orjson.dumps(list(found.values()))) > MAX_TOOLS_BYTES:
        raise _invalid("tools", f"at most {MAX_TOOLS_BYTES} bytes of JSON together")
    return found


def _checked_function(given: JsonObject, where: str, drops_unknown: bool) -> JsonObject:
    """Return name, description and parameters, in this order. `strict` has no effect: see ToolPlan.schema."""
    unknown = next((key for key in given if key not in ("name", "description", "parameters", "strict")), None)
    if unknown is not None and not drops_unknown:
        raise InvalidRequest(f"Unrecognized field '{where}.{unknown[:64]}'.", param=f"{where}.{unknown[:64]}")
    function: JsonObject = {"name": checked_name(given.get("name"), f"{where}.name")}
    description = given.get("description")
    if description is not None:
        if not isinstance(description, str) or len(description) > MAX_DESCRIPTION_CHARACTERS:
            raise _invalid(f"{where}.description", f"a text of at most {MAX_DESCRIPTION_CHARACTERS} characters")
        function["description"] = description
    return {**function, "parameters": _checked_schema(given.get("parameters"), f"{where}.parameters")}


def _checked_schema(schema: Any, where: str) -> JsonObject:
    """Return the schema of a tool's arguments, which are an object. The model reads it, so its size is bounded."""
    if schema is None:
        return {"type": "object", "properties": {}}
    _refuse_if(size_problem(schema), where)
    if schema.get("type", "object") != "object":
        raise _invalid(where, "a JSON Schema of type 'object'")
    return {"type": "object", **schema}


def _compilable(offered: dict[str, JsonObject], names: list[str]) -> dict[str, JsonObject]:
    """Return the arguments' schemas of the tools that go into the grammar, by name; `names` are those of all tools.

    Patterns are left out, since the calls of a tool that has one are worth more than the certainty that each text
    matches: the model is shown them, and whoever runs the tool checks its arguments anyway.
    """
    schemas = {name: without_patterns(function["parameters"]) for name, function in offered.items()}
    for name, schema in schemas.items():
        _refuse_if(schema_problem(schema), f"tools[{names.index(name)}].function.parameters")
    return schemas


def _refuse_if(problem: str | None, where: str) -> None:
    if problem is not None:
        raise InvalidRequest(f"'{where}' must {problem}.", param=where, code="invalid_value")


def _named(choice: Any, tools: dict[str, JsonObject]) -> str | None:
    """Return the name of the one tool that must be called, None where `tool_choice` names none."""
    if isinstance(choice, str):
        if choice == "required" and not tools:
            raise InvalidRequest("'tool_choice' needs 'tools'.", param="tool_choice", code="invalid_value")
        return None
    return _name_of(choice, tools, "tool_choice")


def _allowed(choice: JsonObject, tools: dict[str, JsonObject]) -> tuple[str, dict[str, JsonObject]]:
    """Return the mode of a choice that allows some of the tools, and these: it is as if no other had been sent.

    The model is not told of the others, or it would call them where no grammar keeps it from that.
    """
    where = "tool_choice.allowed_tools"
    given = choice.get("allowed_tools")
    mode, listed = (given.get("mode"), given.get("tools")) if isinstance(given, dict) else (None, None)
    if mode not in ("auto", "required") or not isinstance(listed, list) or not listed:
        raise _invalid(where, "an object with a mode, 'auto' or 'required', and a list of tools")
    names = {_name_of(each, tools, f"{where}.tools[{index}]") for index, each in enumerate(listed)}
    return mode, {name: function for name, function in tools.items() if name in names}


def _name_of(choice: Any, tools: dict[str, JsonObject], where: str) -> str:
    """Return the name in a choice of one tool, which is one of `tools`."""
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        words = "'none', 'auto', 'required' or " if where == "tool_choice" else ""
        raise _invalid(where, words + "{'type': 'function', 'function': {'name': …}}")
    if name not in tools:
        raise _invalid(f"{where}.function.name", "the name of one of 'tools'")
    return name


def _system_text(tools: dict[str, JsonObject], most: int) -> str:
    lines = [orjson.dumps(function).decode() for function in tools.values()]
    return "\n".join([_HEAD, *lines, _FORMAT.format(many="one or several" if most > 1 else "one")])


def _envelope_schema(schemas: dict[str, JsonObject], most: int) -> JsonObject:
    """Return the envelope as a schema. Each tool's own schema stands under `$defs`, where its `$ref`s are led to."""
    kinds = [
        {
            "type": "object",
            "properties": {"name": {"const": name}, "arguments": {"$ref": f"#/$defs/{name}"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for name in schemas
    ]
    calls = {"type": "array", "minItems": 1, "maxItems": most, "items": {"anyOf": kinds}}
    return {
        "type": "object",
        "properties": {"tool_calls": calls},
        "required": ["tool_calls"],
        "additionalProperties": False,
        "$defs": {name: _moved(schema, f"#/$defs/{name}") for name, schema in schemas.items()},
    }


def _moved(value: Any, root: str) -> Any:
    """Return a schema whose references start from `root`, which is where it will stand."""
    if isinstance(value, list):
        return [_moved(each, root) for each in value]
    if not isinstance(value, dict):
        return value
    moved = {key: _moved(each, root) for key, each in value.items()}
    if isinstance(value.get("$ref"), str):
        moved["$ref"] = root + value["$ref"].removeprefix("#")
    return moved


def _invalid(where: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"'{where}' must be {wanted}.", param=where, code="invalid_value")
