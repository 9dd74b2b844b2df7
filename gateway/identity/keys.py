"""API keys in Redis: 256 random bits, shown once, kept as a SHA-256 digest.

A plain digest is enough for a key of this entropy (nothing can be guessed), and it is what a look-up by key needs:
https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html is about passwords, which are not.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

from gateway.errors import NotFound
from gateway.identity.principal import Principal
from gateway.store import Store, keys

PREFIX = "gg_"
_SHOWN_CHARACTERS = 10


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of a key. `prefix` is its first characters, for people to tell keys apart."""

    id: str
    prefix: str
    tenant: str
    user: str
    scopes: frozenset[str]
    created_at: int


def digest_of(key: str) -> str:
    """Return the digest that a key is stored and looked up by."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


class KeyStore:
    """Creates, finds, lists and revokes keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, tenant: str, user: str, scopes: frozenset[str]) -> tuple[str, KeyRecord]:
        """Return a new key and its record; the key itself is nowhere else. Raises StoreDown."""
        key = PREFIX + secrets.token_urlsafe(32)
        record = KeyRecord(
            id=f"key_{secrets.token_hex(8)}",
            prefix=key[:_SHOWN_CHARACTERS],
            tenant=tenant,
            user=user,
            scopes=scopes,
            created_at=int(time.time()),
        )
        digest = digest_of(key)
        await self._store.call("HSET", keys.api_key(digest), *_fields(record))
        await self._store.call("HSET", keys.api_key_index(), record.id, digest)
        return key, record

    async def find(self, key: str) -> Principal | None:
        """Return the principal behind `key`, None for an unknown one. Raises StoreDown."""
        record = await self._read(digest_of(key))
        return Principal(record.tenant, record.user, record.scopes) if record else None

    async def records(self) -> list[KeyRecord]:
        """Return every key's record, oldest first. Raises StoreDown."""
        index: list[bytes] = await self._store.call("HVALS", keys.api_key_index())
        records = [await self._read(digest.decode()) for digest in index]
        return sorted((record for record in records if record), key=lambda record: (record.created_at, record.id))

    async def revoke(self, key_id: str) -> None:
        """Delete a key. Raises NotFound, StoreDown."""
        digest: bytes | None = await self._store.call("HGET", keys.api_key_index(), key_id)
        if digest is None:
            raise NotFound(f"There is no API key '{key_id}'.", param="id")
        await self._store.call("DEL", keys.api_key(digest.decode()))
        await self._store.call("HDEL", keys.api_key_index(), key_id)

    async def _read(self, digest: str) -> KeyRecord | None:
        flat: list[bytes] = await self._store.call("HGETALL", keys.api_key(digest))
        return _record(flat) if flat else None


def _fields(record: KeyRecord) -> list[str]:
    return [
        *("id", record.id, "prefix", record.prefix, "tenant", record.tenant, "user", record.user),
        *("scopes", " ".join(sorted(record.scopes)), "created_at", str(record.created_at)),
    ]


def _record(flat: list[bytes]) -> KeyRecord:
    texts = [item.decode() for item in flat]
    fields = dict(zip(texts[::2], texts[1::2], strict=True))
    return KeyRecord(
        id=fields["id"],
        prefix=fields["prefix"],
        tenant=fields["tenant"],
        user=fields["user"],
        scopes=frozenset(fields["scopes"].split()),
        created_at=int(fields["created_at"]),
    )
