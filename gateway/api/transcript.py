"""A session as a text to read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.domain import JsonObject
from gateway.sessions import Message, SessionRecord

_CUT = {"length": "cut at the longest answer allowed", "cancelled": "stopped", "error": "broken off"}


def as_markdown(record: SessionRecord, messages: Sequence[Message]) -> str:
    """Return a session in Markdown: a heading for each message, what is no text named in italics."""
    begun = datetime.fromtimestamp(record.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = [f"# {record.content.title or record.id}", f"*{begun}, {len(messages)} messages*"]
    if record.content.system:
        parts += ["## System", record.content.system]
    for each in messages:
        parts.append(f"## {each.role.capitalize()}")
        parts += _paragraphs(each.kept)
    return "\n\n".join(parts) + "\n"


def _paragraphs(kept: JsonObject) -> list[str]:
    paragraphs = [_text(kept["content"])] if kept["content"] else []
    calls = [orjson.dumps(call["function"]).decode() for call in kept.get("tool_calls") or ()]
    paragraphs += [f"```json\n{call}\n```" for call in calls]
    note = _CUT.get(kept["finish_reason"] or "")
    return [*paragraphs, f"*({note})*"] if note else paragraphs


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n\n".join(part["text"] if part["type"] == "text" else f"*({part['type']})*" for part in content)
