"""Images and clips in messages: what the engine gets, what is refused and where, what it all costs."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import Settings
from config.schema import EngineSettings, PromptSettings
from gateway.domain import JsonObject
from gateway.errors import InvalidRequest
from gateway.prompt.media import NO_MEDIA, TEXT_ONLY, Media, MediaLimits, checked_media, media_in, media_limits
from tests.fakes.samples import (
    CLIPS,
    KINDS,
    PICTURES,
    audio_part,
    base64_of,
    data_url,
    image_part,
    input_audio,
    sample,
    silence,
)

LIMITS = MediaLimits(2, 2, 100_000, 2000, 30.0, ("images.example.org",))
PNG = data_url("image/png", sample("picture.png"))
TEXT = {"type": "text", "text": "What is this?"}


def refused(part: JsonObject, limits: MediaLimits = LIMITS) -> InvalidRequest:
    """Return the error that a part is refused with."""
    with pytest.raises(InvalidRequest) as caught:
        checked_media(part, "here", limits)
    return caught.value


@pytest.mark.parametrize("name", PICTURES)
def test_an_image_passes(name: str) -> None:
    url = data_url(KINDS[name], sample(name))
    assert checked_media(image_part(url), "here", LIMITS) == image_part(url)


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_passes(name: str) -> None:
    url = data_url(KINDS[name], sample(name))
    assert checked_media(audio_part(url), "here", LIMITS) == audio_part(url)


@pytest.mark.parametrize("form", ["wav", "mp3", "flac"])
def test_input_audio_becomes_what_says_its_type(form: str) -> None:
    data = sample(f"clip.{form}")
    url = data_url(KINDS[f"clip.{form}"], data)
    assert checked_media(input_audio(data, form), "here", LIMITS) == audio_part(url)


@pytest.mark.parametrize(
    ("part", "seen"),
    [
        (image_part(detail="high"), image_part()),
        ({**image_part(), "uuid": "abc", "cache_control": {}}, image_part()),
        (image_part(PNG.replace("image/png;", "IMAGE/PNG;charset=utf-8;name=a.png;")), image_part()),
        (audio_part(audio_part()["audio_url"]["url"].replace("audio/wav", "audio/x-wav")), audio_part()),
    ],
)
def test_nothing_else_of_a_part_reaches_the_engine(part: JsonObject, seen: JsonObject) -> None:
    assert checked_media(part, "here", LIMITS) == seen


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example.org",
        "https://images.example.org/a.png",
        "HTTPS://IMAGES.EXAMPLE.ORG/a.png?size=2&x=%20",
    ],
)
def test_an_allowed_host_is_left_to_the_engine(url: str) -> None:
    assert checked_media(image_part(url), "here", LIMITS) == image_part(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://images.example.org/a.png",
        "https://images.example.org:8443/a.png",
        "https://images.example.org.evil.example/a.png",
        "https://sub.images.example.org/a.png",
        "https://images.example.org@evil.example/a.png",
        "https://images.example.org\\@evil.example/a.png",
        "https://images.example.org/\\a.png",
        "https://evil.example/?https://images.example.org/",
        "https://evil.example#images.example.org/",
        "https://images.example.org/a b",
        "https://images.example.org/a\nb",
        "https://169.254.169.254/latest/meta-data",
        "https://127.0.0.1/",
        "https://[::1]/",
        "file:///etc/passwd",
        "ftp://images.example.org/a.png",
        "//images.example.org/a.png",
        "/etc/passwd",
        "",
        "data:,",
        "data:image/png,abc",
        "data:image/png;base64",
        "data:image/png;charset=utf-8,abc",
        " " + PNG,
        "data:" + "x" * 300 + PNG,
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    error = refused(image_part(url) if url else {"type": "image_url", "image_url": {"url": ""}})
    assert error.param == "here.image_url.url"
    assert error.status == 400


@pytest.mark.parametrize("url", ["https://images.example.org/a.wav", "file:///a.wav", "https://evil.example/a.wav"])
def test_a_clip_is_never_fetched_as_its_length_could_not_be_known(url: str) -> None:
    assert refused(audio_part(url)).param == "here.audio_url.url"


BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 50, 50) + bytes(5)
NOTHING = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 0, 50) + bytes(5)


@pytest.mark.parametrize(
    ("part", "param", "words"),
    [
        (
            image_part(data_url("image/jpeg", sample("picture.png"))),
            "image_url.url",
            "says image/jpeg and is image/png",
        ),
        (image_part(data_url("image/png", b"hello")), "image_url.url", "a PNG, JPEG, WebP or GIF"),
        (image_part(data_url("image/svg+xml", b"<svg/>")), "image_url.url", "a PNG, JPEG, WebP or GIF"),
        (image_part(data_url("image/png", BOMB)), "image_url.url", "2000 pixels; it has 50 by 50"),
        (image_part(data_url("image/png", NOTHING)), "image_url.url", "1 to 2000 pixels"),
        (image_part(data_url("image/png", bytes(100_001))), "image_url.url", "at most 100000 bytes"),
        (image_part("data:image/png;base64,a"), "image_url.url", "valid base64"),
        (image_part("data:image/png;base64,a=b="), "image_url.url", "valid base64"),
        (image_part("data:image/png;base64,ab======"), "image_url.url", "valid base64"),
        (image_part("data:image/png;base64,ab-_"), "image_url.url", "valid base64"),
        (image_part("data:image/png;base64,a b="), "image_url.url", "valid base64"),
        (image_part("data:image/png;base64,aé=="), "image_url.url", "valid base64"),
        ({"type": "image_url"}, "image_url.url", "a text"),
        ({"type": "image_url", "image_url": PNG}, "image_url.url", "a text"),
        ({"type": "image_url", "image_url": {"url": 5}}, "image_url.url", "a text"),
        (audio_part(data_url("audio/wav", silence(31))), "audio_url.url", "at most 30 s; it has 31.0"),
        (audio_part(data_url("audio/mpeg", sample("clip.wav"))), "audio_url.url", "is audio/wav"),
        (audio_part(data_url("audio/wav", sample("picture.png"))), "audio_url.url", "a WAV, MP3, FLAC or Ogg"),
        (input_audio(sample("clip.wav"), "mp3"), "input_audio.data", "is audio/wav"),
        (input_audio(silence(31)), "input_audio.data", "at most 30 s"),
        ({"type": "input_audio", "input_audio": {"data": "abcd"}}, "input_audio.format", "a text"),
        ({"type": "input_audio", "input_audio": {"format": "wav"}}, "input_audio.data", "a text"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(part: JsonObject, param: str, words: str) -> None:
    limits = replace(LIMITS, bytes=1_000_000) if "31" in words or "30 s" in words else LIMITS
    error = refused(part, limits)
    assert error.param == f"here.{param}"
    assert words in error.message


def test_all_of_a_large_image_is_checked_though_only_its_beginning_is_read() -> None:
    limits = replace(LIMITS, bytes=3_000_000)
    large = data_url("image/png", sample("picture.png") + bytes(2_999_000 - 113))
    assert checked_media(image_part(large), "here", limits) == image_part(large)
    assert "valid base64" in refused(image_part(large[:-9] + "!" + large[-8:]), limits).message


@pytest.mark.parametrize("part", [image_part(), audio_part(), input_audio()])
def test_a_text_only_model_says_so(part: JsonObject) -> None:
    error = refused(part, TEXT_ONLY)
    assert error.param == "here"
    assert "this model takes no" in error.message


@pytest.mark.parametrize(
    "kind", ["file", "video_url", "image_embeds", "image_pil", "input_image", None, ["image_url"], {}]
)
def test_other_kinds_are_not_known(kind: Any) -> None:
    assert checked_media({"type": kind}, "here", LIMITS) is None


def test_the_cost_is_known_by_counting() -> None:
    messages: list[JsonObject] = [
        {"content": "a"},
        {"content": [TEXT, image_part(), image_part()]},
        {"content": [audio_part()]},
    ]
    media = media_in(messages, LIMITS)
    assert media.tokens == 256 + 256 + 188
    urls = (PNG, PNG, audio_part()["audio_url"]["url"])
    assert media == Media(2, 1, sum(map(len, urls)))


def test_text_costs_no_media() -> None:
    assert media_in([{"content": "a"}, {"content": [TEXT]}], TEXT_ONLY) is NO_MEDIA


@pytest.mark.parametrize(("parts", "word"), [([image_part()] * 3, "images"), ([audio_part()] * 3, "audio clips")])
def test_too_many_in_all_messages_together_are_refused(parts: list[JsonObject], word: str) -> None:
    with pytest.raises(InvalidRequest, match=f"at most 2 {word} and this one has 3") as caught:
        media_in([{"content": [part]} for part in parts], LIMITS)
    assert caught.value.param == "messages"


def test_the_limits_are_the_settings() -> None:
    settings = Settings(
        engine=EngineSettings(max_images=3, max_audios=1),
        prompt=PromptSettings(
            max_media_bytes=2048, max_image_pixels=9, max_audio_seconds=5, media_hosts=("a.example",)
        ),
    )
    assert media_limits(settings) == MediaLimits(3, 1, 2048, 9, 5.0, ("a.example",))


@given(st.text() | st.builds(lambda rest: PNG[:30] + rest, st.text()) | st.builds(base64_of, st.binary()))
def test_any_text_is_let_through_or_refused_and_nothing_else(url: str) -> None:
    other = {"type": "input_audio", "input_audio": {"data": url, "format": url}}
    for part in (image_part(url or "x"), audio_part(url or "x"), other):
        with suppress(InvalidRequest):
            checked_media(part, "here", LIMITS)
