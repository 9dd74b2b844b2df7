"""Images and clips on the real vLLM: a tiny Gemma 3n with eyes and ears behind `serve`, random weights.

What it can prove is that they arrive, in their order, at the price that the gateway names, and change the answer; not
that they are understood.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.repair import repair_torch_extras
from tests.fakes.samples import CLIPS, KINDS, PICTURES, audio_part, data_url, image_part, input_audio, sample, silence
from tests.fakes.stack import ServeProcess

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
SHIM = Path(__file__).parent / "without_torchvision"
PACKAGES = ("timm>=1.0.17", "soundfile>=0.13", "av>=14", "cffi", "pycparser")
"""What vLLM needs for this and its CPU build does not bring. Not among the test tools: once timm is installed,
transformers imports it, and so a torchvision that fits no CPU build of torch."""
PATH = "/v1/chat/completions"
RATE = 16_000
"""Gemma 3n's own: for any other vLLM resamples with torchaudio, which fits no CPU build of torch either."""
TEXT = {"type": "text", "text": "What is this?"}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """`serve` with the tiny model. Its packages are in a folder of their own."""
    folder = tmp_path_factory.mktemp("media")
    packages, model = folder / "packages", folder / "model"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), *PACKAGES]
    if subprocess.run(pip, check=False, capture_output=True).returncode:
        pytest.skip("timm, soundfile and av cannot be fetched")
    assert repair_torch_extras(folder) is None
    path = f"{SHIM}{os.pathsep}{packages}"
    environ = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-m", "tests.engine.media_model", str(model)], cwd=ROOT, env=environ, check=True)
    settings = {
        "PYTHONPATH": path,
        "HF_HUB_OFFLINE": "1",
        "GEMMA_ENGINE__MODEL": str(model),
        "GEMMA_ENGINE__MAX_MODEL_LEN_TOKENS": "4096",
        "GEMMA_ENGINE__CPU_KV_CACHE_GIB": "1",
        "GEMMA_ENGINE__MAX_IMAGES": "2",
        "GEMMA_ENGINE__MAX_AUDIOS": "2",
        "GEMMA_LIMITS__REQUESTS_PER_MINUTE": "0",
    }
    stack = ServeProcess(folder / "data", settings, profile="cpu")
    try:
        stack.start()
        yield stack
    finally:
        stack.close()


@pytest.fixture(scope="module")
def client(serving: ServeProcess) -> Iterator[httpx.Client]:
    """A client of the gateway."""
    headers = {"authorization": f"Bearer {serving.key}"}
    with httpx.Client(base_url=serving.base_url, headers=headers, timeout=120, trust_env=False) as made:
        yield made


def ask(client: httpx.Client, *parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the answer to one message of these parts."""
    messages = [{"role": "user", "content": list(parts)}]
    body = {"model": "gemma-3n", "max_tokens": 12, "temperature": 0, "messages": messages, **fields}
    response = client.post(PATH, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def said(answer: dict[str, Any]) -> str:
    """Return an answer's text."""
    text: str = answer["choices"][0]["message"]["content"]
    return text


def test_what_is_seen_and_heard_changes_the_answer(client: httpx.Client) -> None:
    answers = [
        said(ask(client, TEXT)),
        said(ask(client, TEXT, image_part())),
        said(ask(client, TEXT, audio_part())),
        said(ask(client, TEXT, audio_part(data_url("audio/wav", silence(2, RATE))))),
        said(ask(client, image_part(), TEXT)),
        said(ask(client, TEXT, image_part(), input_audio())),
    ]
    assert len(set(answers)) == len(answers)


@pytest.mark.parametrize(("part", "price"), [(image_part(), 256), (audio_part(), 188)])
def test_the_price_is_the_one_that_the_gateway_names(client: httpx.Client, part: dict[str, Any], price: int) -> None:
    """But for the two markers and the blank lines around, which are tokens too."""
    without, one, two = (ask(client, TEXT, *[part] * count)["usage"]["prompt_tokens"] for count in range(3))
    assert price <= one - without <= price + 4
    assert price <= two - one <= price + 4


@pytest.mark.parametrize("name", PICTURES)
def test_every_kind_of_image_that_is_let_through_is_read(client: httpx.Client, name: str) -> None:
    assert said(ask(client, TEXT, image_part(data_url(KINDS[name], sample(name)))))


@pytest.mark.parametrize("name", CLIPS)
def test_every_kind_of_clip_that_is_let_through_is_read(client: httpx.Client, name: str) -> None:
    assert said(ask(client, TEXT, audio_part(data_url(KINDS[name], sample(name)))))


def test_thirty_seconds_are_heard_and_one_more_is_refused(client: httpx.Client) -> None:
    assert said(ask(client, TEXT, audio_part(data_url("audio/wav", silence(30, RATE)))))
    messages = [{"role": "user", "content": [TEXT, audio_part(data_url("audio/wav", silence(31, RATE)))]}]
    refused = client.post(PATH, json={"model": "gemma-3n", "messages": messages})
    assert refused.status_code == 400
    assert "at most 30 s" in refused.json()["error"]["message"]


def test_a_stream_counts_it_too(client: httpx.Client) -> None:
    whole = ask(client, TEXT, image_part())
    messages = [{"role": "user", "content": [TEXT, image_part()]}]
    fields = {"max_tokens": 12, "temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
    streamed = client.post(PATH, json={"model": "gemma-3n", "messages": messages, **fields})
    assert streamed.status_code == 200
    assert f'"prompt_tokens":{whole["usage"]["prompt_tokens"]},' in streamed.text.replace(": ", ":")
    assert streamed.text.endswith("data: [DONE]\n\n")


def test_messages_that_are_merged_answer_as_one_message_would(client: httpx.Client) -> None:
    parts = [image_part(), {"type": "text", "text": "a\n\nb"}, audio_part()]
    one = ask(client, *parts)
    messages = [
        {"role": "user", "content": [parts[0], {"type": "text", "text": "a"}]},
        {"role": "user", "content": [{"type": "text", "text": "b"}, parts[2]]},
    ]
    two = client.post(PATH, json={"model": "gemma-3n", "messages": messages, "max_tokens": 12, "temperature": 0}).json()
    assert said(two) == said(one)
    assert two["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]


@pytest.mark.parametrize("route", ["transcriptions", "translations"])
def test_a_clip_is_written_down(client: httpx.Client, route: str) -> None:
    """What random weights say of it is no matter."""
    form = {"model": "gemma-3n", "max_completion_tokens": "12"}
    answer = client.post(f"/v1/audio/{route}", files={"file": ("clip.wav", sample("clip.wav"))}, data=form)
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"]
    usage = answer.json()["usage"]
    assert 188 < usage["input_tokens"] < 230
    assert 0 < usage["output_tokens"] <= 12


def test_tokenize_counts_media(client: httpx.Client) -> None:
    messages = [{"role": "user", "content": [TEXT, image_part(), audio_part()]}]
    counted = client.post("/v1/tokenize", json={"model": "gemma-3n", "messages": messages}).json()
    assert counted["prompt_tokens"] == ask(client, TEXT, image_part(), audio_part())["usage"]["prompt_tokens"]


def test_a_broken_image_is_the_clients_fault_and_the_engine_goes_on(client: httpx.Client) -> None:
    """The header is right, the rest is not: that only the engine finds out."""
    broken = sample("picture.png")[:40] + bytes(60)
    messages = [{"role": "user", "content": [image_part(data_url("image/png", broken))]}]
    refused = client.post(PATH, json={"model": "gemma-3n", "messages": messages, "max_tokens": 2})
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert said(ask(client, TEXT))


def test_the_engine_itself_fetches_from_no_host(serving: ServeProcess) -> None:
    messages = [{"role": "user", "content": [image_part(f"{serving.base_url}/static/favicon.svg")]}]
    with httpx.Client(base_url=serving.engine_url, timeout=60, trust_env=False) as direct:
        refused = direct.post(PATH, json={"model": "gemma-3n", "messages": messages, "max_tokens": 2})
    assert refused.status_code >= 400
    assert "allowed domains" in refused.text


def test_the_gateway_learns_that_the_model_sees_and_hears(client: httpx.Client) -> None:
    (engine,) = client.get("/admin/fleet").raise_for_status().json()["data"]
    assert engine["media"] == ["audio", "image"]
