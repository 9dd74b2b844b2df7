"""Record what vLLM puts on the wire: `python -m tests.fakes.record http://127.0.0.1:8100 [gemma-3n-demo]`.

Run against a freshly started vLLM that serves the demo model with `--max-num-queued-reqs 2`, it writes one file for
each exchange into `recordings/` beside this file. The scripted engine is held to those files, so that what our tests
take for vLLM is what vLLM once said. A raw socket is used because every HTTP client would undo the chunked framing.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.domain import Medium
from gateway.routing.media_probe import probe

RECORDINGS = Path(__file__).parent / "recordings"
REQUEST_ID = "req_abc123"
QUEUE_LIMIT = "--max-num-queued-reqs 2"
# A prompt is counted after the template; this many words are more than the 4096 tokens of the demo profile.
WORDS_ABOVE_CONTEXT = 5000
USAGE_ON_EVERY_CHUNK = {"include_usage": True, "continuous_usage_stats": True}
KEPT_METRICS = (
    "vllm:num_requests_",
    "vllm:kv_cache_usage_perc",
    "vllm:prefix_cache_",
    "vllm:num_preemptions",
    "vllm:prompt_tokens",
    "vllm:generation_tokens",
    "vllm:request_success",
    "vllm:admission_rejections",
    "vllm:iteration_tokens_total",
    "vllm:time_to_first_token_seconds",
    "vllm:cache_config_info",
)
"""Prefixes of the metric families that the gateway, the watchdog or the dashboards read."""


def chat(content: str, model: str, **fields: Any) -> dict[str, Any]:
    """Return a greedy chat request; `fields` come on top."""
    messages = [{"role": "user", "content": content}]
    return {"model": model, "messages": messages, "temperature": 0, "max_tokens": 4, **fields}


def exchanges(model: str) -> dict[str, dict[str, Any] | bytes | None]:
    """Return, by file name, the body of each chat request to record; None stands for GET /v1/models."""
    streamed = {"stream": True, "stream_options": USAGE_ON_EVERY_CHUNK}
    return {
        "unary.http": chat("Hello!", model),
        "unary_cached.http": chat("Tell me about the gateway. " * 60, model),
        "stream.http": chat("Hello!", model, **streamed),
        "stream_usage_last.http": chat("Hello!", model, stream=True, stream_options={"include_usage": True}),
        "stream_no_usage.http": chat("Hello!", model, stream=True),
        "stream_n2.http": chat("Hello!", model, n=2, temperature=1, seed=7, max_tokens=3, **streamed),
        "stream_logprobs.http": chat("Hello!", model, logprobs=True, top_logprobs=2, max_tokens=3, **streamed),
        "stream_stop.http": chat("Hello!", model, stop_token_ids=list(range(6, 3072)), min_tokens=0, **streamed),
        "stream_stop_string.http": chat("Hello!", model, stop=["s"], **streamed),
        "stream_error.http": chat("Hello!", model, stop_token_ids=[100_000], **streamed),
        "error_context.http": chat("word " * WORDS_ABOVE_CONTEXT, model),
        "error_max_tokens.http": chat("Hello!", model, max_tokens=100_000),
        "error_model.http": chat("Hello!", "no-such-model"),
        "error_field.http": chat("Hello!", model, temperature=9),
        "error_roles.http": chat("Hello!", model, messages=[{"role": "assistant", "content": "Hi"}]),
        "error_json.http": b'{"model": ',
        "models.http": None,
    }


def request_head(base_url: str, method: str, path: str, length: int) -> bytes:
    """Return a request's head as the gateway would send it, the connection kept alive."""
    host = urlsplit(base_url).netloc
    return (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"X-Request-Id: {REQUEST_ID}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def connect(base_url: str) -> socket.socket:
    """Open a connection to the engine."""
    url = urlsplit(base_url)
    return socket.create_connection((url.hostname or "127.0.0.1", url.port or 80), timeout=60)


def exchange(base_url: str, method: str, path: str, body: bytes = b"") -> bytes:
    """Send one request and return the whole answer, headers and framing included."""
    with connect(base_url) as connection:
        connection.sendall(request_head(base_url, method, path, len(body)) + body)
        answer = b""
        while not is_whole(answer):
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError(f"the engine closed the connection within its answer to {method} {path}")
            answer += piece
    return answer


def is_whole(answer: bytes) -> bool:
    """Say whether a kept-alive answer has ended: by its length, or by the last chunk."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return body.endswith(b"0\r\n\r\n")


def record_chats(base_url: str, model: str) -> None:
    """Write one recording for each of `exchanges`."""
    for name, request in exchanges(model).items():
        if request is None:
            answer = exchange(base_url, "GET", "/v1/models")
        else:
            body = request if isinstance(request, bytes) else json.dumps(request).encode()
            answer = exchange(base_url, "POST", "/v1/chat/completions", body)
            if name == "unary_cached.http":
                answer = exchange(base_url, "POST", "/v1/chat/completions", body)
        write(name, answer)


def write(name: str, answer: bytes) -> None:
    """Keep `answer` under `name`."""
    (RECORDINGS / name).write_bytes(answer)
    print(f"{name}: {answer.splitlines()[0].decode()}, {len(answer)} bytes")


def record_refusal(base_url: str, model: str) -> None:
    """Write what a full queue answers; the engine must run with QUEUE_LIMIT."""
    long = chat("Hello!", model, n=2, temperature=1, max_tokens=1000, ignore_eos=True, stream=True)
    body = json.dumps(long).encode()
    with connect(base_url) as busy:
        busy.sendall(request_head(base_url, "POST", "/v1/chat/completions", len(body)) + body)
        busy.recv(1)
        request = json.dumps(chat("Hello!", model, stream=True)).encode()
        answer = exchange(base_url, "POST", "/v1/chat/completions", request)
    if not answer.startswith(b"HTTP/1.1 503 "):
        raise SystemExit(f"the engine accepted a request too many: run it with {QUEUE_LIMIT}")
    write("error_queue_full.http", answer)


def record_media_refusal(base_url: str, model: str) -> None:
    """Write what a model without eyes says of an image, asked as the gateway asks."""
    answer = exchange(base_url, "POST", "/tokenize", json.dumps(probe(model, Medium.IMAGE)).encode())
    write("error_media.http", answer)


def record_metrics(base_url: str) -> None:
    """Write the lines of /metrics that something of ours reads; the whole page has a thousand."""
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=60)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    kept = [line for line in lines if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith(KEPT_METRICS)]
    (RECORDINGS / "metrics.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")
    print(f"metrics.txt: {len(kept)} of {len(lines)} lines")


def main(arguments: list[str]) -> int:
    """Record everything from the base URL given first; the served model's name may follow."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python -m tests.fakes.record BASE_URL [MODEL]", file=sys.stderr)
        return 2
    base_url, model = arguments[0], arguments[1] if len(arguments) > 1 else "gemma-3n-demo"
    RECORDINGS.mkdir(exist_ok=True)
    record_chats(base_url, model)
    record_refusal(base_url, model)
    record_media_refusal(base_url, model)
    record_metrics(base_url)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
