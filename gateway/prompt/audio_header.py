"""What an audio clip is and how long it plays, read from its headers. Pure; nothing is decoded, and work is bounded.

WAV: RFC 2361 and Microsoft's RIFF; FLAC: RFC 9639; Ogg: RFC 3533 with Vorbis I §4.2.2 or Opus (RFC 7845); MP3: ISO/IEC
11172-3 §2.4.2.3 with the Xing and VBRI headers of encoders. A clip may lie about its length; then the engine cuts it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

_MAX_CHUNKS = 64
_LAST_PAGE_BYTES = 65_536
"""The largest Ogg page has 65,307."""
_MAX_MP3_SYNC_BYTES = 4096
_PLAIN_WAV = frozenset((1, 3, 6, 7, 0xFFFE))
"""PCM, float, A-law, µ-law, and those with a longer header: a block of each is one moment of sound."""
_OPUS_RATE = 48_000
_MP3_KBPS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}
"""By the version's bits: MPEG 1, 2 and 2.5."""


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """A clip's own word about itself. `kind` is its MIME type."""

    kind: str
    seconds: float


def audio_header(data: bytes) -> AudioHeader | None:
    """Return what `data` is, None if it is no WAV, MP3, FLAC or Ogg (Vorbis, Opus) or says no length."""
    kind, seconds_of = _reader(data)
    try:
        seconds = seconds_of(data)
    except (struct.error, IndexError, ZeroDivisionError):
        return None
    return None if seconds is None or seconds < 0 else AudioHeader(kind, seconds)


def _reader(data: bytes) -> tuple[str, Callable[[bytes], float | None]]:
    if data.startswith(b"RIFF") and data[8:12] == b"WAVE":
        return "audio/wav", _wav
    if data.startswith(b"fLaC"):
        return "audio/flac", _flac
    if data.startswith(b"OggS"):
        return "audio/ogg", _ogg
    return "audio/mpeg", _mp3


def _wav(data: bytes) -> float | None:
    at, block_bytes, rate = 12, 0, 0
    for _ in range(_MAX_CHUNKS):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"fmt ":
            form, _channels, rate, _bytes, block_bytes = struct.unpack_from("<HHIIH", data, at)
            if form not in _PLAIN_WAV:
                return None
        elif name == b"data":
            # Who writes to a pipe does not know the size, and writes 0 or the largest number.
            there = len(data) - at
            return (min(size, there) if size else there) / block_bytes / rate
        at += size + size % 2
    return None


def _flac(data: bytes) -> float | None:
    """Read STREAMINFO, which always comes first: 20 bits of rate, 3 + 5 of shape, 36 of samples."""
    (bits,) = struct.unpack_from(">Q", data, 18)
    samples = bits & 0xF_FFFF_FFFF
    return samples / (bits >> 44) if samples else None


def _ogg(data: bytes) -> float | None:
    first = 27 + data[26]
    skipped = 0
    if data.startswith(b"\x01vorbis", first):
        (rate,) = struct.unpack_from("<I", data, first + 12)
    elif data.startswith(b"OpusHead", first):
        rate = _OPUS_RATE
        (skipped,) = struct.unpack_from("<H", data, first + 10)
    else:
        return None
    last = data.rfind(b"OggS", max(0, len(data) - _LAST_PAGE_BYTES))
    if last < 0:
        return None
    (position,) = struct.unpack_from("<q", data, last + 6)
    return max(0, position - skipped) / rate if position >= 0 else None


@dataclass(frozen=True, slots=True)
class _Mp3Frame:
    bits_per_second: int
    rate: int
    samples: int
    bytes: int
    tag_at: int
    """Where, from the frame's begin, an encoder's Xing header would be."""


def _mp3(data: bytes) -> float | None:
    start = _behind_id3(data)
    for at in range(start, min(start + _MAX_MP3_SYNC_BYTES, len(data) - 3)):
        frame = _mp3_frame(data, at)
        if frame is not None and _is_followed(data, at + frame.bytes):
            frames = _counted_frames(data, at, frame)
            if frames:
                return frames * frame.samples / frame.rate
            return (len(data) - at) * 8 / frame.bits_per_second
    return None


def _behind_id3(data: bytes) -> int:
    if not data.startswith(b"ID3"):
        return 0
    size = 0
    for each in data[6:10]:
        size = size << 7 | each & 0x7F
    return 10 + size + (10 if data[5] & 0x10 else 0)


def _mp3_frame(data: bytes, at: int) -> _Mp3Frame | None:
    if data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:  # Eleven bits of sync, and layer III.
        return None
    version, first = data[at + 1] >> 3 & 3, data[at + 1] >> 3 & 3 == 3
    kbps_index, rate_index = data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if version == 1 or kbps_index in (0, 15) or rate_index == 3:
        return None
    bits_per_second = 1000 * _MP3_KBPS[1 if first else 2][kbps_index]
    rate = _MP3_RATES[version][rate_index]
    samples = 1152 if first else 576
    mono = data[at + 3] >> 6 == 3
    side_bytes = (17 if mono else 32) if first else (9 if mono else 17)
    size = samples // 8 * bits_per_second // rate + (data[at + 2] >> 1 & 1)
    return _Mp3Frame(bits_per_second, rate, samples, size, 4 + side_bytes)


def _is_followed(data: bytes, at: int) -> bool:
    """Whether another frame, a tag or the end is where this frame ends: chance makes a frame's first bytes often."""
    return len(data) - at < 4 or data.startswith(b"TAG", at) or _mp3_frame(data, at) is not None


def _counted_frames(data: bytes, at: int, frame: _Mp3Frame) -> int:
    """Return how many frames the encoder says there are, 0 where it says nothing."""
    tag = at + frame.tag_at
    if data[tag : tag + 4] in (b"Xing", b"Info") and data[tag + 7] & 1:
        return int(struct.unpack_from(">I", data, tag + 8)[0])
    if data.startswith(b"VBRI", at + 36):
        return int(struct.unpack_from(">I", data, at + 36 + 14)[0])
    return 0
