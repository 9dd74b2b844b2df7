"""Images and clips through the whole gateway: what the engine is sent, and what it never sees."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.fakes.samples import CLIPS, KINDS, PICTURES, audio_part, data_url, image_part, input_audio, sample, silence
from tests.flow.chat import PATH, body

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = {"type": "text", "text": "What is this?"}
SEES_AND_HEARS = {"engine.max_images": "2", "engine.max_audios": "1", "prompt.media_hosts": "images.example.org"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seeing(module_engine: EngineProcess, redis_server: RedisServer) -> AsyncIterator[GatewayProcess]:
    """A gateway whose engine takes two images and a clip."""
    async with GatewayProcess(redis_server.url, [module_engine.replica.base_url], SEES_AND_HEARS) as gateway:
        await gateway.ready()
        yield gateway


def asking(*parts: Any, **fields: Any) -> dict[str, Any]:
    """Return a request with these content parts."""
    return body(messages=[{"role": "user", "content": list(parts)}], **fields)


async def sent(engine: EngineProcess) -> list[dict[str, Any]]:
    """Return the messages of the engine's last request."""
    messages: list[dict[str, Any]] = json.loads((await engine.asked())[-1]["body"])["messages"]
    return messages


@pytest.mark.parametrize("stream", [False, True])
async def test_the_engine_gets_media_in_their_order_and_nothing_else(
    seeing: GatewayProcess, engine: EngineProcess, stream: bool
) -> None:
    parts = [
        {**image_part(detail="high"), "uuid": "x"},
        TEXT,
        input_audio(),
        image_part("https://images.example.org/a.png"),
    ]
    answer = await seeing.client.post(PATH, json=asking(*parts, stream=stream))
    assert answer.status_code == 200
    (message,) = await sent(engine)
    assert message["content"] == [image_part(), TEXT, audio_part(), image_part("https://images.example.org/a.png")]


async def test_media_keep_their_turn_when_messages_are_merged(seeing: GatewayProcess, engine: EngineProcess) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [image_part(), TEXT]},
        {"role": "user", "content": "And this?"},
        {"role": "user", "content": [image_part()]},
    ]
    assert (await seeing.client.post(PATH, json=body(messages=messages))).status_code == 200
    _, user = await sent(engine)
    assert user["content"] == [image_part(), {"type": "text", "text": "What is this?\n\nAnd this?"}, image_part()]


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([image_part("https://evil.example/a.png")], "messages[0].content[1].image_url.url"),
        ([image_part("file:///etc/passwd")], "messages[0].content[1].image_url.url"),
        ([audio_part("https://images.example.org/a.wav")], "messages[0].content[1].audio_url.url"),
        ([audio_part(data_url("audio/wav", silence(31)))], "messages[0].content[1].audio_url.url"),
        ([image_part()] * 3, "messages"),
        ([audio_part()] * 2, "messages"),
        ([{"type": "video_url", "video_url": {"url": "data:,"}}], "messages[0].content[1]"),
    ],
)
async def test_what_is_refused_never_reaches_the_engine(
    seeing: GatewayProcess, engine: EngineProcess, parts: list[Any], param: str
) -> None:
    answer = await seeing.client.post(PATH, json=asking(TEXT, *parts))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert await engine.asked() == []


@pytest.mark.parametrize("name", ["mm_processor_kwargs", "media_io_kwargs", "mm_payload"])
async def test_nobody_changes_how_the_engine_reads_media(seeing: GatewayProcess, name: str) -> None:
    answer = await seeing.client.post(PATH, json=asking(TEXT, image_part(), **{name: {}}))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name


async def test_a_text_only_model_says_so_to_the_sdk(gateway: GatewayProcess, engine: EngineProcess) -> None:
    http_client = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.base_url}/v1", api_key=gateway.key, http_client=http_client
    ) as client:
        with pytest.raises(openai.BadRequestError, match="takes no images here") as caught:
            await client.chat.completions.create(**asking(TEXT, image_part()))
    assert caught.value.param == "messages[0].content[1]"
    assert await engine.asked() == []


async def test_five_megabytes_pass(seeing: GatewayProcess, engine: EngineProcess) -> None:
    photograph = data_url("image/png", sample("picture.png") + bytes(5_000_000))
    answer = await seeing.client.post(PATH, json=asking(TEXT, image_part(photograph)))
    assert answer.status_code == 200
    (message,) = await sent(engine)
    assert message["content"][1]["image_url"]["url"] == photograph


async def test_a_session_keeps_what_was_shown_and_shows_it_again(seeing: GatewayProcess, engine: EngineProcess) -> None:
    session = (await seeing.client.post("/v1/sessions", json={})).json()["id"]
    path = f"/v1/sessions/{session}/messages"
    shown = {"model": "fake", "content": [TEXT, image_part(), input_audio()]}
    assert (await seeing.client.post(path, json=shown)).status_code == 200
    assert (await seeing.client.post(path, json={"model": "fake", "content": "And now?"})).status_code == 200
    first, _, last = await sent(engine)
    assert first["content"] == [TEXT, image_part(), audio_part()]
    assert last["content"] == "And now?"
    kept = (await seeing.client.get(path, params={"order": "asc"})).json()["data"]
    assert kept[0]["content"][:2] == [TEXT, image_part()]
    for _ in range(2):
        more = await seeing.client.post(path, json={"model": "fake", "content": [image_part()]})
    assert more.status_code == 400
    assert "at most 2 images and this one has 3" in more.json()["error"]["message"]


async def test_damaged_media_are_refused_and_good_ones_go_on(seeing: GatewayProcess, engine: EngineProcess) -> None:
    """Every twentieth is whole; what is damaged behind its header is the engine's to find."""
    chance = random.Random(7)
    served = 0
    for turn in range(200):
        name = chance.choice([*PICTURES, *CLIPS])
        make = image_part if name in PICTURES else audio_part
        data, kind = bytearray(sample(name)), KINDS[name]
        if turn % 20:
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(min(len(data), 100))] = chance.randrange(256)
            data = data[: chance.choice([len(data), chance.randrange(len(data))])]
            kind = chance.choice([kind, chance.choice(list(KINDS.values())), "text/html", "é", ""])
        url = data_url(kind, bytes(data))
        if turn % 20 and chance.random() < 0.3:
            at = chance.randrange(len(url))
            url = url[:at] + chance.choice(["\n", " ", "=", "%", "\0", "é", ",", ";"]) + url[at + 1 :]
        answer = await seeing.client.post(PATH, json=asking(TEXT, make(url)))
        assert answer.status_code in (200, 400), url[:100]
        assert turn % 20 or answer.status_code == 200
        assert answer.status_code == 200 or answer.json()["error"]["param"].startswith("messages[0].content[1]")
        served += answer.status_code == 200
    stats = await engine.stats()
    assert 10 <= stats["finished"] == served < 200


async def test_media_go_only_to_an_engine_that_says_it_takes_them(redis_server: RedisServer) -> None:
    async with EngineProcess("--model", "fake") as blind, EngineProcess("--model", "fake") as seeing:
        await blind.show(takes=[])
        await seeing.show(takes=["image"])
        urls = [blind.replica.base_url, seeing.replica.base_url]
        settings = {**SEES_AND_HEARS, "routing.policy": "round_robin"}
        async with GatewayProcess(redis_server.url, urls, settings) as gateway:
            await gateway.ready()
            for number in range(6):
                answer = await gateway.client.post(
                    PATH, json=asking(image_part(), {"type": "text", "text": f"{number}"})
                )
                assert answer.status_code == 200
            assert (len(await blind.asked()), len(await seeing.asked())) == (0, 6)
            heard = await gateway.client.post(PATH, json=asking(TEXT, input_audio()))
            assert (heard.status_code, heard.json()["error"]["param"]) == (400, "messages")
            assert heard.json()["error"]["message"] == (
                "'messages' must hold no audio: no engine of 'fake' takes them."
            )
            await seeing.kill()
            refused = await gateway.client.post(PATH, json=asking(TEXT, image_part()))
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_is_overloaded")
            assert (await gateway.client.post(PATH, json=asking(TEXT))).status_code == 200
