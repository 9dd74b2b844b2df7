"""The client side of /v1/chat/completions on httpx, as small as a terminal needs it."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from config.validate import is_loopback

Turn = dict[str, str]
Piece = tuple[str, str | None]
"""Some text of an answer and, with its last one, the reason why it ended."""

_TIMEOUT = httpx.Timeout(10.0, read=180.0)


class ChatFailed(Exception):
    """There is no answer, or only a part. The message is one sentence for whoever sits at the terminal."""


class ChatClient:
    """One OpenAI-compatible server. Owns its connections; close it, or use it as a context manager."""

    def __init__(self, base_url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._base_url = base_url.rstrip("/")
        self.session: str | None = None
        """The session that answers are in, which the server keeps; 'new' until it has made one."""
        # A proxy from the environment is for the world outside, not for this machine.
        outside = not is_loopback(urlsplit(base_url).hostname or "")
        self._http = httpx.Client(headers=headers, timeout=_TIMEOUT, trust_env=outside, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def first_model(self) -> str:
        """Return the name of the first model that the server lists. Raises ChatFailed."""
        try:
            response = self._http.get(f"{self._base_url}/models")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if response.status_code != httpx.codes.OK:
            raise ChatFailed(_error_sentence(response.content, response.status_code))
        try:
            return str(response.json()["data"][0]["id"])
        except (ValueError, LookupError, TypeError):
            raise ChatFailed(f"{self._base_url} lists no model; name one with --model.") from None

    def answer(self, model: str, turns: list[Turn], max_tokens: int | None) -> Generator[Piece]:
        """Yield the answer as it comes. Raises ChatFailed; closing the generator closes the connection.

        In a session `turns` are what is new.
        """
        body: dict[str, Any] = {"model": model, "messages": turns, "stream": True}
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        headers = {"x-session-id": self.session} if self.session else {}
        try:
            with self._http.stream(
                "POST", f"{self._base_url}/chat/completions", json=body, headers=headers
            ) as response:
                if response.status_code != httpx.codes.OK:
                    raise ChatFailed(_error_sentence(response.read(), response.status_code))
                self._note_session(response)
                yield from _pieces(response.iter_lines())
        except httpx.RemoteProtocolError as error:
            raise ChatFailed("The connection was lost before the answer was complete.") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error

    def _note_session(self, response: httpx.Response) -> None:
        """Note what the session is called. Raises ChatFailed for a server that has none, and so would forget."""
        if self.session is None:
            return
        if "x-session-id" not in response.headers:
            raise ChatFailed(f"{self._base_url} keeps no sessions.")
        self.session = response.headers["x-session-id"]

    def _unreachable(self, error: Exception) -> ChatFailed:
        if isinstance(error, httpx.ReadTimeout):
            return ChatFailed(f"{self._base_url} did not answer in time.")
        return ChatFailed(f"{self._base_url} cannot be reached: {error}.")


def _pieces(lines: Iterator[str]) -> Iterator[Piece]:
    for line in lines:
        name, _, value = line.partition(":")
        data = value.strip()
        if name != "data" or not data:
            continue
        if data == "[DONE]":
            return
        yield from _pieces_of(data)
    raise ChatFailed("The answer ended early.")


def _pieces_of(data: str) -> Iterator[Piece]:
    try:
        event = json.loads(data)
        if "error" in event:
            raise ChatFailed(_error_sentence(data.encode()))
        for choice in event.get("choices", []):
            yield (choice.get("delta") or {}).get("content") or "", choice.get("finish_reason")
    except (ValueError, TypeError, AttributeError):
        raise ChatFailed("The server sent something that is not a chat completion.") from None


def _error_sentence(body: bytes, status: int | None = None) -> str:
    """Return what OpenAI's envelope says, or else the status."""
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        message = "It did not say why."
    return f"The server refused ({status}): {message}" if status else f"The answer failed: {message}"
