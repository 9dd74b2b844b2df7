"""Which Redis is the master now: asked of the Sentinels before each connection, as their protocol wants it.

https://redis.io/docs/latest/develop/reference/sentinel-clients/. All are asked at once, so that one that is gone costs
no time, and what most of them say is believed as soon as the rest cannot change it, so that one that was cut off does
not decide.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from contextlib import suppress
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
    """Whom the Sentinels named is a replica: a failover is going on."""


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
        host, port = await self._asked()
        return replace(address, host=host, port=port)

    async def replaced(self, address: Address) -> None:
        """Return once they name another master than the one at this address; while they name none, it stays."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with suppress(MasterUnknown):
                if await self.located(address) != address:
                    return

    async def _asked(self) -> Place:
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
        if not votes:
            raise MasterUnknown(self.master)
        return votes.most_common(1)[0][0]

    async def _answer(self, place: Place) -> Place | None:
        """Return what one of them says, None where that is nothing."""
        greeting = [("AUTH", self.password)] if self.password else []
        commands: list[Command] = [*greeting, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master)]
        try:
            async with asyncio.timeout(self.patience_seconds):
                reply = await self._last_reply(place, commands)
        except (OSError, UnicodeError, hiredis.HiredisError):  # TimeoutError is an OSError.
            return None
        if not isinstance(reply, list):
            return None
        return reply[0].decode(), int(reply[1])

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


def _decided(votes: Counter[Place], unheard: int) -> bool:
    """Whether no other place can catch up with the first, whatever those say who have not been heard."""
    first, second = [count for _, count in votes.most_common(2)] + [0] * (2 - min(2, len(votes)))
    return first - second > unheard
