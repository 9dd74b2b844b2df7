"""An image's kind and size from its first bytes, whatever the bytes are."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prompt.image_header import ImageHeader, image_header
from tests.fakes.samples import CLIPS, KINDS, PICTURES, sample

MAGICS = st.sampled_from([b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", b"\xff\xd8\xff", b""])


@pytest.mark.parametrize("name", PICTURES)
def test_what_encoders_write_is_read(name: str) -> None:
    assert image_header(sample(name)) == ImageHeader(KINDS[name], 40, 30)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG", b"<svg/>", b"BM" + bytes(60), sample(CLIPS[0])])
def test_what_is_no_image_of_these_kinds_is_none(data: bytes) -> None:
    assert image_header(data) is None


@pytest.mark.parametrize("name", PICTURES)
def test_a_cut_header_is_none_or_right(name: str) -> None:
    data = sample(name)
    whole = image_header(data)
    assert all(image_header(data[:length]) in (None, whole) for length in range(len(data)))


def test_a_bomb_says_its_size() -> None:
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 100_000, 100_000) + bytes(5)
    assert image_header(bomb) == ImageHeader("image/png", 100_000, 100_000)


@pytest.mark.parametrize("rest", [b"\xff" * 5_000_000, b"\xff\xe0\0\x02" * 1_000_000, b"\xff\xe0\0\0" * 1_000_000])
def test_a_jpeg_without_an_end_of_its_head_is_given_up_soon(rest: bytes) -> None:
    assert image_header(b"\xff\xd8\xff\xe0\0\x02" + rest) is None


def test_padding_between_segments_is_skipped() -> None:
    frame = b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 30, 40) + bytes(6)
    assert image_header(b"\xff\xd8\xff\xff\xff\xe0\0\x04ab\xff" + frame) == ImageHeader("image/jpeg", 40, 30)


@given(MAGICS, st.binary(max_size=200))
def test_any_bytes_are_answered(magic: bytes, rest: bytes) -> None:
    found = image_header(magic + rest)
    assert found is None or (found.width >= 0 and found.height >= 0)
