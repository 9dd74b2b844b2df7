"""The OpenAPI entries of the raw routes, generated from the policy table that they are checked by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.domain import Endpoint
from gateway.prompt.policy import TABLES, Action, Parameter
from gateway.prompt.response_policy import RESPONSES
from gateway.prompt.transcription import FIELDS, Task

_REQUIRED = {Endpoint.CHAT: ["model", "messages"], Endpoint.COMPLETIONS: ["model", "prompt"]}
_SUMMARIES = {Endpoint.CHAT: "Create a chat completion", Endpoint.COMPLETIONS: "Create a completion"}
_NOT_IN_A_SESSION = ("messages", "session_id")
_TEXT_OR_NONE = {"anyOf": [{"type": "string"}, {"type": "null"}]}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {**_TEXT_OR_NONE, "description": "The field that is wrong."},
                "code": _TEXT_OR_NONE,
            },
        }
    },
}


def hot_path(endpoint: Endpoint) -> dict[str, Any]:
    """Return the path item of a hot route."""
    return {"post": _operation(endpoint, _SUMMARIES[endpoint], _body_schema(endpoint))}


def response_path() -> dict[str, Any]:
    """Return the path item of `POST /v1/responses`."""
    schema = {**_schema_of(RESPONSES), "required": ["model", "input"]}
    operation = _operation(Endpoint.CHAT, "Create a response", schema)
    operation["operationId"] = "post_response"
    operation["tags"] = ["responses"]
    return {"post": operation}


def session_message_path() -> dict[str, Any]:
    """Return the path item of `POST /v1/sessions/{session_id}/messages`."""
    schema = _body_schema(Endpoint.CHAT)
    rest = {name: value for name, value in schema["properties"].items() if name not in _NOT_IN_A_SESSION}
    schema["properties"] = {"content": {"type": "string"}, **rest}
    schema["required"] = ["content"]
    operation = _operation(Endpoint.CHAT, "Send a message to a session", schema)
    operation["operationId"] = "post_session_message"
    operation["tags"] = ["sessions"]
    operation["parameters"] = [
        {"name": "session_id", "in": "path", "required": True, "schema": {"type": "string"}},
    ]
    return {"post": operation}


def regenerate_path() -> dict[str, Any]:
    """Return the path item of `POST /v1/sessions/{session_id}/regenerate`."""
    item = session_message_path()
    schema = item["post"]["requestBody"]["content"]["application/json"]["schema"]
    del schema["properties"]["content"], schema["required"]
    item["post"]["requestBody"]["required"] = False
    item["post"]["summary"] = "Answer the last question of a session anew"
    item["post"]["operationId"] = "regenerate_session_answer"
    return item


def transcription_path(task: Task) -> dict[str, Any]:
    """Return the path item of a route that takes a clip as a form."""
    rows = [row for row in FIELDS.values() if row.action is not Action.REFUSE]
    schema = {
        "type": "object",
        "required": ["file", "model"],
        "properties": {row.name: _property(row) for row in rows} | {"file": {"type": "string", "format": "binary"}},
    }
    operation = _operation(Endpoint.CHAT, f"{task.name.capitalize()} a clip", schema)
    operation["tags"] = ["audio"]
    operation["operationId"] = f"post_{task.name.lower()}"
    operation["requestBody"]["content"] = {"multipart/form-data": {"schema": schema}}
    return {"post": operation}


def chat_session_path(path: str) -> dict[str, Any]:
    """Return the path item of a message under `/chat/sessions`."""
    item = session_message_path()
    word = path.rpartition("/")[2]
    item["post"]["operationId"] = f"post_chat_session_{word}"
    item["post"]["tags"] = ["chat sessions"]
    del item["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["stream"]
    return item


def finished(schema: dict[str, Any], public_paths: frozenset[str]) -> dict[str, Any]:
    """Return the whole document with what all operations have: the shape of an error, and the credential.

    FastAPI writes down its own 422, which no client of ours ever gets.
    """
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Error"] = _ERROR
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for path, item in schema["paths"].items():
        for operation in item.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"description": "An error.", "content": answer}
            if path in public_paths:
                operation["security"] = []
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"bearer": []}]
    return schema


def _body_schema(endpoint: Endpoint) -> dict[str, Any]:
    return {**_schema_of(TABLES[endpoint]), "required": _REQUIRED[endpoint]}


def _schema_of(table: Mapping[str, Parameter]) -> dict[str, Any]:
    rows = [row for row in table.values() if row.action not in (Action.REFUSE, Action.SET)]
    return {
        "type": "object",
        "properties": {row.name: _property(row) for row in rows},
        "additionalProperties": False,
    }


def _property(row: Parameter) -> dict[str, Any]:
    schema = dict(row.check.schema) if row.check else {}
    return schema | ({"description": row.note} if row.note else {})


def _operation(endpoint: Endpoint, summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    answers = {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}}
    return {
        "tags": ["chat"],
        "summary": summary,
        "operationId": f"post_{endpoint.name.lower()}",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "The answer, or its chunks as server-sent events.", "content": answers}},
    }
