"""The table follows its file, as a whole or not at all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from config import SettingsError
from gateway.identity.tenants_watch import Tenants
from gateway.store import Store
from tests.unit.gateway.identity.tokens import authenticator_of

GOOD = "tiers: {a: {weight: 2}}\ndefault_tier: a\n"
OTHER = "tiers: {b: {weight: 3}}\ndefault_tier: b\n"


def names(tenants: Tenants) -> list[str]:
    """Return the tiers as they are now."""
    return sorted(tenants.table.tiers)


async def becomes(tenants: Tenants, expected: list[str]) -> None:
    """Wait until the table has these tiers."""
    for _ in range(1000):
        if names(tenants) == expected:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"still {names(tenants)}")


def exchange(file: Path, text: str) -> None:
    """Put another file in its place, as the README has it: written where it lies it could be read half written."""
    draft = file.with_name("draft.yaml")
    draft.write_text(text)
    draft.replace(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good file."""
    path = tmp_path / "tenants.yaml"
    path.write_text(GOOD)
    return path


def test_without_a_file_there_is_nobody() -> None:
    assert names(Tenants()) == []


def test_a_gateway_does_not_start_with_a_wrong_file(file: Path) -> None:
    file.write_text("tiers: 5")
    with pytest.raises(SettingsError):
        Tenants(str(file))


async def test_a_changed_file_is_taken_and_others_are_told(file: Path) -> None:
    tenants, told = Tenants(str(file), poll_seconds=0.02), list[list[str]]()
    tenants.on_change(lambda: told.append(names(tenants)))
    async with tenants.running():
        exchange(file, OTHER)
        await becomes(tenants, ["b"])
    assert told == [["b"]]


async def test_a_link_that_is_pointed_elsewhere_is_a_change(file: Path, tmp_path: Path) -> None:
    other, link, draft = tmp_path / "other.yaml", tmp_path / "link.yaml", tmp_path / "draft"
    other.write_text(OTHER)
    link.symlink_to(file)
    tenants = Tenants(str(link), poll_seconds=0.02)
    async with tenants.running():
        draft.symlink_to(other)
        draft.replace(link)
        await becomes(tenants, ["b"])


async def test_a_wrong_file_changes_nothing_and_the_next_good_one_is_taken(file: Path) -> None:
    tenants, told = Tenants(str(file), poll_seconds=0.02), list[None]()
    tenants.on_change(lambda: told.append(None))
    async with tenants.running():
        for wrong in ("tiers: {b: {weight: 0}, c: {}}", "tiers: [", "default_tier: c", ""):
            exchange(file, wrong)
            await asyncio.sleep(0.1)
            assert names(tenants) == ["a"]
        file.unlink()
        await asyncio.sleep(0.1)
        assert (names(tenants), told) == (["a"], [])
        exchange(file, OTHER)
        await becomes(tenants, ["b"])
    assert told == [None]


async def test_asked_to_it_is_read_at_once_also_where_it_looks_unchanged(file: Path) -> None:
    tenants = Tenants(str(file), poll_seconds=60)
    before = file.stat()
    async with tenants.running():
        file.write_text(GOOD.replace(" a", " c").replace("{a", "{c"))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        tenants.ask_to_reload()
        await becomes(tenants, ["c"])


async def test_who_is_remembered_gets_the_new_tier(file: Path, store: Store) -> None:
    tenants = Tenants(str(file), poll_seconds=0.02)
    known = authenticator_of(store, ("gg_local",), tenants=tenants)
    header = b"Bearer gg_local"
    async with tenants.running():
        caller = await known.authenticate(header)
        assert caller.tier == tenants.table.tiers["a"]
        assert known.recall(header) is caller
        exchange(file, OTHER)
        await becomes(tenants, ["b"])
        assert known.recall(header) is None
        assert (await known.authenticate(header)).tier == tenants.table.tiers["b"]
