"""A response whose client takes its bytes late, with pings under way."""

from __future__ import annotations

import asyncio
import time

from config import StreamSettings, TelemetrySettings
from gateway.api.http_cycle import GatewayCycle
from gateway.api.relay_response import RelayResponse
from gateway.domain import Endpoint, Prompt, RequestId, Sink
from gateway.errors import EngineBroke
from gateway.settlement import Settlement
from gateway.telemetry.logging import RequestLog
from gateway.telemetry.metrics import Metrics
from tests.unit.gateway.api.test_http_cycle import Wire, cycle_on

PROMPT = Prompt(Endpoint.CHAT, "m", b"{}", True, False, (), 2, 1)


class Endless:
    """An answer that goes on."""

    async def read(self) -> bytes:
        """Return another event."""
        return b"data: x\n\n"

    async def pump(self, write: Sink) -> None:
        """Leave it all to be read."""


class Responding:
    """A response on a connection whose client can be made slow."""

    def __init__(self, client_timeout_seconds: float = 60.0) -> None:
        self.wire = Wire()
        self.cycle: GatewayCycle = cycle_on(self.wire)
        self.cycle.loop = asyncio.get_running_loop()
        log = RequestLog(TelemetrySettings())
        settlement = Settlement(RequestId("req_1"), "POST", "/", 0.0, Metrics(), log, time.perf_counter)
        settings = StreamSettings(
            first_ping_seconds=0.005, ping_seconds=0.005, client_timeout_seconds=client_timeout_seconds
        )
        self.response = RelayResponse(self.cycle.send, self.cycle.send, self.cycle, settings, settlement)
        self.before = asyncio.all_tasks()

    async def failures(self) -> list[BaseException | None]:
        """Let what pings run to its end; return what it failed with."""
        others = asyncio.all_tasks() - self.before
        await asyncio.sleep(0.02)
        self.response.close()
        results = await asyncio.gather(*others, return_exceptions=True)
        return [each for each in results if isinstance(each, Exception)]


async def test_a_ping_that_its_client_did_not_take_does_not_come_after_the_end() -> None:
    responding = Responding()
    responding.response.hold(PROMPT)
    await asyncio.sleep(0.03)
    assert b": ping\n" in b"".join(responding.wire.writes)
    responding.cycle.flow.pause_writing()
    await asyncio.sleep(0.03)
    responding.cycle.flow.resume_writing()
    await responding.response.send_error(EngineBroke("broke"))
    assert await responding.failures() == []
    assert responding.wire.writes[-1].endswith(b"0\r\n\r\n")


async def test_an_answer_is_not_sent_before_the_head_that_a_ping_was_to_bring() -> None:
    responding = Responding()
    responding.cycle.flow.pause_writing()
    responding.response.hold(PROMPT)
    await asyncio.sleep(0.03)
    responding.cycle.flow.resume_writing()
    await responding.response.send_error(EngineBroke("broke"))
    assert await responding.failures() == []
    assert b"".join(responding.wire.writes).startswith(b"HTTP/1.1 5")


async def test_a_client_that_takes_nothing_from_the_head_on_is_given_up() -> None:
    # It has not taken the answer before this one, on the same connection.
    responding = Responding(client_timeout_seconds=0.05)
    responding.cycle.flow.pause_writing()
    sending = asyncio.create_task(responding.response._send_events(Endless()))
    done, _ = await asyncio.wait([sending], timeout=5)
    assert done
    assert sending.cancelled()
    assert responding.response.stalled
    responding.response.close()
