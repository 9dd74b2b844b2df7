"""Small pictures and clips as real encoders wrote them (Pillow and libsndfile): 40 by 30 pixels, half a second."""

from __future__ import annotations

import base64
import io
import wave
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "media"
KINDS = {
    "picture.png": "image/png",
    "picture.jpg": "image/jpeg",
    "progressive.jpg": "image/jpeg",
    "picture.gif": "image/gif",
    "lossy.webp": "image/webp",
    "lossless.webp": "image/webp",
    "extended.webp": "image/webp",
    "clip.wav": "audio/wav",
    "clip.mp3": "audio/mpeg",
    "clip.flac": "audio/flac",
    "clip.ogg": "audio/ogg",
    "clip.opus": "audio/ogg",
}
PICTURES = [name for name, kind in KINDS.items() if kind.startswith("image/")]
CLIPS = [name for name, kind in KINDS.items() if kind.startswith("audio/")]


def sample(name: str) -> bytes:
    """Return a file of the folder."""
    return (FOLDER / name).read_bytes()


def base64_of(data: bytes) -> str:
    """Return `data` in base64."""
    return base64.b64encode(data).decode()


def data_url(kind: str, data: bytes) -> str:
    """Return a data: URL."""
    return f"data:{kind};base64,{base64_of(data)}"


def image_part(url: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return an image as a content part, the PNG by default."""
    return {"type": "image_url", "image_url": {"url": url or data_url("image/png", sample("picture.png")), **fields}}


def input_audio(data: bytes | None = None, form: str = "wav") -> dict[str, Any]:
    """Return a clip as OpenAI's content part, the WAV by default."""
    return {"type": "input_audio", "input_audio": {"data": base64_of(data or sample("clip.wav")), "format": form}}


def audio_part(url: str | None = None) -> dict[str, Any]:
    """Return a clip as vLLM's content part, the WAV by default."""
    return {"type": "audio_url", "audio_url": {"url": url or data_url("audio/wav", sample("clip.wav"))}}


def silence(seconds: float, rate: int = 8000) -> bytes:
    """Return a WAV of that length."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(1)
        writer.setframerate(rate)
        writer.writeframes(b"\x80" * int(seconds * rate))
    return file.getvalue()
