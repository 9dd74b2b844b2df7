"""What an image is and how many pixels it has, read from its first bytes. Pure; nothing is decoded.

PNG: https://www.w3.org/TR/png-3/#11IHDR; JPEG: ITU-T T.81, annex B; GIF: https://www.w3.org/Graphics/GIF/spec-gif89a.txt;
WebP: RFC 9649. Work is bounded: a JPEG's segments are skipped by their lengths, and only so many of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_MAX_JPEG_STEPS = 256
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that begin with a frame's size; the three left out have other uses."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """An image's own word about itself. `kind` is its MIME type."""

    kind: str
    width: int
    height: int


def image_header(data: bytes) -> ImageHeader | None:
    """Return what `data` is, None if it is no PNG, JPEG, GIF or WebP or its header is broken."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            return ImageHeader("image/png", *struct.unpack_from(">II", data, 16))
        if data.startswith((b"GIF87a", b"GIF89a")):
            return ImageHeader("image/gif", *struct.unpack_from("<HH", data, 6))
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
    except (struct.error, IndexError):
        pass
    return None


def _webp(data: bytes) -> ImageHeader | None:
    form = data[12:16]
    if form == b"VP8X":
        return ImageHeader("image/webp", 1 + _three_bytes(data, 24), 1 + _three_bytes(data, 27))
    if form == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageHeader("image/webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if form == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader("image/webp", width & 0x3FFF, height & 0x3FFF)
    return None


def _three_bytes(data: bytes, at: int) -> int:
    if len(data) < at + 3:
        raise IndexError
    return int.from_bytes(data[at : at + 3], "little")


def _jpeg(data: bytes) -> ImageHeader | None:
    at = 2
    for _ in range(_MAX_JPEG_STEPS):
        marker = data[at + 1]
        if data[at] != 0xFF:
            return None
        if marker == 0xFF:
            at += 1  # A byte of padding.
            continue
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return ImageHeader("image/jpeg", width, height)
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 2 + length
    return None
