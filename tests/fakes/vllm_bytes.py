"""What vLLM 0.32 writes, byte for byte: heads, chat and completion answers, stream events, errors. Pure."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

Json = dict[str, Any]

CREATED = 1_750_000_000
FINGERPRINT = "vllm-0.32.0-cae28669"
HEAD_EXTRA = b"date: Mon, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_WORD = re.compile(r"\s*\S+")


def response(status: int, body: bytes, content_type: str = "application/json") -> bytes:
    """Return a whole answer with content-length."""
    head = f"content-length: {len(body)}\r\ncontent-type: {content_type}\r\nvary: Origin\r\n\r\n"
    return _status_line(status) + HEAD_EXTRA + head.encode() + body


def json_response(status: int, value: Any) -> bytes:
    """Return `value` as Starlette's JSONResponse writes it."""
    return response(status, compact(value))


def stream_head() -> bytes:
    """Return the head of an event stream."""
    head = b"content-type: text/event-stream; charset=utf-8\r\nvary: Origin\r\ntransfer-encoding: chunked\r\n\r\n"
    return _status_line(200) + HEAD_EXTRA + head


def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()


def compact(value: Any) -> bytes:
    """Return JSON without spaces, as pydantic and Starlette write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def chunked(data: bytes) -> bytes:
    """Return `data` as one HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(value: Any) -> bytes:
    """Return one server-sent event in an HTTP chunk of its own, which is how uvicorn sends a generator's yields."""
    return chunked(b"data: " + (value if isinstance(value, bytes) else compact(value)) + b"\n\n")


def unknown_model(asked: str, served: str) -> Json:
    """Return what vLLM says about a model it does not serve."""
    message = f"The model `{asked}` does not exist. Valid aliases: {served}."
    return error(404, message, "NotFoundError", "model")


def error(status: int, message: str, kind: str, param: str | None = None) -> Json:
    """Return vLLM's error body; its `code` is a number."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def admission_error() -> Json:
    """Return what vLLM says when its queue is full."""
    message = (
        "The engine is currently busy and cannot accept new requests. "
        "Please try again later or on a different instance."
    )
    return error(503, message, "Service Unavailable")


def media_error(kind: str, model: str, takes: list[str]) -> Json:
    """Return what vLLM says of an image or a clip that its model, or --limit-mm-per-prompt, does not take."""
    if not takes:
        return error(400, f"{model} is not a multimodal model", "BadRequestError")
    return error(400, f"At most 0 {kind}(s) may be provided in one prompt.", "BadRequestError", kind)


def stream_error_event(body: Json) -> bytes:
    """Return an error within a stream, which vLLM writes with spaces, unlike everything else."""
    return event(json.dumps(body).encode())


@dataclass(frozen=True, slots=True)
class Generation:
    """One request as a model would see it, and the answer it will get."""

    request_id: str
    model: str
    chat: bool
    stream: bool
    include_usage: bool
    continuous_usage: bool
    choices: int
    prompt_tokens: int
    tokens: tuple[str, ...]
    finish_reason: str
    prompts: tuple[Generation, ...] = ()
    """Where there are several in one: each as if it were alone."""

    @property
    def text(self) -> str:
        """The whole answer of one choice."""
        return "".join(self.tokens)

    @property
    def id(self) -> str:
        """The answer's id: vLLM makes it from `X-Request-Id`."""
        return f"chatcmpl-{self.request_id}" if self.chat else f"cmpl-{self.request_id}"

    def usage(self, completion_tokens: int, **details: Any) -> Json:
        """Return the usage member in the order of vLLM's fields."""
        total = self.prompt_tokens + completion_tokens
        counts = {"prompt_tokens": self.prompt_tokens, "total_tokens": total, "completion_tokens": completion_tokens}
        return {**counts, **details}


def generation(body: Json, *, chat: bool, model: str, request_id: str, tokens: int) -> Generation:
    """Read a request. The answer is `You said: <last user message>`, `tokens` long where that is not 0."""
    said = last_user_text(body)
    words = _WORD.findall(f"You said: {said}")
    answer = list(itertools.islice(itertools.cycle(words), tokens)) if tokens else words
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(answer)
    if body.get("ignore_eos"):
        answer = list(itertools.islice(itertools.cycle(words), limit))
    options = body.get("stream_options") or {}
    texts = body.get("prompt") if _is_several(body.get("prompt")) else ()
    return Generation(
        request_id=request_id,
        model=str(body.get("model", model)),
        chat=chat,
        stream=bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("continuous_usage_stats")) and bool(options.get("include_usage")),
        choices=int(body.get("n") or 1),
        prompt_tokens=prompt_tokens(body),
        tokens=tuple(answer[:limit]),
        finish_reason="length" if len(answer) > limit or body.get("ignore_eos") else "stop",
        prompts=tuple(
            generation({**body, "prompt": text}, chat=chat, model=model, request_id=request_id, tokens=tokens)
            for text in texts or ()
        ),
    )


def _is_several(prompt: Any) -> bool:
    return isinstance(prompt, list) and len(prompt) > 1 and isinstance(prompt[0], str)


def _choices_of(made: Generation) -> list[tuple[int, Generation]]:
    """Return the choices by their index: those of a prompt in a row, as vLLM numbers them."""
    return list(enumerate(each for each in made.prompts or (made,) for _ in range(made.choices)))


def _whole_usage(made: Generation, **details: Any) -> Json:
    """Return the usage of all choices and prompts."""
    answered = sum(len(each.tokens) for _, each in _choices_of(made))
    read = sum(each.prompt_tokens for each in made.prompts or (made,))
    return dataclasses.replace(made, prompt_tokens=read).usage(answered, **details)


def last_user_text(body: Json) -> str:
    """Return the text of the last user message, or the prompt."""
    users = [message for message in body.get("messages", []) if message.get("role") == "user"]
    if users:
        return _text(users[-1].get("content"))
    prompt = body.get("prompt", "")
    return prompt if isinstance(prompt, str) else " ".join(map(str, prompt))


def prompt_tokens(body: Json) -> int:
    """Return a stable count: one token a word and four a message, and ids as they are."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and not isinstance(prompt[0], str):
        return len(prompt)
    texts = [_text(message.get("content")) for message in body.get("messages", [])] or [last_user_text(body)]
    return sum(len(text.split()) + 4 for text in texts)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content)
    return str(content or "")


def unary_body(made: Generation) -> bytes:
    """Return the body of an answer that is not streamed."""
    choice = _chat_choice if made.chat else _text_choice
    cached = {"cached_tokens": 0, "created_cache_tokens": 0, "multimodal_tokens": None}
    details = {"prompt_tokens_details": cached, "completion_tokens_details": None}
    body: Json = {
        "id": made.id,
        "object": "chat.completion" if made.chat else "text_completion",
        "created": CREATED,
        "model": made.model,
        "choices": [choice(each, index) for index, each in _choices_of(made)],
        "service_tier": None,
        "system_fingerprint": FINGERPRINT,
        "usage": _whole_usage(made, **details),
    }
    prompt = {"prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None} if made.chat else {}
    return compact(body | prompt | {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None})


def _chat_choice(made: Generation, index: int) -> Json:
    message: Json = {"role": "assistant", "content": made.text, "refusal": None, "annotations": None, "audio": None}
    message |= {"function_call": None, "reasoning": None}
    finish = {"finish_reason": made.finish_reason, "stop_reason": None, "token_ids": None, "routed_experts": None}
    return {"index": index, "message": message, "logprobs": None, **finish}


def _text_choice(made: Generation, index: int) -> Json:
    finish = {"finish_reason": made.finish_reason, "stop_reason": None, "token_ids": None}
    return {"index": index, "text": made.text, "logprobs": None, **finish, "prompt_logprobs": None}


def stream_events(made: Generation) -> list[bytes]:
    """Return every event of a stream in an HTTP chunk of its own, `[DONE]` last; without `LAST_CHUNK`."""
    events = [_role_event(made, index) for index in range(made.choices)] if made.chat else []
    choices = _choices_of(made)
    for count in range(1, max(len(each.tokens) for _, each in choices) + 1):
        events += [_token_event(each, index, count) for index, each in choices if count <= len(each.tokens)]
    if made.include_usage:
        cached = {"cached_tokens": 0, "created_cache_tokens": 0}
        usage = _whole_usage(made, prompt_tokens_details=cached)
        events.append(event(_chunk(made, []) | {"usage": usage, "system_fingerprint": FINGERPRINT}))
    return [*events, event(b"[DONE]")]


def _chunk(made: Generation, choices: list[Json]) -> Json:
    kind = "chat.completion.chunk" if made.chat else "text_completion"
    return {"id": made.id, "object": kind, "created": CREATED, "model": made.model, "choices": choices}


def _role_event(made: Generation, index: int) -> bytes:
    delta = {"role": "assistant", "content": ""}
    chunk = _chunk(made, [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}])
    return event(_with_usage(made, chunk, 0) | {"prompt_token_ids": None, "prompt_text": None})


def _token_event(made: Generation, index: int, count: int) -> bytes:
    last = count == len(made.tokens)
    token = made.tokens[count - 1]
    choice: Json = {"index": index, "delta": {"content": token}} if made.chat else {"index": index, "text": token}
    finish: Json = {"finish_reason": made.finish_reason, "stop_reason": None} if last else {"finish_reason": None}
    if not made.chat:
        finish = {"finish_reason": finish["finish_reason"], "stop_reason": None, "prompt_token_ids": None}
    chunk = _with_usage(made, _chunk(made, [choice | {"logprobs": None, **finish, "token_ids": None}]), count)
    if last and not made.include_usage:
        chunk["system_fingerprint"] = FINGERPRINT
    return event(chunk)


def _with_usage(made: Generation, chunk: Json, count: int) -> Json:
    if made.continuous_usage:
        # The text route leaves the details out.
        chunk["usage"] = made.usage(count, completion_tokens_details=None) if made.chat else made.usage(count)
    return chunk
