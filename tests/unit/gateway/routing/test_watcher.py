"""The watcher against real HTTP: when an engine is ready, what it serves, and when it is not to be asked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from config import Settings
from gateway.domain import ALL_MEDIA, NO_MEDIUM
from gateway.routing import Fleet, FleetWatcher
from gateway.routing.engine_load import UNKNOWN_LOAD
from gateway.routing.listing import Listing, replica_at
from gateway.routing.member import State
from gateway.telemetry.metrics import Metrics
from tests.fakes.ports import free_port
from tests.fakes.process import EngineProcess

MODELS = {"data": [{"id": "gemma-3n", "max_model_len": 4096}, {"id": "lora"}]}


class TinyEngine:
    """Answers each path with what the test puts there; closes the connection for what is not there."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {
            "/health": (200, None),
            "/v1/models": (200, MODELS),
            "/version": (200, {"version": "0.32.0"}),
        }
        self.asked: list[str] = []
        self.silent = False
        self.drips = ""
        """The path whose answer comes byte by byte and has no end."""

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[str]:
        """Listen; yield the base URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            self.asked.append(path)
            if self.silent:
                await asyncio.sleep(60)
            if path == self.drips:
                writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n")
                while not writer.is_closing():
                    writer.write(b" ")
                    await asyncio.sleep(0.02)
            elif path in self.answers:
                status, answer = self.answers[path]
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode() if answer else b""
                writer.write(b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, len(body)))
                writer.write(body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def fleet_of(
    *urls: str, poll_seconds: float = 0.02, poll_timeout_seconds: float = 5, media: bool | None = None
) -> tuple[Fleet, FleetWatcher]:
    """Return a fleet of engines at these URLs and its watcher."""
    polls = {"poll_seconds": poll_seconds, "poll_timeout_seconds": poll_timeout_seconds}
    routing = {"engines": ",".join(urls), "media": media, **polls}
    settings = Settings.model_validate({"routing": routing})
    fleet = Fleet(settings, Metrics())
    return fleet, FleetWatcher(fleet, settings.routing)


async def until(fleet: Fleet, *states: State) -> None:
    """Wait until the engines have these states."""
    deadline = time.monotonic() + 10
    while [member.state for member in fleet.members] != list(states):
        assert time.monotonic() < deadline, [member.state for member in fleet.members]
        await asyncio.sleep(0.01)


async def test_a_healthy_engine_is_ready_and_known_before_anything_is_served() -> None:
    engine = TinyEngine()
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url)
        async with watcher.running():
            member = fleet.members[0]
            assert member.state is State.READY
            assert member.models == {"gemma-3n", "lora"} == fleet.models
            assert (member.max_model_len_tokens, member.engine_version) == (4096, "0.32.0")


async def test_an_engine_that_is_not_there_yet_is_starting_and_becomes_ready_by_itself() -> None:
    port = free_port()
    fleet, watcher = fleet_of(f"http://127.0.0.1:{port}")
    async with watcher.running():
        assert fleet.members[0].state is State.STARTING
        assert "ConnectError" in (fleet.members[0].last_error or "")
        async with TinyEngine().listening(port):
            await until(fleet, State.READY)
            assert fleet.members[0].last_error is None


async def test_an_engine_whose_health_fails_is_sick_until_it_is_well() -> None:
    engine = TinyEngine()
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url)
        async with watcher.running():
            engine.answers["/health"] = (503, None)
            await until(fleet, State.SICK)
            assert "503" in (fleet.members[0].last_error or "")
            engine.answers["/health"] = (200, None)
            await until(fleet, State.READY)


async def test_an_engine_that_comes_back_with_another_model_is_known_by_it() -> None:
    engine = TinyEngine()
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url)
        async with watcher.running():
            engine.answers["/health"] = (503, None)
            await until(fleet, State.SICK)
            engine.answers["/v1/models"] = (200, {"data": [{"id": "other"}]})
            engine.answers["/health"] = (200, None)
            await until(fleet, State.READY)
            assert fleet.models == {"other"}
            assert fleet.members[0].max_model_len_tokens is None


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/models", (500, None)),
        ("/v1/models", (200, b"not json")),
        ("/v1/models", (200, b"\xff")),
        ("/v1/models", (200, [])),
        ("/v1/models", (200, "text")),
        ("/v1/models", (200, {})),
        ("/v1/models", (200, {"data": None})),
        ("/v1/models", (200, {"data": "text"})),
        ("/v1/models", (200, {"data": ["text"]})),
        ("/v1/models", (200, {"data": [{}]})),
        ("/v1/models", (200, {"data": {"id": "x"}})),
        ("/version", (200, b"not json")),
        ("/version", (200, ["list"])),
        ("/version", (200, "text")),
    ],
)
async def test_an_engine_that_says_nonsense_is_not_ready_and_is_asked_again(path: str, answer: tuple[int, Any]) -> None:
    engine = TinyEngine()
    good = engine.answers[path]
    engine.answers[path] = answer
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url)
        async with watcher.running():
            assert fleet.members[0].state is State.STARTING
            assert fleet.members[0].last_error
            engine.answers[path] = good
            await until(fleet, State.READY)


async def test_an_engine_without_a_version_is_ready_all_the_same() -> None:
    engine = TinyEngine()
    engine.answers["/version"] = (404, None)
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url)
        async with watcher.running():
            assert fleet.members[0].state is State.READY
            assert fleet.members[0].engine_version is None


async def test_nonsense_of_a_sick_engine_ends_its_watch_no_more_than_that_of_a_new_one() -> None:
    engine = TinyEngine()
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url)
        async with watcher.running():
            engine.answers["/health"] = (503, None)
            await until(fleet, State.SICK)
            engine.answers["/version"] = (200, ["list"])
            engine.answers["/health"] = (200, None)
            await asyncio.sleep(0.1)
            engine.answers["/version"] = (200, {"version": "1"})
            await until(fleet, State.READY)


async def test_an_engine_is_asked_what_it_takes_and_again_when_it_comes_back() -> None:
    async with EngineProcess("--model", "gemma-3n") as process:
        await process.show(takes=["image"])
        fleet, watcher = fleet_of(process.replica.base_url)
        async with watcher.running():
            assert fleet.members[0].media == {"image"}
            await process.show(health=503)
            await until(fleet, State.SICK)
            await process.show(health=200, takes=[])
            await until(fleet, State.READY)
            assert fleet.members[0].media == set()


@pytest.mark.parametrize("answer", [(404, None), (500, None), (503, None), None])
async def test_an_engine_that_does_not_say_what_it_takes_may_be_asked_anything(answer: tuple[int, Any] | None) -> None:
    engine = TinyEngine()
    if answer:
        engine.answers["/tokenize"] = answer
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url)
        async with watcher.running():
            assert fleet.members[0].state is State.READY
            assert fleet.members[0].media == ALL_MEDIA


@pytest.mark.parametrize("stated", [True, False])
async def test_an_engine_whose_media_are_stated_is_not_asked(stated: bool) -> None:
    engine = TinyEngine()
    engine.answers["/tokenize"] = (400, None)
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url, media=stated)
        async with watcher.running():
            assert fleet.members[0].media == (ALL_MEDIA if stated else NO_MEDIUM)
            assert "/tokenize" not in engine.asked
            fleet.update([Listing(fleet.members[0].replica)])
            async with asyncio.timeout(5):
                while fleet.members[0].media:
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("figure", ["+Inf", "-Inf", "NaN", "1e999"])
async def test_an_engine_whose_load_is_no_number_is_as_good_as_any(figure: str) -> None:
    engine = TinyEngine()
    engine.answers["/metrics"] = (200, b'vllm:num_requests_running{engine="0"} %s\n' % figure.encode())
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url)
        async with watcher.running():
            await asyncio.sleep(0.1)
            assert fleet.members[0].state is State.READY
            assert fleet.members[0].load == UNKNOWN_LOAD
            engine.answers["/health"] = (503, None)
            await until(fleet, State.SICK)


async def test_models_are_asked_for_once_while_the_engine_stays_ready() -> None:
    engine = TinyEngine()
    async with engine.listening() as url:
        _, watcher = fleet_of(url)
        async with watcher.running(), asyncio.timeout(5):
            while engine.asked.count("/health") <= 2:
                await asyncio.sleep(0.01)
    assert engine.asked.count("/v1/models") == 1


async def test_a_doubted_engine_is_looked_at_at_once_and_not_at_the_next_poll() -> None:
    engine = TinyEngine()
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url, poll_seconds=60)
        async with watcher.running():
            fleet.mark_sick(fleet.members[0], "gone")
            assert fleet.members[0].state is State.SICK
            await until(fleet, State.READY)


async def test_a_slow_engine_delays_no_other() -> None:
    slow, quick = TinyEngine(), TinyEngine()
    slow.silent = True
    async with slow.listening() as slow_url, quick.listening() as quick_url:
        fleet, watcher = fleet_of(slow_url, quick_url, poll_timeout_seconds=5)
        async with watcher.running():
            assert [member.state for member in fleet.members] == [State.STARTING, State.READY]
            quick.answers["/health"] = (503, None)
            started = time.monotonic()
            await until(fleet, State.STARTING, State.SICK)
            assert time.monotonic() - started < 4
            slow.silent = False
            await until(fleet, State.READY, State.SICK)


async def test_an_engine_that_stops_answering_is_sick_after_the_time_out() -> None:
    engine = TinyEngine()
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url, poll_timeout_seconds=0.2)
        async with watcher.running():
            await until(fleet, State.READY)
            engine.silent = True
            await until(fleet, State.SICK)


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/version", "/tokenize", "/metrics"])
async def test_an_engine_whose_answer_drips_holds_no_start(path: str) -> None:
    engine = TinyEngine()
    engine.drips = path
    async with engine.listening() as url:
        _, watcher = fleet_of(url, poll_timeout_seconds=0.2)
        async with asyncio.timeout(5), watcher.running():
            pass


async def test_an_engine_whose_health_drips_is_sick_after_the_time_out() -> None:
    engine = TinyEngine()
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url, poll_timeout_seconds=0.2)
        async with watcher.running():
            await until(fleet, State.READY)
            engine.drips = "/health"
            await until(fleet, State.SICK)
            assert "ReadTimeout" in (fleet.members[0].last_error or "")
            engine.drips = ""
            await until(fleet, State.READY)


async def test_an_engine_that_cannot_be_asked_at_all_holds_no_start() -> None:
    # No source lets such a host through.
    odd = Listing(replica_at("1.2.3.256", 8100))
    engine = TinyEngine()
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url)
        fleet.update([Listing(fleet.members[0].replica), odd])
        async with asyncio.timeout(5), watcher.running():
            assert [member.state for member in fleet.members] == [State.READY, State.STARTING]
            assert "InvalidURL" in (fleet.members[1].last_error or "")


async def test_an_engine_that_leaves_before_its_first_poll_has_ended_holds_no_start() -> None:
    engine = TinyEngine()
    engine.silent = True
    async with engine.listening() as url:
        fleet, watcher = fleet_of(url, poll_timeout_seconds=60)
        asyncio.get_running_loop().call_later(0.1, fleet.update, [])
        async with asyncio.timeout(5), watcher.running():
            assert fleet.members == []


async def test_after_the_end_nobody_is_asked_any_more() -> None:
    engine = TinyEngine()
    async with engine.listening() as url:
        _, watcher = fleet_of(url)
        async with watcher.running():
            pass
        asked = len(engine.asked)
        await asyncio.sleep(0.1)
        assert len(engine.asked) == asked


async def test_an_error_inside_ends_the_watch_and_passes_through() -> None:
    engine = TinyEngine()
    async with engine.listening() as url:
        _, watcher = fleet_of(url)
        with pytest.raises(RuntimeError):
            async with watcher.running():
                raise RuntimeError


async def test_the_scripted_vllm_is_watched_over_tcp_and_over_a_unix_socket() -> None:
    async with EngineProcess("--model", "gemma-3n") as process:
        urls = (process.replica.base_url, f"unix://{process.unix_replica.unix_socket}")
        fleet, watcher = fleet_of(*urls)
        async with watcher.running():
            assert [member.state for member in fleet.members] == [State.READY, State.READY]
            assert fleet.models == {"gemma-3n"}
            await process.kill()
            await until(fleet, State.SICK, State.SICK)
