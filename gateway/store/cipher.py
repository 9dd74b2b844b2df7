"""Encryption of what users say, at rest. AES-256-GCM, a nonce for each value, several keys at once for rotation.

Form of a sealed value: 0x01, the key's number (4 bytes), the nonce (12), ciphertext and tag. The tenant is
authenticated with it, so a value cannot be moved to another tenant. NIST SP 800-38D §8.3 bounds random nonces to
2^32 values under one key. Without keys values are stored as they are; a gateway that has keys still reads those.
"""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import StoreDown

_SEALED = b"\x01"
_PLAIN = b"\x00"
"""Stands before a plain value that would look like a sealed or a marked one."""
_NUMBER_BYTES = 4
_NONCE_BYTES = 12


class Cipher:
    """Seals with the first key, opens with any. Without keys it lets values through."""

    def __init__(self, keys: tuple[bytes, ...] = ()) -> None:
        self._keys = {_number(key): AESGCM(key) for key in keys}
        self._first = _number(keys[0]) if keys else b""

    def seal(self, value: bytes, tenant: str) -> bytes:
        """Return what is stored for `value`."""
        if not self._first:
            return _PLAIN + value if value[:1] in (_PLAIN, _SEALED) else value
        nonce = os.urandom(_NONCE_BYTES)
        return _SEALED + self._first + nonce + self._keys[self._first].encrypt(nonce, value, tenant.encode())

    def open(self, stored: bytes, tenant: str) -> bytes:
        """Return the value behind what is stored. Raises StoreDown where none of the keys opens it."""
        mark = stored[:1]
        if mark == _PLAIN:
            return stored[1:]
        if mark != _SEALED:
            return stored
        number, rest = stored[1 : 1 + _NUMBER_BYTES], stored[1 + _NUMBER_BYTES :]
        try:
            return self._keys[number].decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], tenant.encode())
        except (KeyError, InvalidTag):
            raise StoreDown("This is encrypted with a key that the gateway does not have.") from None


def _number(key: bytes) -> bytes:
    return hashlib.sha256(b"gemma-gateway session key" + key).digest()[:_NUMBER_BYTES]
