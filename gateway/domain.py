"""The frozen values that pass between rooms. Standard library only, but for how they are made; nothing does I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, NewType, Protocol

from gateway.value import value

RequestId = NewType("RequestId", str)
SessionId = NewType("SessionId", str)

NEW_SESSION = "new"
"""In place of a session's id: make one."""

JsonObject = dict[str, Any]
Headers = list[tuple[bytes, bytes]]
HeaderMap = Mapping[bytes, bytes]
"""A request's headers by lower-case name; of a repeated one the last counts, everywhere."""


class Endpoint(StrEnum):
    """The engine routes that the pipeline serves; the value is the path, here and at the engine."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"


class Medium(StrEnum):
    """What a message may hold beside text."""

    IMAGE = "image"
    AUDIO = "audio"


NO_MEDIUM: frozenset[Medium] = frozenset()
ALL_MEDIA = frozenset(Medium)


class Outcome(StrEnum):
    """How a request ended: one of these. `failed`: a fault of ours, or what is too late to refuse, as 200 was said."""

    OK = "ok"
    CLIENT_GONE = "client_gone"
    UPSTREAM_FAILED = "upstream_failed"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be taken; 0 is without limit. Tokens are those of prompts and answers together."""

    requests_per_minute: int = 0
    requests_per_hour: int = 0
    tokens_per_minute: int = 0
    tokens_per_day: int = 0
    concurrent_requests: int = 0


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Tier:
    """What a caller is entitled to: alone, together with its tenant, and with its tenant at any one model."""

    name: str
    user: Limits = NO_LIMITS
    tenant: Limits = NO_LIMITS
    tenant_model: Limits = NO_LIMITS
    priority: int = 0
    """vLLM's: a lower one is served first."""
    weight: int = 1
    """The tenant's share of the line for a place, against other tenants'."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `models` is None where any model may be asked for, `tier` where the settings' own limits hold."""

    tenant: str
    user: str
    scopes: frozenset[str] = frozenset()
    models: frozenset[str] | None = None
    tier: Tier | None = None

    @property
    def weight(self) -> int:
        """The tenant's share of the line."""
        return self.tier.weight if self.tier else 1

    @property
    def priority(self) -> int:
        """vLLM's: a lower one is served first."""
        return self.tier.priority if self.tier else 0


@value
class Call:
    """One request at the door of the pipeline: authenticated, its body read, nothing in it looked at yet."""

    request_id: RequestId
    endpoint: Endpoint
    caller: Caller
    body: bytes
    session_id: str | None = None
    regenerate: bool = False
    """Answer the session's last question anew; the body has no messages then."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Which tools an answer may call. `forced`: the engine's grammar lets it write nothing but calls."""

    names: frozenset[str]
    forced: bool
    max_calls: int


@value
class Asked:
    """What the client asked for, checked field by field. `body` holds only fields an engine may see."""

    endpoint: Endpoint
    model: str
    body: JsonObject
    stream: bool
    wants_usage: bool
    session_id: str | None
    tools: ToolUse | None = None
    alias: str | None = None
    """What the client called the model, where that is not its own name."""
    tool_text: str = ""
    """In a session: for the system message, once the history is there. Elsewhere it is in `body` already."""
    regenerate: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """What was said before in the caller's session; empty without one."""

    session_id: SessionId | None = None
    messages: tuple[JsonObject, ...] = ()
    counted_tokens: int = 0
    """Of all of them in a prompt, as the engine counted them; 0: not known."""
    trimmed_messages: int = 0
    """How many older ones are left out."""
    trimmed_tokens: int = 0
    """Of these, as the engine counted their turns, or else about."""


NO_HISTORY = History()


@value
class Prompt:
    """What the engine will be sent, and what it is expected to cost."""

    endpoint: Endpoint
    model: str
    body: bytes
    stream: bool
    wants_usage: bool
    new_messages: tuple[JsonObject, ...]
    text_bytes: int
    """Of what no engine has counted yet."""
    output_tokens_limit: int
    choices: int = 1
    tools: ToolUse | None = None
    alias: str | None = None
    counted_tokens: int = 0
    """Of messages, and of a completion's token ids, whose number is known; they are not in `text_bytes`."""
    media_tokens: int = 0
    """Of images and audio clips, whose price is fixed; `media` are the kinds of them that there are."""
    media: frozenset[Medium] = NO_MEDIUM
    session_usage: JsonObject | None = None
    """Stands in the answer's usage as `session`, which the SDKs pass over."""
    prompts: int = 1
    """How many there are in one: texts of a completion, each answered by itself. `choices` are those of all."""

    @property
    def prefill_tokens(self) -> int:
        """About how many tokens the engine reads before its first: what is not counted yet has about 3 bytes each."""
        return self.text_bytes // 3 + self.counted_tokens + self.media_tokens

    @property
    def answered_as(self) -> str:
        """What the answer calls the model: as the client did."""
        return self.alias or self.model


@value
class Demand:
    """What a request asks of the engines: where it may go, what it costs there, and for whom it waits."""

    model: str
    tenant: str = ""
    prefill_tokens: int = 0
    media: frozenset[Medium] = NO_MEDIUM
    home: int = 0
    """The same for all turns of a conversation; 0 without one."""
    weight: int = 1
    priority: int = 0


@value
class Usage:
    """Tokens of one answer as the engine counted them."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


class Replica(NamedTuple):
    """One engine. `name` is what logs, metrics and `x-gateway-replica` call it."""

    name: str
    host: str
    port: int
    unix_socket: str | None = None

    @property
    def base_url(self) -> str:
        """For control-plane calls over TCP."""
        return f"http://{bracketed(self.host)}:{self.port}"


def bracketed(host: str) -> str:
    """Return `host` as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


@value
class EngineRequest:
    """One HTTP request to an engine. `headers` are complete but for host, content-length and connection."""

    method: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


Sink = Callable[[bytes], bool]
"""Takes some bytes, all of them, or refuses them."""


class UpstreamStream(Protocol):
    """An engine's answer as it arrives. Whoever opened it owns it and must close it."""

    status: int
    headers: Mapping[bytes, bytes]
    """Names in lower case."""

    async def read(self) -> bytes:
        """Return the next bytes of the body, `b""` at its end. Raises errors.EngineFailure. One reader at a time.

        Cancelling it closes the answer: who only waits for a while takes asyncio.wait, not wait_for.
        """

    async def pump(self, sink: Sink) -> None:
        """Give `sink` what comes, as it comes, until it refuses or there is something that only read() can tell.

        What a sink has refused is read next. The sink is called by the loop and must not raise. A client of engines
        may do without: then this returns at once.
        """

    def close(self) -> None:
        """Let go, at once and any number of times.

        After the whole body the connection goes back to its pool; before, the socket is closed, which is how an
        engine learns that nobody wants the answer any more.
        """


class EngineClient(Protocol):
    """The one seam to the engines."""

    async def open(self, replica: Replica, request: EngineRequest) -> UpstreamStream:
        """Send `request` and return the answer once its status and headers are here. Raises errors.EngineFailure.

        Any status is an answer. Cancelling it closes the socket.
        """

    async def aclose(self) -> None:
        """Close every connection."""


Clock = Callable[[], float]
"""Seconds, monotonic."""
