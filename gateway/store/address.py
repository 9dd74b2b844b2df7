"""What a connection is made with: where Redis is and who we are there, how long to wait, and who listens."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.store.command import Command


@dataclass(frozen=True, slots=True)
class Who:
    """Who we are to a Redis, and which of its databases is ours."""

    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    client_name: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """A unix socket's path, or a host and port with or without TLS."""

    who: Who
    host: str = ""
    port: int = 0
    path: str = ""
    tls: ssl.SSLContext | None = None

    @property
    def greeting(self) -> tuple[Command, ...]:
        """The commands that come before all others on a new connection."""
        who, commands = self.who, list[Command]()
        if who.password:
            commands.append(("AUTH", *filter(None, (who.username,)), who.password))
        if who.client_name:
            commands.append(("CLIENT", "SETNAME", who.client_name))
        if who.database:
            commands.append(("SELECT", who.database))
        return tuple(commands)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait."""

    connect_seconds: float
    silence_seconds: float
    """From a call until Redis says anything, or until it can be sent at all."""

    @property
    def reply_seconds(self) -> float:
        """For the whole of one reply, once it is the next that is due."""
        return self.connect_seconds + self.silence_seconds


@dataclass(frozen=True, slots=True)
class Listener:
    """What a connection's owner is told."""

    answered: Callable[[], None]
    """Once, at the first reply to a call."""
    lost: Callable[[Exception], None]
    """Where calls have been lost: once, or while it is being opened once for all who have waited too long by then."""
    error: Callable[[str], Exception]
    """Makes an exception of an error reply; an `Unusable` ends the connection."""
