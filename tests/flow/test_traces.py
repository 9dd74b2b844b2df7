"""A request's span as a collector gets it, and what the engine is told of it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import post

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes spans over OTLP/HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                told = ExportTraceServiceRequest.FromString(body)
                collector.spans += [s for r in told.resource_spans for scope in r.scope_spans for s in scope.spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}/v1/traces"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


async def test_a_request_is_one_span_of_its_clients_trace(redis_server: RedisServer, collector: Collector) -> None:
    async with EngineProcess("--model", "fake") as engine:
        settings = {"telemetry.otlp_endpoint": collector.endpoint}
        async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
            await gateway.ready()
            gateway.client.headers["traceparent"] = f"00-{TRACE}-{PARENT}-01"
            await post(gateway.client, "a secret thing", stream=True)
            gateway.send_signal(signal.SIGTERM)
            assert await gateway.wait() == 0
        (asked,) = await engine.asked()
    (span,) = await spans_of(collector)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert asked["headers"]["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    values = {each.key: each.value for each in span.attributes}
    assert span.name == "chat fake"
    assert values["gen_ai.operation.name"].string_value == "chat"
    assert values["gen_ai.request.model"].string_value == "fake"
    assert values["gen_ai.usage.output_tokens"].int_value > 0
    assert values["http.response.status_code"].int_value == 200
    assert span.end_time_unix_nano > span.start_time_unix_nano
    assert "secret thing" not in str(span)


async def spans_of(collector: Collector) -> list[Any]:
    """Return what came for chats, waiting for it."""
    for _ in range(100):
        found = [span for span in collector.spans if span.name.startswith("chat ")]
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("no span came")


async def test_without_traces_the_engine_hears_nothing_of_a_clients(redis_server: RedisServer) -> None:
    async with (
        EngineProcess("--model", "fake") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url]) as gateway,
    ):
        await gateway.ready()
        gateway.client.headers["traceparent"] = f"00-{TRACE}-{PARENT}-01"
        await post(gateway.client)
        (asked,) = await engine.asked()
    assert "traceparent" not in asked["headers"]
