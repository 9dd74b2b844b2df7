"""The engine client on httpx 0.28: the reference that keeps the seam from being shaped by our own client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from gateway.domain import EngineRequest, Replica, Sink, UpstreamStream
from gateway.errors import EngineBroke, EngineFailure, EngineTimedOut, EngineUnreachable

_WITHOUT_AN_ANSWER = "Server disconnected without sending a response."


class HttpxStream:
    """An `UpstreamStream` over a streamed httpx response."""

    def __init__(self, response: httpx.Response, idle_seconds: float, total_at: float, home: HttpxEngineClient) -> None:
        self.status = response.status_code
        self.headers: Mapping[bytes, bytes] = {name.lower(): value for name, value in response.headers.raw}
        self._response = response
        self._body = response.aiter_raw()
        self._idle_seconds = idle_seconds
        self._total_at = total_at
        self._home = home
        self._closed = False
        self._failure: EngineFailure | None = None

    async def read(self) -> bytes:
        """See the seam."""
        if self._failure is not None:
            raise self._failure
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(self._idle_seconds, self._total_at - now)):
                return await anext(self._body, b"")
        except TimeoutError as exc:
            self._failure = EngineTimedOut("The engine was silent for too long.")
            raise self._failure from exc
        except (httpx.HTTPError, httpx.StreamError) as exc:
            self._failure = EngineBroke("The engine's answer was cut off.")
            raise self._failure from exc

    async def pump(self, sink: Sink) -> None:
        """See the seam; it does without."""

    def close(self) -> None:
        """See the seam; httpx closes asynchronously, so a task does it."""
        if not self._closed:
            self._closed = True
            self._home.finish(self._close())

    async def _close(self) -> None:
        await self._response.aclose()


class HttpxEngineClient:
    """An `EngineClient`; one httpx client for each replica, as its pool scans all connections for each request."""

    def __init__(
        self,
        *,
        connect_timeout_seconds: float = 2.0,
        headers_timeout_seconds: float = 600.0,
        idle_timeout_seconds: float = 120.0,
        total_timeout_seconds: float = 3600.0,
    ) -> None:
        self._timeout = httpx.Timeout(None, connect=connect_timeout_seconds)
        self._headers_timeout_seconds = headers_timeout_seconds
        self._idle_timeout_seconds = idle_timeout_seconds
        self._total_timeout_seconds = total_timeout_seconds
        self._clients: dict[Replica, httpx.AsyncClient] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self, replica: Replica, request: EngineRequest) -> UpstreamStream:
        """See the seam."""
        fresh: list[str] = []
        try:
            return await self._open(replica, request, fresh)
        except EngineUnreachable:
            if fresh:
                raise
            return await self._open(replica, request, [])

    async def _open(self, replica: Replica, request: EngineRequest, fresh: list[str]) -> UpstreamStream:
        client = self._client(replica)
        built = client.build_request(
            request.method,
            f"{replica.base_url}{request.path}",
            content=request.body,
            headers=list(request.headers),
            extensions={"trace": _connects_into(fresh), "timeout": self._timeout.as_dict()},
        )
        total_at = asyncio.get_running_loop().time() + self._total_timeout_seconds
        try:
            async with asyncio.timeout(min(self._headers_timeout_seconds, self._total_timeout_seconds)):
                response = await client.send(built, stream=True)
        except TimeoutError as exc:
            raise EngineTimedOut("The engine was silent for too long.") from exc
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            fresh.append("refused")
            raise EngineUnreachable("The engine cannot be reached.") from exc
        except httpx.HTTPError as exc:
            # httpx does not say whether a byte came before an error of the socket: it is taken for none.
            if isinstance(exc, httpx.NetworkError) or str(exc) == _WITHOUT_AN_ANSWER:
                raise EngineUnreachable("The engine closed the connection without an answer.") from exc
            raise EngineBroke("The engine's answer is not valid HTTP.") from exc
        return HttpxStream(response, self._idle_timeout_seconds, total_at, self)

    def _client(self, replica: Replica) -> httpx.AsyncClient:
        if replica not in self._clients:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=4.0)
            transport = httpx.AsyncHTTPTransport(limits=limits, uds=replica.unix_socket, verify=False)
            self._clients[replica] = httpx.AsyncClient(transport=transport, trust_env=False)
        return self._clients[replica]

    def finish(self, closing: Any) -> None:
        """Run the asynchronous half of a `close()`."""
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """See the seam."""
        await asyncio.gather(*self._closing, return_exceptions=True)
        for client in self._clients.values():
            await client.aclose()


def _connects_into(fresh: list[str]) -> Any:
    async def trace(name: str, info: Mapping[str, Any]) -> None:
        if name.startswith("connection.connect_") and name.endswith(".complete"):
            fresh.append(name)

    return trace
