"""Which Redis is the master now: asked of the Sentinels before each connection, as their protocol wants it.

https://redis.io/docs/latest/develop/reference/sentinel-clients/. All are asked at once, so that one that is gone costs
no time, and what most of them say is believed as soon as the rest cannot change it, so that one that was cut off does
not decide.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from dataclasses import dataclass, field, replace

import hiredis

from gateway.store.address import Address
from gateway.store.command import Command, Unusable, pack

Place = tuple[str, int]

_ENOUGH_BYTES = 4096
_LOOK_SECONDS = 2.0


class MasterUnknown(ConnectionError):
    """No Sentinel can be reached that knows of a master by this name."""


class NotMaster(Unusable):
    """Who was taken for the master is a replica: a failover is going on, or was."""


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Where they are, what they call our master, and what they want to hear first."""

    places: tuple[Place, ...]
    master: str
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    patience_seconds: float = 0.25
    """How long one may take."""

    async def located(self, address: Address) -> Address:
        """Return the address with the master's host and port. Raises MasterUnknown."""
        votes = await self._votes()
        if not votes:
            raise MasterUnknown(self.master)
        host, port = votes.most_common(1)[0][0]
        return replace(address, host=host, port=port)

    async def replaced(self, address: Address) -> None:
        """Return once most of all of them name another master than the one at this address.

        Fewer may have been cut off and be behind: what works is not given up on their word.
        """
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for place, count in (await self._votes()).most_common(1):
                if place != (address.host, address.port) and 2 * count > len(self.places):
                    return

    async def _votes(self) -> Counter[Place]:
        """Return how many name which master, as soon as the rest cannot change which is first."""
        asked = [asyncio.ensure_future(self._answer(place)) for place in self.places]
        votes = Counter[Place]()
        try:
            for unheard, answer in zip(reversed(range(len(asked))), asyncio.as_completed(asked), strict=True):
                votes.update(filter(None, [await answer]))
                if _decided(votes, unheard):
                    break
        finally:
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return votes

    async def _answer(self, place: Place) -> Place | None:
        """Return what one of them says, None where that is nothing."""
        greeting = [("AUTH", self.password)] if self.password else []
        commands: list[Command] = [*greeting, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master)]
        try:
            async with asyncio.timeout(self.patience_seconds):
                return _place_in(await self._last_reply(place, commands))
        except (OSError, TimeoutError, hiredis.HiredisError, ValueError):
            # ValueError: a name that cannot be looked up, or a place that is none.
            return None

    async def _last_reply(self, place: Place, commands: list[Command]) -> object:
        reader, writer = await asyncio.open_connection(*place, ssl=self.tls)
        try:
            writer.write(b"".join(map(pack, commands)))
            replies = hiredis.Reader()
            reply: object = False
            for _ in commands:
                while (reply := replies.gets()) is False:
                    heard = await reader.read(_ENOUGH_BYTES)
                    if not heard:
                        raise ConnectionResetError
                    replies.feed(heard)
            return reply
        finally:
            writer.transport.abort()


def _place_in(reply: object) -> Place | None:
    """Return the place in a reply, None where it has none. Raises ValueError."""
    match reply:
        case [bytes(host), bytes(port)]:
            return host.decode(), int(port)
    return None


def _decided(votes: Counter[Place], unheard: int) -> bool:
    """Whether no other place can catch up with the first, whatever those say who have not been heard."""
    first, second = [count for _, count in votes.most_common(2)] + [0] * (2 - min(2, len(votes)))
    return first - second > unheard
