"""Whether an engine takes images and audio: asked of itself, by the smallest request that holds one.

vLLM lists nowhere what its model takes, but what the model cannot take, or `--limit-mm-per-prompt` forbids, it refuses
with 400, and `POST /tokenize` is where it does so without generating anything.
"""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib
from http import HTTPStatus

import httpx

from gateway.domain import JsonObject, Medium

_SIDE_PIXELS = 32
_RATE_HZ = 16_000
_SAMPLES = 1600
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


async def media_of(client: httpx.AsyncClient, model: str) -> frozenset[Medium]:
    """Return what the engine takes. What it does not clearly refuse counts as taken: then it may say so itself."""
    return frozenset([medium for medium in Medium if not await _refuses(client, model, medium)])


async def _refuses(client: httpx.AsyncClient, model: str, medium: Medium) -> bool:
    try:
        answer = await client.post("/tokenize", json=probe(model, medium))
    except httpx.HTTPError:
        return False
    return answer.status_code == HTTPStatus.BAD_REQUEST


def probe(model: str, medium: Medium) -> JsonObject:
    """Return the request: one message that is an image of one colour, or a tenth of a second of silence."""
    if medium is Medium.IMAGE:
        part: JsonObject = {"type": "image_url", "image_url": {"url": _data_url("image/png", _image())}}
    else:
        part = {"type": "audio_url", "audio_url": {"url": _data_url("audio/wav", _silence())}}
    return {"model": model, "messages": [{"role": "user", "content": [part]}]}


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _image() -> bytes:
    """Return a PNG in RGB. https://www.w3.org/TR/png-3/#5DataRep"""
    header = struct.pack(">IIBBBBB", _SIDE_PIXELS, _SIDE_PIXELS, 8, 2, 0, 0, 0)
    rows = (b"\x00" + bytes(3 * _SIDE_PIXELS)) * _SIDE_PIXELS
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return _PNG_SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(_RATE_HZ)
        writer.writeframes(bytes(2 * _SAMPLES))
    return file.getvalue()
