"""The keys of `sessions.encryption_keys`."""

from __future__ import annotations

import base64

_KEY_BYTES = 32


def encryption_keys(text: str) -> tuple[bytes, ...]:
    """Return the keys of a comma-separated list, each 32 bytes in base64 of either alphabet. Raises ValueError."""
    try:
        keys = tuple(_decoded(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be keys in base64; `openssl rand -base64 32` makes one") from None
    if any(len(key) != _KEY_BYTES for key in keys):
        raise ValueError(f"must be keys of {_KEY_BYTES} bytes each; `openssl rand -base64 32` makes one")
    return keys


def _decoded(text: str) -> bytes:
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
