"""Clips sent as forms, with the stock openai SDK: answered as transcriptions, counted and limited as chats."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.fakes.samples import audio_part, sample, silence

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTE = "/v1/audio/transcriptions"
FILE = ("clip.wav", sample("clip.wav"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_hearing(module_engine: EngineProcess, redis_server: RedisServer) -> AsyncIterator[GatewayProcess]:
    """A gateway whose engine hears."""
    settings = {"engine.max_audios": "1"}
    async with GatewayProcess(redis_server.url, [module_engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def hearing(module_hearing: GatewayProcess, engine: EngineProcess) -> GatewayProcess:
    """It, in front of an engine that was reset."""
    await module_hearing.ready()
    return module_hearing


@pytest_asyncio.fixture(loop_scope="module")
async def sdk(hearing: GatewayProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK as the README shows it."""
    http_client = openai.DefaultAsyncHttpxClient(trust_env=False)
    base_url = f"{hearing.base_url}/v1"
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key=hearing.key, http_client=http_client, max_retries=0
    ) as made:
        yield made


async def post(gateway: GatewayProcess, route: str = ROUTE, **fields: str) -> httpx.Response:
    """Send a clip and return the response."""
    return await gateway.client.post(route, files={"file": FILE}, data={"model": "fake", **fields})


async def test_a_clip_becomes_a_text(sdk: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("say", text=" Good morning. ")
    answer = await sdk.audio.transcriptions.create(model="fake", file=FILE, language="en", temperature=0.5)
    (request,) = await engine.asked()
    sent = json.loads(request["body"])
    assert answer.text == "Good morning."
    assert answer.usage is not None
    assert answer.usage.type == "tokens"
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    assert request["path"] == "/v1/chat/completions"
    assert sent["temperature"] == 0.5
    words = {"type": "text", "text": "Transcribe this audio into English:"}
    assert sent["messages"] == [{"role": "user", "content": [words, audio_part()]}]


async def test_as_plain_text(sdk: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("say", text="Good morning.")
    answer: Any = await sdk.audio.transcriptions.create(model="fake", file=FILE, response_format="text")
    assert answer == "Good morning.\n"


async def test_as_a_stream(sdk: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("say", text="Good morning to you all.")
    stream = await sdk.audio.transcriptions.create(model="fake", file=FILE, stream=True)
    events: list[Any] = [event async for event in stream]
    assert [event.type for event in events[:-1]] == ["transcript.text.delta"] * (len(events) - 1)
    assert "".join(event.delta for event in events[:-1]) == "Good morning to you all."
    assert (events[-1].type, events[-1].text) == ("transcript.text.done", "Good morning to you all.")
    assert events[-1].usage.output_tokens > 0


async def test_a_translation_asks_for_english(hearing: GatewayProcess, engine: EngineProcess) -> None:
    """Not through the SDK, which calls this route deprecated."""
    await engine.script("say", text="Good morning.")
    answer = (await post(hearing, "/v1/audio/translations")).json()
    sent = json.loads((await engine.asked())[-1]["body"])
    assert answer["text"] == "Good morning."
    assert sent["messages"][0]["content"][0]["text"] == "Translate this audio into English:"


async def test_a_stream_that_breaks_off_is_never_called_done(hearing: GatewayProcess, engine: EngineProcess) -> None:
    await engine.script("cut_mid_stream")
    answer = await post(hearing, stream="true")
    assert '"error"' in answer.text
    assert "transcript.text.done" not in answer.text
    assert "[DONE]" not in answer.text


async def test_it_is_counted_and_logged_as_what_it_is(hearing: GatewayProcess, engine: EngineProcess) -> None:
    answer = await post(hearing)
    line = await hearing.request_line(answer.headers["x-request-id"])
    assert (line["path"], line["status"], line["outcome"]) == (ROUTE, 200, "ok")
    assert line["completion_tokens"] > 0
    labels = 'model="fake",outcome="ok",route="/v1/audio/transcriptions",status="2xx",tenant="local"'
    assert await hearing.metric(f"gateway_requests_total{{{labels}}}") >= 1


async def test_it_needs_a_credential_and_counts_to_the_limits(
    engine: EngineProcess, module_engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {"engine.max_audios": "1", "limits.requests_per_minute": 1}
    async with GatewayProcess(redis_server.url, [module_engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        gateway.client.headers["authorization"] = "Bearer nothing"
        assert (await post(gateway)).status_code == 401
        gateway.client.headers["authorization"] = f"Bearer {gateway.key}"
        answers = [await post(gateway) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert "retry-after-ms" in answers[1].headers


async def test_a_model_that_hears_nothing_has_no_such_route(gateway: GatewayProcess) -> None:
    answer = await post(gateway)
    assert answer.status_code == 404
    assert "hears nothing here" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("", b"", 415),
        ("multipart/form-data", b"", 400),
        ("multipart/form-data; boundary=", b"--\r\n", 400),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"hello", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nno name\r\n--x--\r\n", 400),
        (
            "multipart/form-data; boundary=x; charset=utf-16",
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--",
            400,
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\nb\r\n--x--", 400),
    ],
)
async def test_what_is_no_form_is_refused(
    hearing: GatewayProcess, engine: EngineProcess, content_type: str, body: bytes, status: int
) -> None:
    answer = await hearing.client.post(ROUTE, content=body, headers={"content-type": content_type})
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert await engine.asked() == []


async def test_a_long_clip_and_a_form_that_tells_times_are_refused(
    hearing: GatewayProcess, engine: EngineProcess
) -> None:
    long = await hearing.client.post(ROUTE, files={"file": ("a.wav", silence(31))}, data={"model": "fake"})
    times = await post(hearing, response_format="verbose_json")
    assert [each.json()["error"]["param"] for each in (long, times)] == ["file", "response_format"]
    assert await engine.asked() == []


async def test_damaged_forms_are_refused_and_good_ones_go_on(hearing: GatewayProcess) -> None:
    """Every twentieth is whole."""
    chance = random.Random(4)
    request = hearing.client.build_request("POST", ROUTE, files={"file": FILE}, data={"model": "fake", "seed": "1"})
    whole = await request.aread()
    kind = request.headers["content-type"]
    for turn in range(200):
        body = bytearray(whole)
        if turn % 20:
            for _ in range(chance.randint(1, 6)):
                body[chance.choice([chance.randrange(400), chance.randrange(len(body))])] = chance.randrange(256)
            body = body[: chance.choice([len(body), chance.randrange(len(body))])]
        answer = await hearing.client.post(ROUTE, content=bytes(body), headers={"content-type": kind})
        assert answer.status_code < 500, bytes(body[:400])
        if turn % 20 == 0:
            assert answer.status_code == 200
        elif answer.status_code != 200:
            assert answer.json()["error"]["message"]
