"""What the scripted engine knows: its scripts, its counts, what it shows; and its routes that do not generate."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.fakes import vllm_bytes as vllm
from tests.fakes.behaviours import BEHAVIOURS, Script

GENERATIONS = ("/v1/chat/completions", "/v1/completions")
MAX_MODEL_LEN = 32_768
_SHOWN: dict[str, Any] = {"health": 200, "waiting": 0, "kv": 0.0, "takes": ["image", "audio"]}


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `at` is CLOCK_MONOTONIC, which all processes of a machine share."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    connection: int
    at: float


class ServedConnection(Protocol):
    """What the counts need to know of a connection."""

    control: bool


@dataclass(slots=True)
class Engine:
    """Everything that the process knows."""

    model: str
    itl_seconds: float
    tokens: int
    keep_alive_seconds: float
    service_seconds: float = 0.0
    """Time that each generation takes before its first byte, one after another: a fixed service rate."""
    serving: asyncio.Lock = field(default_factory=asyncio.Lock)
    scripts: list[Script] = field(default_factory=list)
    requests: deque[Request] = field(default_factory=lambda: deque(maxlen=100))
    connections: set[ServedConnection] = field(default_factory=set)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    shown: dict[str, Any] = field(default_factory=lambda: dict(_SHOWN))
    aborts: list[dict[str, Any]] = field(default_factory=list)
    accepted: int = 0
    seen: int = 0
    running: int = 0
    finished: int = 0
    refused: int = 0
    iterations: int = 0

    def take_script(self, path: str, *, reused: bool) -> Script:
        """Return the script for a request to `path` and count it."""
        for script in self.scripts:
            fits = script.path == path or (script.path is None and path in GENERATIONS)
            if fits and (reused or script.behaviour != "stale"):
                script.times -= 1
                if script.times == 0:
                    self.scripts.remove(script)
                return script
        return Script("normal")

    def stats(self) -> vllm.Json:
        """Return what `/_stats` shows."""
        counts = {name: getattr(self, name) for name in ("seen", "running", "finished", "refused", "accepted")}
        served = [connection for connection in self.connections if not connection.control]
        aborted = {"aborted": len(self.aborts), "aborts": self.aborts, "open_connections": len(served)}
        return counts | aborted | {"requests": [dataclasses.asdict(request) for request in self.requests]}

    def metrics(self) -> bytes:
        """Return the metrics that routing and supervision read, in Prometheus' text format."""
        label = f'{{engine="0",model_name="{self.model}"}}'
        rejections = f'{{engine="0",model_name="{self.model}",reason="max_num_queued_reqs"}}'
        rows = [
            ("gauge", "vllm:num_requests_running", label, self.running),
            ("gauge", "vllm:num_requests_waiting", label, self.shown["waiting"]),
            ("gauge", "vllm:kv_cache_usage_perc", label, self.shown["kv"]),
            ("counter", "vllm:generation_tokens_total", label, self.iterations),
            ("counter", "vllm:iteration_tokens_total_count", label, self.iterations),
            ("counter", "vllm:admission_rejections_total", rejections, self.refused),
        ]
        text = "".join(f"# TYPE {name} {kind}\n{name}{labels} {value:.1f}\n" for kind, name, labels, value in rows)
        return text.encode()

    def reset(self) -> None:
        """Forget scripts and counts, and let everything on hold go."""
        self.released.set()
        self.released = asyncio.Event()
        self.scripts.clear()
        self.requests.clear()
        self.aborts.clear()
        self.seen = self.finished = self.refused = self.iterations = 0
        self.shown = {**_SHOWN, "takes": self.shown["takes"]}


def route(engine: Engine, request: Request) -> bytes:
    """Answer everything that does not generate."""
    if request.path.startswith("/_"):
        return _control(engine, request)
    if request.path == "/health":
        return vllm.response(int(engine.shown["health"]), b"")
    if request.path == "/metrics":
        return vllm.response(200, engine.metrics(), "text/plain; version=1.0.0; charset=utf-8")
    if request.path == "/version":
        return vllm.json_response(200, {"version": "0.32.0"})
    if request.path == "/v1/models":
        return vllm.json_response(200, {"object": "list", "data": [_model_card(engine.model)]})
    if request.path == "/tokenize":
        asked = json.loads(request.body)
        if kind := _not_taken(engine, asked):
            return vllm.json_response(400, vllm.media_error(kind, engine.model, engine.shown["takes"]))
        count = vllm.prompt_tokens(asked)
        answer = {"count": count, "max_model_len": MAX_MODEL_LEN, "tokens": list(range(count)), "token_strs": None}
        return vllm.json_response(200, answer)
    return vllm.json_response(404, {"detail": "Not Found"})


def _not_taken(engine: Engine, asked: vllm.Json) -> str:
    """Return the first kind of media in a request that this engine does not take."""
    contents = [message["content"] for message in asked.get("messages", ())]
    kinds = [part["type"].partition("_")[0] for content in contents if isinstance(content, list) for part in content]
    return next((kind for kind in kinds if kind != "text" and kind not in engine.shown["takes"]), "")


def _model_card(model: str) -> vllm.Json:
    names = {"id": model, "object": "model", "created": vllm.CREATED, "owned_by": "vllm", "root": model}
    return names | {"parent": None, "max_model_len": MAX_MODEL_LEN, "permission": []}


def _control(engine: Engine, request: Request) -> bytes:
    given = json.loads(request.body or "{}")
    if request.path == "/_stats":
        return vllm.json_response(200, engine.stats())
    if request.path == "/_script":
        known = {name: given.pop(name) for name in ("behaviour", "times", "path") if name in given}
        if known.get("behaviour") not in BEHAVIOURS:
            return vllm.json_response(400, {"unknown": known, "known": sorted(BEHAVIOURS)})
        engine.scripts.append(Script(**known, parameters=given))
    elif request.path == "/_set":
        engine.shown |= given
    elif request.path == "/_release":
        engine.released.set()
        engine.released = asyncio.Event()
    elif request.path == "/_reset":
        engine.reset()
    else:
        return vllm.json_response(404, {"detail": "Not Found"})
    return vllm.json_response(200, {})
