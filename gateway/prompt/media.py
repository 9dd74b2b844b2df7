"""Images and audio clips in a message's parts: what is let through to the engine, and what each costs. Pure.

Parts: OpenAI's `image_url` and `input_audio`
(https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages) and vLLM's `audio_url`. Everything is
found out from the first bytes of what was sent, before the engine sees it, and nothing is fetched here: see ADR 0022.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from config import Settings
from gateway.domain import NO_MEDIUM, JsonObject, Medium
from gateway.errors import InvalidRequest
from gateway.prompt.audio_header import audio_header
from gateway.prompt.image_header import image_header

IMAGE_TOKENS = 256
AUDIO_TOKENS = 188
"""Gemma 3n's prices, whatever the size or length: `TOKENS_PER_IMAGE`, `TOKENS_PER_AUDIO` in vLLM's gemma3n_mm.py."""

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_IMAGE_HEAD_BYTES = 1_048_576
"""An image's size stands in front of its pixels; a JPEG may have other things before it, such as a preview."""

_A_CLIP = "a WAV, MP3, FLAC or Ogg clip that says its length"
_SAME = {
    "image/jpg": "image/jpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-flac": "audio/flac",
    "application/ogg": "audio/ogg",
    "audio/opus": "audio/ogg",
}
_DATA_HEAD = re.compile(r"data:([a-z0-9.+-]+/[a-z0-9.+-]+)(?:;[a-z0-9.+=-]+)*?;base64,", re.IGNORECASE)
_REMOTE = re.compile(r"https://([a-z0-9.-]{1,253})(?:/[\x21-\x5b\x5d-\x7e]{0,2000})?", re.IGNORECASE)
"""No port, no user, no backslash: nothing that two readers of a URL could take for different hosts."""


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """What one request may hold; no images and no clips where the engine has no eyes and ears."""

    images: int = 0
    audios: int = 0
    bytes: int = 0
    pixels: int = 0
    audio_seconds: float = 0.0
    hosts: tuple[str, ...] = ()
    """Of images that the engine may fetch."""


TEXT_ONLY = MediaLimits()


@dataclass(frozen=True, slots=True)
class Media:
    """What some messages hold."""

    images: int
    audios: int
    bytes: int
    """Of the parts' texts as they stand in the engine's request."""

    @property
    def tokens(self) -> int:
        """What the engine will count for it."""
        return self.images * IMAGE_TOKENS + self.audios * AUDIO_TOKENS

    @property
    def kinds(self) -> frozenset[Medium]:
        """What an engine must take."""
        if not self.images and not self.audios:
            return NO_MEDIUM
        found = ((Medium.IMAGE, self.images), (Medium.AUDIO, self.audios))
        return frozenset(medium for medium, count in found if count)


NO_MEDIA = Media(0, 0, 0)


def media_limits(settings: Settings) -> MediaLimits:
    """Return the limits of these settings."""
    engine, prompt = settings.engine, settings.prompt
    return MediaLimits(
        engine.max_images,
        engine.max_audios,
        prompt.max_media_bytes,
        prompt.max_image_pixels,
        prompt.max_audio_seconds,
        prompt.media_hosts,
    )


def media_in(messages: Iterable[JsonObject], limits: MediaLimits) -> Media:
    """Return what checked messages hold together. Raises InvalidRequest where it is too much."""
    contents = [message["content"] for message in messages if not isinstance(message["content"], str)]
    if not contents:
        return NO_MEDIA
    urls: dict[str, list[int]] = {"image_url": [], "audio_url": []}
    for part in chain.from_iterable(contents):
        if part["type"] in urls:
            urls[part["type"]].append(len(part[part["type"]]["url"]))
    images, audios = urls["image_url"], urls["audio_url"]
    if not images and not audios:
        return NO_MEDIA
    for name, found, most in (("images", images, limits.images), ("audio clips", audios, limits.audios)):
        if len(found) > most:
            raise InvalidRequest(
                f"A conversation may hold at most {most} {name} and this one has {len(found)}.",
                param="messages",
                code="invalid_value",
            )
    return Media(len(images), len(audios), sum(images) + sum(audios))


def checked_media(part: JsonObject, where: str, limits: MediaLimits) -> JsonObject | None:
    """Return the part as the engine may see it, None if it is of no kind known here. Raises InvalidRequest."""
    kind = part.get("type")
    if kind == "image_url":
        if not limits.images:
            raise _invalid(where, "a text: this model takes no images here")
        url = _member(part, "image_url", "url", where)
        return {"type": "image_url", "image_url": {"url": _image(url, f"{where}.image_url.url", limits)}}
    if kind not in ("input_audio", "audio_url"):
        return None
    if not limits.audios:
        raise _invalid(where, "a text: this model takes no audio here")
    if kind == "audio_url":
        declared, data = _data_url(_member(part, kind, "url", where), f"{where}.audio_url.url")
        return _clip(declared, data, f"{where}.audio_url.url", limits)
    form = _member(part, kind, "format", where)
    return _clip(f"audio/{form}", _member(part, kind, "data", where), f"{where}.input_audio.data", limits)


def clip_part(data: bytes, where: str, limits: MediaLimits) -> JsonObject:
    """Return the part of a clip that came as a file: what it is, its first bytes say. Raises InvalidRequest."""
    header = audio_header(data)
    if header is None:
        raise _invalid(where, _A_CLIP)
    if len(data) > limits.bytes:
        raise _invalid(where, f"at most {limits.bytes} bytes")
    return _clip(header.kind, base64.b64encode(data).decode(), where, limits)


def _member(part: JsonObject, kind: str, name: str, where: str) -> str:
    inner = part.get(kind)
    value = inner.get(name) if isinstance(inner, dict) else None
    if not isinstance(value, str):
        raise _invalid(f"{where}.{kind}.{name}", "a text")
    return value


def _image(url: str, where: str, limits: MediaLimits) -> str:
    remote = _REMOTE.fullmatch(url)
    if remote is not None and remote[1].lower() in limits.hosts:
        return url
    if remote is not None:
        raise _invalid(where, "a data: URL: images of this host are not fetched")
    declared, data = _data_url(url, where)
    header = image_header(_decoded(data, where, limits.bytes, _IMAGE_HEAD_BYTES))
    _check_kind(declared, header.kind if header else None, where, "a PNG, JPEG, WebP or GIF image")
    if header is not None and not 0 < header.width * header.height <= limits.pixels:
        raise _invalid(where, f"an image of 1 to {limits.pixels} pixels; it has {header.width} by {header.height}")
    head = f"data:{declared};base64,"
    return url if url.startswith(head) else head + data


def _clip(declared: str, data: str, where: str, limits: MediaLimits) -> JsonObject:
    """Return a clip as `audio_url`, which says its type in the way that `image_url` does."""
    declared = _SAME.get(declared, declared)
    header = audio_header(_decoded(data, where, limits.bytes))
    _check_kind(declared, header.kind if header else None, where, _A_CLIP)
    if header is not None and header.seconds > limits.audio_seconds:
        raise _invalid(where, f"a clip of at most {limits.audio_seconds:g} s; it has {header.seconds:.1f}")
    return {"type": "audio_url", "audio_url": {"url": f"data:{declared};base64,{data}"}}


def _data_url(url: str, where: str) -> tuple[str, str]:
    """Return the declared type and the base64 text. https://www.rfc-editor.org/rfc/rfc2397"""
    head = _DATA_HEAD.match(url, 0, 256)
    if head is None:
        raise _invalid(where, "a data: URL with base64, as in data:image/png;base64,…")
    declared = head[1].lower()
    return _SAME.get(declared, declared), url[head.end() :]


def _decoded(data: str, where: str, most_bytes: int, needed_bytes: int | None = None) -> bytes:
    """Return what is in `data`, all of which is checked, or only its beginning.

    Checking five megabytes takes 3 ms and decoding them 35 ms, in which no other request is served.
    """
    text = data.encode()
    padding = text.translate(None, _BASE64)
    if len(text) % 4 or padding not in (b"", b"=", b"==") or not text.endswith(padding):
        raise _invalid(where, "valid base64")
    if len(text) // 4 * 3 - len(padding) > most_bytes:
        raise _invalid(where, f"at most {most_bytes} bytes")
    return base64.b64decode(text if needed_bytes is None else text[: needed_bytes // 3 * 4], validate=True)


def _check_kind(declared: str, found: str | None, where: str, wanted: str) -> None:
    if found is None:
        raise _invalid(where, wanted)
    if declared != found:
        raise _invalid(where, f"what it says: it says {declared[:64]} and is {found}")


def _invalid(where: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"'{where}' must be {wanted}.", param=where, code="invalid_value")
