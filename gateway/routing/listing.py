"""What a source says of an engine: where it is, and what cannot be learnt from it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from config import Settings
from config.validate import is_host
from gateway.domain import Replica, bracketed


@dataclass(frozen=True, slots=True)
class Listing:
    """One engine as a source lists it. `weight`: its share of requests, against others'."""

    replica: Replica
    weight: int = 1
    media: bool | None = None
    """Whether it takes images and audio; None: it is asked."""


def replica_of(url: str) -> Replica:
    """Return the engine at `http://host:port`, or at the socket of `unix:///path`. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        return Replica(name=parts.path, host="localhost", port=80, unix_socket=parts.path)
    if parts.scheme != "http" or parts.hostname is None or not is_host(parts.hostname) or parts.path.strip("/"):
        raise ValueError(f"'{url}' is not an engine's base URL: http://host:port or unix:///path")
    return replica_at(parts.hostname, parts.port or 80)


def replica_at(host: str, port: int) -> Replica:
    """Return the engine at this address."""
    return Replica(name=f"{bracketed(host)}:{port}", host=host, port=port)


class _Entry(BaseModel):
    """One engine in a file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str
    weight: int = Field(1, ge=1, le=1000)
    media: bool | None = None


_ENTRIES = TypeAdapter(list[str | _Entry])


def listings_of(text: str, media: bool | None) -> tuple[Listing, ...]:
    """Return what an engines file lists; `media` where it does not say. Raises ValueError."""
    try:
        entries = _ENTRIES.validate_python(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"the file is not YAML: {error}") from None
    found = tuple(_listing(entry if isinstance(entry, _Entry) else _Entry(url=entry), media) for entry in entries)
    if len({each.replica.name for each in found}) < len(found):
        raise ValueError("the file names an engine twice")
    return found


def _listing(entry: _Entry, media: bool | None) -> Listing:
    return Listing(replica_of(entry.url), entry.weight, media if entry.media is None else entry.media)


def listed_in(settings: Settings) -> tuple[Listing, ...]:
    """Return the engines that the settings name: the one of this machine where they name no source at all."""
    routing, engine = settings.routing, settings.engine
    if routing.sources:
        return tuple(Listing(replica_of(url), media=routing.media) for url in routing.engines)
    return (Listing(replica_of(f"http://{bracketed(engine.host)}:{engine.port}"), media=routing.media),)
