"""API keys in Redis: 256 random bits, shown once, kept as a SHA-256 digest.

A plain digest is enough for a key of this entropy (nothing can be guessed), and it is what a look-up by key needs:
https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html is about passwords, which are not.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from dataclasses import dataclass, replace

from gateway.errors import NotFound
from gateway.identity.key_record import KeyRecord, load_key_record
from gateway.store import Store, keys, load_script

PREFIX = "gg_"
_SHOWN_CHARACTERS = 10
_TRIES = 5

_FIND = load_script("gateway.identity", "find_key.lua")
_ROTATE = load_script("gateway.identity", "rotate_key.lua")
_REVOKE = load_script("gateway.identity", "revoke_key.lua")
_NOTE_USES = load_script("gateway.identity", "note_uses.lua")


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is to be. Without a user it is its own: the key's id."""

    tenant: str
    user: str | None = None
    scopes: frozenset[str] = frozenset()
    models: frozenset[str] | None = None
    tier: str | None = None
    expires_at: int | None = None


def digest_of(secret: str) -> str:
    """Return the digest that a key, or a login code, is stored and looked up by."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class KeyStore:
    """Creates, finds, lists, rotates and revokes keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, new: NewKey) -> tuple[str, KeyRecord]:
        """Return a new key and its record; the key itself is nowhere else. Raises StoreDown."""
        key, key_id = _new_key(), f"key_{secrets.token_hex(8)}"
        record = KeyRecord(
            id=key_id,
            prefix=key[:_SHOWN_CHARACTERS],
            tenant=new.tenant,
            user=new.user or key_id,
            created_at=int(time.time()),
            scopes=new.scopes,
            models=new.models,
            tier=new.tier,
            expires_at=new.expires_at,
        )
        await self._write(key, record, "", "", 0)
        return key, record

    async def find(self, key: str) -> KeyRecord | None:
        """Return the record of `key`, None for an unknown one. Whether it has expired is not looked at.

        Raises StoreDown.
        """
        text, found_at = await self._found(digest_of(key))
        return None if text is None else load_key_record(text, found_at=found_at)

    async def now(self) -> float:
        """Return the Unix time by the clock that `found_at` goes by. Raises StoreDown."""
        return (await self._found(""))[1]

    async def records(self) -> list[KeyRecord]:
        """Return every key's record, oldest first. Raises StoreDown."""
        index: list[bytes] = await self._store.call("HGETALL", keys.api_key_index())
        ids, digests = index[::2], [digest.decode() for digest in index[1::2]]
        if not ids:
            return []
        texts, uses = await asyncio.gather(
            self._store.call("MGET", *map(keys.api_key, digests)),
            self._store.call("HMGET", keys.api_key_uses(), *ids),
        )
        records = [load_key_record(text, used) for text, used in zip(texts, uses, strict=True) if text]
        return sorted(records, key=lambda record: (record.created_at, record.id))

    async def rotate(self, key_id: str, grace_seconds: float) -> tuple[str, KeyRecord]:
        """Return a new key in place of the present one, which holds for a while yet. Raises NotFound, StoreDown."""
        key = _new_key()
        for _ in range(_TRIES):
            digest, earlier = await self._digests(key_id)
            text: bytes | None = await self._store.call("GET", keys.api_key(digest))
            if text is None:
                break
            record = replace(load_key_record(text), prefix=key[:_SHOWN_CHARACTERS])
            if await self._write(key, record, digest, earlier, int(grace_seconds * 1000)):
                return key, record
        raise _unknown(key_id)

    async def check_known(self, key_id: str) -> None:
        """Raise NotFound where there is no such key, StoreDown."""
        await self._digests(key_id)

    async def revoke(self, key_id: str) -> None:
        """Delete a key, and the one before its rotation. Raises NotFound, StoreDown."""
        for _ in range(_TRIES):
            digest, earlier = await self._digests(key_id)
            touched = [keys.api_key_index(), keys.api_key_earlier(), keys.api_key_uses()]
            touched += [keys.api_key(digest), keys.api_key(earlier)]
            if await self._store.run(_REVOKE, touched, [key_id, digest]):
                return
        raise _unknown(key_id)

    async def note_uses(self, uses: dict[str, int]) -> None:
        """Write down when keys, by their ids, were used; a key that is gone stays so. Raises StoreDown."""
        flat = [part for pair in uses.items() for part in pair]
        await self._store.run(_NOTE_USES, [keys.api_key_index(), keys.api_key_uses()], flat)

    async def _found(self, digest: str) -> tuple[bytes | None, float]:
        """Return the record with this digest, and when that was: by Redis's clock, as gateways' may differ."""
        text, (seconds, microseconds) = await self._store.run(_FIND, [keys.api_key(digest)], [])
        return text, int(seconds) + int(microseconds) / 1_000_000

    async def _digests(self, key_id: str) -> tuple[str, str]:
        digest, earlier = await asyncio.gather(
            self._store.call("HGET", keys.api_key_index(), key_id),
            self._store.call("HGET", keys.api_key_earlier(), key_id),
        )
        if digest is None:
            raise _unknown(key_id)
        return digest.decode(), (earlier or b"").decode()

    async def _write(self, key: str, record: KeyRecord, present: str, earlier: str, grace_ms: int) -> bool:
        """Write a key's record in place of the present one; not if that is no longer the present one."""
        digest = digest_of(key)
        touched = [keys.api_key_index(), keys.api_key_earlier()]
        touched += [keys.api_key(digest), keys.api_key(present), keys.api_key(earlier)]
        written = await self._store.run(_ROTATE, touched, [record.id, record.dump(), digest, present, grace_ms])
        return bool(written)


def _new_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def _unknown(key_id: str) -> NotFound:
    return NotFound(f"There is no API key '{key_id}'.", param="id")
