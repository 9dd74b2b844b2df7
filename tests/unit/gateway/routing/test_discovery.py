"""Engines from a file and from a name, added and taken away while requests run."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from config import Settings, SettingsError
from gateway.domain import Demand
from gateway.routing import Discovery, Fleet, Member
from gateway.routing.member import State
from gateway.telemetry.metrics import Metrics

M = Demand("m")


def discovery_of(**routing: Any) -> tuple[Fleet, Discovery]:
    """Return a fleet and what fills it."""
    settings = Settings.model_validate({"routing": {"discovery_seconds": 0.02, **routing}})
    fleet = Fleet(settings, Metrics())
    return fleet, Discovery(fleet, settings)


def names(fleet: Fleet) -> list[str]:
    """Return which engines there are."""
    return [member.replica.name for member in fleet.members]


def state_of(member: Member) -> State:
    """Return the state as it is now."""
    return member.state


async def until(fleet: Fleet, *expected: str) -> None:
    """Wait until these engines are there."""
    async with asyncio.timeout(5):
        while names(fleet) != list(expected):
            await asyncio.sleep(0.01)


def write(path: Path, text: str) -> None:
    """Replace a file as a careful writer does, in one step."""
    path.with_suffix(".new").write_text(text, encoding="utf-8")
    path.with_suffix(".new").replace(path)


async def test_a_file_is_read_before_anything_is_served_and_followed(tmp_path: Path) -> None:
    path = tmp_path / "engines.yaml"
    write(path, "- http://a:1\n")
    fleet, discovery = discovery_of(engines_file=str(path))
    async with discovery.running():
        assert names(fleet) == ["a:1"]
        write(path, "- http://a:1\n- url: http://b:2\n  weight: 4\n")
        await until(fleet, "a:1", "b:2")
        assert fleet.members[1].weight == 4
        write(path, "- http://b:2\n")
        await until(fleet, "b:2")
        assert fleet.members[0].weight == 1


@pytest.mark.parametrize("text", ["- http://a:1/v1", "- {", None])
async def test_a_file_that_cannot_be_read_takes_no_engine_away(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "engines.yaml"
    write(path, "- http://a:1\n")
    fleet, discovery = discovery_of(engines_file=str(path))
    async with discovery.running():
        if text is None:
            path.unlink()
        else:
            write(path, text)
        await asyncio.sleep(0.1)
        assert names(fleet) == ["a:1"]
        write(path, "- http://b:2\n")
        await until(fleet, "b:2")


async def test_an_engine_that_is_taken_away_ends_what_it_has_and_is_then_gone(tmp_path: Path) -> None:
    path = tmp_path / "engines.yaml"
    write(path, "- http://a:1\n- http://b:2\n")
    fleet, discovery = discovery_of(engines_file=str(path))
    gone: list[str] = []
    fleet.on_gone.append(lambda member: gone.append(member.replica.name))
    async with discovery.running():
        first, second = fleet.members
        for member in fleet.members:
            fleet.learned(member, frozenset({"m"}))
            fleet.set_state(member, State.READY)
        place = await fleet.place(M, avoiding={"b:2"})
        write(path, "- http://b:2\n")
        async with asyncio.timeout(5):
            while first.state is not State.DRAINING:
                await asyncio.sleep(0.01)
        assert (names(fleet), gone) == (["a:1", "b:2"], [])
        assert (await fleet.place(M)).member is second
        place.answered()
        place.release()
        assert (names(fleet), gone) == (["b:2"], ["a:1"])
        assert state_of(first) == State.GONE


async def test_an_engine_that_is_listed_again_before_it_is_gone_starts_anew(tmp_path: Path) -> None:
    fleet, discovery = discovery_of(engines="http://a:1")
    member = fleet.members[0]
    fleet.learned(member, frozenset({"m"}))
    fleet.set_state(member, State.READY)
    place = await fleet.place(M)
    fleet.update([])
    assert state_of(member) == State.DRAINING
    discovery.reread = lambda: Settings.model_validate({"routing": {"engines": "http://a:1,http://c:3"}})
    async with discovery.running():
        discovery.ask_to_reload()
        await until(fleet, "a:1", "c:3")
    assert state_of(member) == State.STARTING
    assert member.doubted.is_set()
    place.release()
    assert names(fleet) == ["a:1", "c:3"]


async def test_a_name_is_resolved_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[list[str] | OSError] = [["10.0.0.1", "10.0.0.2", "10.0.0.2"]]

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        assert (host, port) == ("engines.gemma.svc", 8100)
        if isinstance(answers[-1], OSError):
            raise answers[-1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers[-1]]

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    fleet, discovery = discovery_of(dns="engines.gemma.svc:8100", media=False)
    async with discovery.running():
        assert names(fleet) == ["10.0.0.1:8100", "10.0.0.2:8100"]
        assert not fleet.members[0].media
        answers.append(["10.0.0.2", "fd00::7"])
        await until(fleet, "10.0.0.2:8100", "[fd00::7]:8100")
        answers.append(socket.gaierror("no such name"))
        await asyncio.sleep(0.1)
        assert names(fleet) == ["10.0.0.2:8100", "[fd00::7]:8100"]


async def test_settings_that_do_not_hold_keep_the_engines_that_were_named_before() -> None:
    fleet, discovery = discovery_of(engines="http://a:1")

    def broken() -> Settings:
        raise SettingsError(["routing.engines: must not name an engine twice"])

    discovery.reread = broken
    async with discovery.running():
        discovery.ask_to_reload()
        await asyncio.sleep(0.1)
        assert names(fleet) == ["a:1"]


async def test_a_real_name_is_resolved() -> None:
    fleet, discovery = discovery_of(dns="localhost:8100")
    async with discovery.running():
        assert set(names(fleet)) & {"127.0.0.1:8100", "[::1]:8100"}


async def test_what_several_sources_list_is_one_engine_and_the_file_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "engines.yaml"
    write(path, "- url: http://127.0.0.1:8100\n  weight: 9\n")
    fleet, discovery = discovery_of(engines="http://127.0.0.1:8100", engines_file=str(path))
    async with discovery.running():
        assert [(member.replica.name, member.weight) for member in fleet.members] == [("127.0.0.1:8100", 9)]
