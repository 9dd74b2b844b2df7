"""The smallest requests with media: what they hold is a picture and a clip, as our own readers see them."""

from __future__ import annotations

import base64
import zlib

import orjson

from gateway.domain import Medium
from gateway.prompt.audio_header import audio_header
from gateway.prompt.image_header import image_header
from gateway.routing.media_probe import probe


def data_of(medium: Medium) -> bytes:
    """Return the file that a probe holds."""
    (message,) = probe("m", medium)["messages"]
    (part,) = message["content"]
    return base64.b64decode(part[part["type"]]["url"].partition(",")[2])


def test_the_image_is_a_png() -> None:
    data = data_of(Medium.IMAGE)
    header = image_header(data)
    assert header is not None
    assert (header.kind, header.width, header.height) == ("image/png", 32, 32)
    start = data.index(b"IDAT") + 4
    assert len(zlib.decompress(data[start : data.index(b"IEND") - 8])) == 32 * (1 + 3 * 32)


def test_the_clip_is_a_wav_of_a_tenth_of_a_second() -> None:
    header = audio_header(data_of(Medium.AUDIO))
    assert header is not None
    assert (header.kind, header.seconds) == ("audio/wav", 0.1)


def test_a_probe_is_small() -> None:
    assert all(len(orjson.dumps(probe("m", medium))) < 5_000 for medium in Medium)
