"""Hostile requests, made from a seed: what a confused or malicious client may send to each route that takes a body."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.api.keys import KeyRequest
from gateway.api.sessions import SessionFields
from gateway.domain import Endpoint, JsonObject
from gateway.prompt.policy import TABLES, Action, Parameter

EVERY_NTH_IS_VALID = 20


class Fate(StrEnum):
    """What must become of a request."""

    SERVED = "served"
    REFUSED = "refused"
    EITHER = "either"
    """Nobody can say without the gateway's own rules; it may be anything but a failure."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One body, why it is sent, and what must become of it."""

    body: bytes
    why: str
    fate: Fate
    mark: str = ""
    """What a valid request says, so that its answer can be told from another's."""


@dataclass(frozen=True, slots=True)
class Target:
    """A route that takes a body. `wrong` holds, for each of its fields, values that it must not accept."""

    name: str
    path: str
    valid: Callable[[str], JsonObject]
    wrong: dict[str, list[Any]]
    status: int
    generates: bool
    strict_json: bool
    """Whether its JSON is read by the letter: UTF-8 without a mark, no NaN."""


_SAMPLES: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True, False],
    "integer": [0, -1, 7, 10**30],
    "number": [0.5, -1e308],
    "string": ["", "x", "true", "\x00", "﷽" * 50],
    "array": [[], [[]], [None], ["x", 1]],
    "object": [{}, {"x": 1}, {"": {}}],
}


def types_of(schema: JsonObject) -> set[str]:
    """Return the JSON types that a schema lets through; all of them where it says nothing."""
    if "anyOf" in schema:
        return {kind for entry in schema["anyOf"] for kind in types_of(entry)}
    kind = schema.get("type")
    if kind is None:
        return set(_SAMPLES)
    kinds = {kind} if isinstance(kind, str) else set(kind)
    return kinds | ({"integer"} if "number" in kinds else set())


def wrong_values(schema: JsonObject, *, null_is_absent: bool) -> list[Any]:
    """Return values of each type that the schema does not allow, and ones just out of its bounds."""
    allowed = types_of(schema) | ({"null"} if null_is_absent else set())
    wrong = [value for kind, values in _SAMPLES.items() if kind not in allowed for value in values]
    if "anyOf" not in schema:
        wrong += [schema["minimum"] - 1] if "minimum" in schema else []
        wrong += [schema["maximum"] + 1, 10**400] if "maximum" in schema else []
        wrong += ["x" * (schema["maxLength"] + 1)] if schema.get("maxLength", 10**6) < 10**6 else []
        wrong += [[0] * (schema["maxItems"] + 1)] if schema.get("maxItems", 10**6) < 10**6 else []
        wrong += ["no such word"] if "enum" in schema and "no such word" not in schema["enum"] else []
    return wrong


def _wrong_of(row: Parameter) -> list[Any]:
    if row.action is Action.REFUSE:
        return [value for values in _SAMPLES.values() for value in values if value is not None]
    return wrong_values(row.check.schema, null_is_absent=True) if row.check else []


def _wrong_of_table(endpoint: Endpoint) -> dict[str, list[Any]]:
    return {name: _wrong_of(row) for name, row in TABLES[endpoint].items()}


def _wrong_of_model(schema: JsonObject) -> dict[str, list[Any]]:
    return {name: wrong_values(field, null_is_absent=False) for name, field in schema["properties"].items()}


def chat_target() -> Target:
    """`/v1/chat/completions`."""

    def valid(mark: str) -> JsonObject:
        return {"model": "fake", "messages": [{"role": "user", "content": mark}], "max_tokens": 9}

    wrong = _wrong_of_table(Endpoint.CHAT)
    wrong["messages"] += [[message] for message in _bad_messages()]
    return Target("chat", Endpoint.CHAT.value, valid, wrong, 200, generates=True, strict_json=True)


def completions_target() -> Target:
    """`/v1/completions`."""

    def valid(mark: str) -> JsonObject:
        return {"model": "fake", "prompt": mark, "max_tokens": 9}

    wrong = _wrong_of_table(Endpoint.COMPLETIONS)
    wrong["prompt"] += [["one", ""], ["one", 2], [1, "two"], ["x"] * 5, [-1], [1.5], [True], [10**9], [[1]]]
    return Target("completions", Endpoint.COMPLETIONS.value, valid, wrong, 200, generates=True, strict_json=True)


def session_message_target(path: str) -> Target:
    """`/v1/sessions/{id}/messages`: a chat request whose messages are the session's."""

    def valid(mark: str) -> JsonObject:
        return {"content": mark, "max_tokens": 9}

    wrong = _wrong_of_table(Endpoint.CHAT)
    wrong["messages"] = [[], [{"role": "user", "content": "x"}], "x", 0]
    wrong["session_id"] = ["x", 0, []]
    wrong["content"] = ["", *wrong_values({"type": "string"}, null_is_absent=False)]
    return Target("session messages", path, valid, wrong, 200, generates=True, strict_json=True)


def sessions_target() -> Target:
    """`/v1/sessions`."""
    wrong = _wrong_of_model(SessionFields.model_json_schema())
    return Target(
        "sessions", "/v1/sessions", lambda mark: {"title": mark}, wrong, 201, generates=False, strict_json=False
    )


def keys_target() -> Target:
    """`/admin/keys`."""
    wrong = _wrong_of_model(KeyRequest.model_json_schema())
    return Target(
        "keys",
        "/admin/keys",
        lambda mark: {"tenant": "t", "user": mark},
        wrong,
        201,
        generates=False,
        strict_json=False,
    )


def _bad_messages() -> Iterator[Any]:
    yield from (None, 0, "x", [], {}, {"role": "user"}, {"content": "x"}, {"role": "robot", "content": "x"})
    roles: list[Any] = [None, 0, [], {}, "User", "user\x00", "tool "]
    yield from ({"role": role, "content": "x"} for role in roles)
    contents: list[Any] = [None, 0, 1.5, True, {}, [], [None], ["x"], [[]]]
    yield from ({"role": "user", "content": content} for content in contents)
    parts: list[Any] = [{}, {"type": "text"}, {"type": [], "text": "x"}, {"type": "no_such_type", "text": "x"}]
    texts: list[Any] = [None, 0, [], {}]
    parts += [{"type": "text", "text": text} for text in texts]
    yield from ({"role": "user", "content": [part]} for part in parts)
    yield {"role": "user", "content": "x", "no_such_field": 1}


def wrong_type_shots(target: Target) -> Iterator[Shot]:
    """Every field with every value that it must not take, in a request that is otherwise right."""
    for name, values in target.wrong.items():
        for value in values:
            yield Shot(_dumps({**target.valid("wrong type"), name: value}), f"{name} of a wrong value", Fate.REFUSED)
    for name in ("no_such_field", "", "__proto__", "\x00", "méssages", "x" * 10_000):
        yield Shot(_dumps({**target.valid("unknown"), name: 1}), "an unknown field", Fate.REFUSED)


def random_shots(target: Target, seed: int) -> Iterator[Shot]:
    """Without an end: all that can be wrong with a body, at random."""
    rng = random.Random(f"{target.name} {seed}")
    makers = (_random_json, _nested, _odd_number, _broken_text, _truncated, _flipped, _replaced, _encoded_otherwise)
    while True:
        maker = rng.choice(makers)
        body = maker(rng, target)
        yield Shot(body, maker.__name__.strip("_").replace("_", " "), fate_of(body, target))


def shots(target: Target, count: int, seed: int) -> Iterator[Shot]:
    """`count` requests: first each wrong value once, then random ones; every 20th is valid."""
    hostile = wrong_type_shots(target)
    rest = random_shots(target, seed)
    for number in range(count):
        if number % EVERY_NTH_IS_VALID == EVERY_NTH_IS_VALID - 1:
            mark = f"valid{number}"
            yield Shot(_dumps(target.valid(mark)), "valid", Fate.SERVED, mark)
        else:
            yield next(hostile, None) or next(rest)


def fate_of(body: bytes, target: Target) -> Fate:
    """Say what must become of `body`, judged by nothing but JSON's own rules: what is no JSON object is refused."""
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        return Fate.EITHER
    except ValueError:
        return Fate.REFUSED if target.strict_json else Fate.EITHER
    absent_is_fine = value is None and target.name == "sessions"
    return Fate.EITHER if isinstance(value, dict) or absent_is_fine else Fate.REFUSED


def random_value(rng: random.Random, target: Target, depth: int = 0) -> Any:
    """Return a random JSON value, whose objects often have this route's names."""
    roll = rng.random()
    if depth < 4 and roll < 0.25:
        return [random_value(rng, target, depth + 1) for _ in range(rng.randrange(4))]
    if depth < 4 and roll < 0.55:
        names = [*target.wrong, "role", "content", "type", "text", "x"]
        return {rng.choice(names): random_value(rng, target, depth + 1) for _ in range(rng.randrange(6))}
    return rng.choice(
        [None, True, False, rng.randint(-(2**70), 2**70), rng.uniform(-1e9, 1e9), _random_text(rng), "fake", "user", 1]
    )


def _random_json(rng: random.Random, target: Target) -> bytes:
    value = random_value(rng, target)
    if isinstance(value, dict) and rng.random() < 0.5:
        value = {**target.valid("random"), **value}
    return _dumps(value)


def _nested(rng: random.Random, target: Target) -> bytes:
    depth = rng.choice((60, 250, 300, 900, 1023, 1100, 5_000, 50_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    nest = opening * depth + b"1" + closing * depth
    if rng.random() < 0.3:
        return nest
    return _with_field(rng, target, nest)


def _odd_number(rng: random.Random, target: Target) -> bytes:
    numbers = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "-0", "-0.0", "01", "+1", ".5", "5.", "1e")
    long = ("9" * rng.choice((20, 400, 5_000)), "0." + "3" * 5_000, "-" + "9" * 400, "0x10", str(2**63), str(2**64))
    return _with_field(rng, target, rng.choice(numbers + long).encode())


def _broken_text(rng: random.Random, target: Target) -> bytes:
    broken = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\x00", b"\n", b"\x1f")
    escapes = (rb"\ud800", rb"\udc00\ud800", rb"\u12", rb"\x41", rb"\u0000", b"\\")
    text = b'"' + rng.choice(broken + escapes) + b'"'
    if rng.random() < 0.3:
        return _dumps(target.valid("broken"))[:-1] + b"," + text + b":1}"
    return _with_field(rng, target, text)


def _truncated(rng: random.Random, target: Target) -> bytes:
    whole = _dumps(target.valid("truncated"))
    return whole[: rng.randrange(len(whole))]


def _flipped(rng: random.Random, target: Target) -> bytes:
    body = bytearray(_dumps(target.valid("flipped")))
    for _ in range(rng.randint(1, 3)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return bytes(body)


def _replaced(rng: random.Random, target: Target) -> bytes:
    """One to three fields of a valid request with random values, or gone."""
    body = target.valid("replaced")
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(list(target.wrong))
        if rng.random() < 0.2:
            body.pop(name, None)
        else:
            body[name] = random_value(rng, target)
    return _dumps(body)


def _encoded_otherwise(rng: random.Random, target: Target) -> bytes:
    text = json.dumps(target.valid("encoded"))
    return rng.choice(
        (text.encode("utf-16"), text.encode("utf-32-le"), b"\xef\xbb\xbf" + text.encode(), text.encode() + b"\x00",
         text.encode() * 2, b"", b" ", b"null", b"model=fake&messages=x", b"<xml/>", rng.randbytes(64))
    )  # fmt: skip


def _with_field(rng: random.Random, target: Target, raw: bytes) -> bytes:
    """Return a valid request with one field set to raw bytes; often one that has no effect, or an unknown one."""
    name = rng.choice([*target.wrong, "metadata", "user", "x"])
    rest = {key: value for key, value in target.valid("field").items() if key != name}
    return _dumps(rest)[:-1] + b"," * bool(rest) + json.dumps(name).encode() + b":" + raw + b"}"


def _random_text(rng: random.Random) -> str:
    alphabet = "ab \x00\x1f\"\\é漢😀\u200d\ufeff\u2028<>{}%$'`/"
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(12)))


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
