"""What is kept of an API key, and how it is written down. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from gateway.identity.principal import Principal, mark_of_key

_ASIDE = frozenset({"last_used_at", "found_at"})
"""What is not of the key itself."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """`prefix` is the key's first characters, for people to tell keys apart; `id` and `user` outlast a rotation."""

    id: str
    prefix: str
    tenant: str
    user: str
    created_at: int
    scopes: frozenset[str] = frozenset()
    models: frozenset[str] | None = None
    tier: str | None = None
    expires_at: int | None = None
    last_used_at: int | None = None
    found_at: float = field(default=0.0, compare=False)
    """When Redis found it for its key, by Redis's own clock."""

    def principal(self) -> Principal:
        """Return who holds the key, and proved it when it was found."""
        until = float("inf") if self.expires_at is None else float(self.expires_at)
        return Principal(
            self.tenant, self.user, self.scopes, self.models, self.tier, until, self.found_at, (mark_of_key(self.id),)
        )

    def dump(self) -> bytes:
        """Return it as JSON; the last use is kept elsewhere, as it changes often."""
        fields = {name: value for name, value in asdict(self).items() if name not in _ASIDE}
        return orjson.dumps(fields, default=sorted)


def load_key_record(text: bytes, last_used_at: bytes | None = None, found_at: float = 0.0) -> KeyRecord:
    """Return what `dump` wrote."""
    fields: dict[str, Any] = orjson.loads(text)
    models = fields.pop("models")
    return KeyRecord(
        **{**fields, "scopes": frozenset(fields["scopes"])},
        models=None if models is None else frozenset(models),
        last_used_at=None if last_used_at is None else int(last_used_at),
        found_at=found_at,
    )
