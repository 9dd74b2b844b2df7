"""Rewrite the chunks of a stream at byte level: our id and model in, the usage of each chunk out.

All chunks of one answer begin with the same bytes (id, object, created, model) and, with continuous usage, end with
`,"usage":{…}}`. Both are cut by position; JSON is parsed only where the shape differs, so a chunk costs a few
microseconds. A `"` inside a JSON text is escaped, so the marker cannot occur within one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import orjson

from gateway.domain import Usage
from gateway.errors import EngineBroke
from gateway.upstream.refusal import refusal_in_stream

DONE = b"[DONE]"
_CHOICES = b'"choices":'
_USAGE = b',"usage":'
_UNFINISHED = b'"finish_reason":null'
_ALL = b"all"
_INDEX = b'{"index":'
_MEMBERS = ("id", "object", "created", "model", "system_fingerprint", "service_tier", "choices")


class ChunkSplicer:
    """The chunks of one stream, in order. Not shared between streams.

    Of several prompts in one each has `prompt_choices` choices in a row, the first prompt's first; 0: there is but one.
    """

    __slots__ = (
        "_model",
        "_new_event_head",
        "_new_prefix",
        "_old_event_head",
        "_old_prefix",
        "_prompt_choices",
        "_public_id",
        "_usages",
        "_wants_usage",
        "done",
    )

    def __init__(self, public_id: str, model: str, wants_usage: bool, prompt_choices: int = 0) -> None:
        self._prompt_choices = prompt_choices
        self._public_id = public_id
        self._model = model
        self._wants_usage = wants_usage
        self._old_prefix = b""
        self._new_prefix = b""
        self._old_event_head = b""
        self._new_event_head = b""
        self._usages: dict[bytes, bytes] = {}
        self.done = False

    @property
    def usage(self) -> Usage | None:
        """The latest cumulative usage, None if the engine has sent none.

        Each choice's chunks count that choice and its prompt alone; only the chunk at the end sums them. Before it, we
        do: a prompt that no choice has begun to answer is not counted yet.
        """
        latest = self._usages.get(_ALL)
        if latest is not None:
            return _decoded(latest)
        counted = [(choice, usage) for choice, kept in self._usages.items() if (usage := _decoded(kept))]
        if not counted:
            return None
        prompts = {self._prompt_of(choice): usage.prompt_tokens for choice, usage in reversed(counted)}
        completion_tokens = sum(usage.completion_tokens for _, usage in counted)
        return replace(counted[0][1], prompt_tokens=sum(prompts.values()), completion_tokens=completion_tokens)

    def _prompt_of(self, choice: bytes) -> int:
        number = choice.removeprefix(_INDEX)
        return int(number) // self._prompt_choices if self._prompt_choices and number.isdigit() else 0

    def splice(self, payload: bytes) -> bytes:
        """Return the payload for the client, `b""` for one that it does not get. Raises EngineFailure."""
        if self._old_prefix and payload.startswith(self._old_prefix):
            return self._by_position(payload)
        if payload == DONE:
            self.done = True
            return b""
        return self._by_json(payload)

    def splice_event(self, event: bytes) -> bytes | None:
        """Return an event for the client in one go, None for one that must take the long way.

        Nearly every read brings exactly one ordinary chunk: known head, text, no finish reason, usage at the end.
        """
        start = len(self._old_event_head)
        if not (start and event.startswith(self._old_event_head) and event.endswith(b"}}\n\n")):
            return None
        cut = event.rfind(_USAGE, start)
        if cut < 0 or event.find(b"\n\n") != len(event) - 2 or _UNFINISHED not in event:
            return None
        tail = event[cut + len(_USAGE) : -3]
        if not _is_object(tail):
            return None
        self._usages[_choice_of(event, start)] = tail
        return self._new_event_head + event[start:cut] + b"}\n\n"

    def _by_position(self, payload: bytes) -> bytes:
        start = len(self._old_prefix)
        cut = payload.rfind(_USAGE, start)
        if cut < 0:
            return self._new_prefix + payload[start:]
        tail = payload[cut + len(_USAGE) : -1]
        if not _is_object(tail):
            return self._by_json(payload)
        if payload.startswith(b"[]", start):
            self._usages[_ALL] = tail
            return self._new_prefix + payload[start:] if self._wants_usage else b""
        self._usages[_choice_of(payload, start)] = tail
        return self._new_prefix + payload[start:cut] + b"}"

    def _by_json(self, payload: bytes) -> bytes:
        chunk = self._parsed(payload)
        self._learn_prefix(payload)
        choices, usage = chunk["choices"], chunk.get("usage")
        if usage is not None:
            key = _INDEX + b"%d" % choices[0]["index"] if choices else _ALL
            self._usages[key] = orjson.dumps(usage)
        if not choices:
            return self._renamed(chunk, ("usage",)) if self._wants_usage else b""
        return self._renamed(chunk, ())

    def _parsed(self, payload: bytes) -> dict[str, Any]:
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise EngineBroke("The engine sent a chunk that is not JSON.") from None
        if isinstance(chunk, dict) and chunk.get("error"):
            raise refusal_in_stream(payload)
        choices = chunk.get("choices") if isinstance(chunk, dict) else None
        if not isinstance(choices, list) or not all(map(_is_choice, choices)):
            raise EngineBroke("The engine sent a chunk of an unknown shape.")
        return cast("dict[str, Any]", chunk)

    def _learn_prefix(self, payload: bytes) -> None:
        at = payload.find(_CHOICES)
        try:
            members = orjson.loads(payload[:at].rstrip(b",") + b"}")
        except orjson.JSONDecodeError:
            return
        # Only a head of these plain members can be exchanged; with anything else each chunk goes through JSON.
        if list(members) == ["id", "object", "created", "model"]:
            self._old_prefix = payload[: at + len(_CHOICES)]
            self._old_event_head = b"data: " + self._old_prefix
            members |= {"id": self._public_id, "model": self._model}
            self._new_prefix = orjson.dumps(members)[:-1] + b"," + _CHOICES
            self._new_event_head = b"data: " + self._new_prefix

    def _renamed(self, chunk: dict[str, Any], further: tuple[str, ...]) -> bytes:
        """Return the chunk with our id and model, and without what vLLM adds to OpenAI's members."""
        kept = {name: chunk[name] for name in (*_MEMBERS, *further) if name in chunk}
        return orjson.dumps(kept | {"id": self._public_id, "model": self._model})


def _is_object(tail: bytes) -> bool:
    """Whether this is one JSON object and nothing behind it: a flat one is told by its only brace at the end."""
    if tail[:1] != b"{":
        return False
    if tail.find(b"}") == len(tail) - 1:
        return True
    try:
        return isinstance(orjson.loads(tail), dict)
    except orjson.JSONDecodeError:
        return False


def _is_choice(choice: Any) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("index"), int)


def _choice_of(payload: bytes, start: int) -> bytes:
    """Return what tells one choice's chunks from another's: `{"index":0`."""
    return payload[start + 1 : payload.find(b",", start)]


def _decoded(usage: bytes) -> Usage | None:
    """Return a kept usage; None for what was cut out by position and is no JSON after all."""
    try:
        return usage_of(orjson.loads(usage))
    except orjson.JSONDecodeError:
        return None


def usage_of(usage: Any) -> Usage | None:
    """Return vLLM's usage object as a value, None for anything else."""
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), _count(cached))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
