"""Work is ended when its client leaves, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.api.watch import ClientWatch


class Client:
    """One that leaves when it is told to."""

    def __init__(self, *, has_left: bool = False) -> None:
        self.loop = asyncio.get_running_loop()
        self.callback: Callable[[], None] | None = None
        self.has_left = has_left
        self.blocked = False

    def when_gone(self, callback: Callable[[], None] | None) -> None:
        """Remember whom to tell."""
        self.callback = callback
        if self.has_left and callback is not None:
            callback()

    def leave(self) -> None:
        """Leave."""
        if self.callback is not None:
            self.callback()

    def whole_body(self) -> bytes | None:
        """Nothing of it is here."""

    def push(self, part: bytes) -> bool:
        """Take nothing."""
        return False


async def work(watch: ClientWatch, seconds: float = 60.0) -> str:
    """Work within a watch, for nobody not at all; then go on."""
    did = "nothing"
    with watch:
        if watch.gone_at is None:
            did = "half"
            await asyncio.sleep(seconds)
            did = "all"
    await asyncio.sleep(0)
    return did


async def test_work_is_ended_when_its_client_leaves_and_its_task_goes_on() -> None:
    client = Client()
    watch = ClientWatch(client)
    working = asyncio.create_task(work(watch))
    await asyncio.sleep(0)
    client.leave()
    assert await working == "half"
    assert watch.gone_at is not None
    assert working.cancelling() == 0


async def test_there_is_no_work_for_a_client_that_has_left_already() -> None:
    watch = ClientWatch(Client(has_left=True))
    assert await asyncio.create_task(work(watch)) == "nothing"
    assert watch.gone_at is not None


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_cancellation_from_outside_is_not_taken_back(leaves: bool) -> None:
    client = Client()
    working = asyncio.create_task(work(ClientWatch(client)))
    await asyncio.sleep(0)
    if leaves:
        client.leave()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_after_the_work_nobody_is_told() -> None:
    client = Client()
    watch = ClientWatch(client)
    assert await work(watch, seconds=0) == "all"
    assert client.callback is None
    assert watch.gone_at is None


async def test_what_fails_within_fails() -> None:
    client = Client()
    with pytest.raises(ZeroDivisionError), ClientWatch(client):
        _ = 1 / 0
    assert client.callback is None


async def test_within_its_time_of_grace_work_goes_on_without_a_client() -> None:
    for seconds, grace_seconds, done in ((0.01, 5.0, "all"), (60.0, 0.05, "half")):
        client = Client(has_left=True)
        watch = ClientWatch(client, grace_seconds)
        assert await asyncio.create_task(work(watch, seconds)) == done
        assert (watch.gone_at is not None) == (done == "half")
        assert watch._grace is not None
        assert watch._grace.cancelled()


async def test_without_a_client_to_watch_there_is_but_the_work() -> None:
    assert await work(ClientWatch(None), seconds=0) == "all"
