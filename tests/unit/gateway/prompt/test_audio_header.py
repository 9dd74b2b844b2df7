"""A clip's kind and length from its headers, whatever the bytes are."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prompt.audio_header import audio_header
from tests.fakes.samples import CLIPS, KINDS, PICTURES, sample, silence

MAGICS = st.sampled_from(
    [b"RIFF\0\0\0\0WAVEfmt ", b"fLaC\0\0\0\x22", b"OggS", b"ID3\x04\0\0\0\0\0\0", b"\xff\xfb\x90", b""]
)
FRAME = b"\xff\xfb\x90\x00" + bytes(413)
"""MPEG 1 layer III, 128 kbit/s at 44.1 kHz: 26.1 ms in 417 bytes."""


def wav(form: int, block_bytes: int, rate: int, size: int, data: bytes, before: bytes = b"") -> bytes:
    """Return a WAV whose data chunk says that it has `size` bytes."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, form, 1, rate, rate * block_bytes, block_bytes, 8)
    return b"RIFF\0\0\0\0WAVE" + before + fmt + struct.pack("<4sI", b"data", size) + data


@pytest.mark.parametrize("name", CLIPS)
def test_what_encoders_write_is_read(name: str) -> None:
    header = audio_header(sample(name))
    assert header is not None
    assert header.kind == KINDS[name]
    assert header.seconds == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", *map(sample, PICTURES)]
)
def test_what_is_no_clip_of_these_kinds_is_none(data: bytes) -> None:
    assert audio_header(data) is None


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (silence(31), 31),
        (wav(1, 2, 8000, 16_000, bytes(16_000)), 1),
        (wav(3, 4, 16_000, 0, bytes(64_000)), 1),
        (wav(1, 2, 8000, 0xFFFF_FFFF, bytes(16_000)), 1),
        (wav(7, 1, 8000, 8000, bytes(8000), before=b"LIST\x03\0\0\0abc\0"), 1),
        (FRAME * 100, 2.61),
        (b"ID3\x04\0\0\0\0\x01\x02" + bytes(130) + FRAME * 100, 2.61),
        (FRAME[:36] + b"Xing" + struct.pack(">II", 1, 1000) + bytes(369) + FRAME, 26.1),
    ],
)
def test_the_length_is_what_would_be_played(data: bytes, seconds: float) -> None:
    header = audio_header(data)
    assert header is not None
    assert header.seconds == pytest.approx(seconds, rel=0.01)


@pytest.mark.parametrize(
    "data",
    [
        wav(2, 256, 8000, 256, bytes(256)),  # ADPCM: a block is no moment.
        wav(1, 0, 8000, 10, bytes(10)),
        wav(1, 1, 0, 10, bytes(10)),
        b"fLaC\0\0\0\x22" + bytes(34),
        b"OggS" + bytes(22) + b"\x01\x1e\x01vorbis" + bytes(30),
        b"RIFF\0\0\0\0WAVE" + b"abcd\0\0\0\0" * 1_000_000,
        b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + FRAME * 10,
        bytes(5_000_000),
        b"\xff\xfb\x90\0" * 1_000_000,
    ],
)
def test_no_length_is_none_and_takes_no_time(data: bytes) -> None:
    assert audio_header(data) is None


@given(MAGICS, st.binary(max_size=300))
def test_any_bytes_are_answered(magic: bytes, rest: bytes) -> None:
    found = audio_header(magic + rest)
    assert found is None or found.seconds >= 0


@given(st.sampled_from(CLIPS), st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_a_damaged_clip_is_answered(name: str, at: int, damage: bytes) -> None:
    data = sample(name)
    found = audio_header(data[:at] + damage + data[at + len(damage) :])
    assert found is None or found.seconds >= 0
