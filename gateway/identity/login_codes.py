"""Login codes: what a page is opened with instead of a key. Each works once, for ten minutes."""

from __future__ import annotations

import secrets
from dataclasses import asdict

import orjson

from gateway.errors import Forbidden
from gateway.identity.claims import MAX_MARKS
from gateway.identity.keys import digest_of
from gateway.identity.principal import Principal
from gateway.store import Store, keys

LOGIN_CODE_SECONDS = 600
_PREFIX = "lc_"
_RANDOM_BYTES = 24
_WHILE_OFF = "off:"
"""Codes that are made without authentication let nobody in once there is some."""


class LoginCodes:
    """Makes and redeems them. Redis has a code's digest, and whom it lets in."""

    def __init__(self, store: Store, *, authenticated: bool = True) -> None:
        self._store = store
        self._space = "" if authenticated else _WHILE_OFF

    async def create(self, principal: Principal) -> str:
        """Return a code that lets in whoever has it, as `principal`. Raises StoreDown.

        Raises Forbidden where the principal itself came by too many codes of codes: its origin could not be told.
        """
        if len(principal.marks) > MAX_MARKS:
            raise Forbidden("Too many login codes have led from one to the next. Sign in anew.")
        code = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        name = keys.login_code(digest_of(self._space + code))
        await self._store.call("SET", name, _dump(principal), "EX", LOGIN_CODE_SECONDS)
        return code

    async def redeem(self, code: str) -> Principal | None:
        """Return whom the code lets in, and end it; None for one that is unknown, used or too old. Raises StoreDown."""
        text: bytes | None = await self._store.call("GETDEL", keys.login_code(digest_of(self._space + code)))
        return None if text is None else _load(text)


def _dump(principal: Principal) -> bytes:
    fields = asdict(principal)
    # JSON has no infinity.
    fields["until"] = None if principal.until == float("inf") else principal.until
    return orjson.dumps(fields, default=sorted)


def _load(text: bytes) -> Principal:
    fields = orjson.loads(text)
    for name in ("scopes", "models"):
        fields[name] = None if fields[name] is None else frozenset(fields[name])
    fields["until"] = float("inf") if fields["until"] is None else fields["until"]
    fields["marks"] = tuple(fields["marks"])
    return Principal(**fields)
