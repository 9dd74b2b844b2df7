"""Engines that come and go, that are drained and taken back, while requests run."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import content, payloads, post

REPLICA = "x-gateway-replica"


def name_of(engine: EngineProcess) -> str:
    """Return what gateways call this engine."""
    return f"{engine.replica.host}:{engine.replica.port}"


async def state_of(gateway: GatewayProcess, engine: EngineProcess) -> str:
    """Return the engine's state as the gateway lists it, `gone` where it does not."""
    listed = (await gateway.client.get("/admin/fleet")).json()["data"]
    return next((each["state"] for each in listed if each["id"] == name_of(engine)), "gone")


async def until(gateway: GatewayProcess, engine: EngineProcess, state: str) -> None:
    """Wait until the gateway lists the engine so."""
    async with asyncio.timeout(10):
        while await state_of(gateway, engine) != state:
            await asyncio.sleep(0.02)


async def test_a_drained_engine_ends_what_it_has_at_every_gateway_and_is_taken_back(redis_server: RedisServer) -> None:
    async with EngineProcess("--model", "fake") as one, EngineProcess("--model", "fake") as two:
        urls = [one.replica.base_url, two.replica.base_url]
        async with GatewayProcess(redis_server.url, urls) as gateway, GatewayProcess(redis_server.url, urls) as other:
            await gateway.ready()
            await other.ready()
            await one.script("hold", times=-1)
            await two.script("hold", times=-1)
            running = [asyncio.create_task(post(gateway.client, f"chat {k}", stream=True)) for k in range(8)]
            async with asyncio.timeout(10):
                while (await one.stats())["running"] + (await two.stats())["running"] < 8:
                    await asyncio.sleep(0.02)
            drained = await gateway.client.post("/admin/fleet/drain", json={"replica": name_of(one)})
            assert (drained.status_code, drained.json()["state"]) == (200, "draining")
            await until(other, one, "draining")
            await one.reset()
            await two.reset()
            answers = [*await asyncio.gather(*running), *[await post(other.client, f"more {k}") for k in range(6)]]
            assert [answer.status_code for answer in answers] == [200] * 14
            assert {answer.headers[REPLICA] for answer in answers[8:]} == {name_of(two)}
            assert (await one.stats())["aborted"] == 0
            await other.client.post("/admin/fleet/undrain", json={"replica": name_of(one)})
            await until(gateway, one, "ready")
            unknown = await gateway.client.post("/admin/fleet/drain", json={"replica": "nobody:1"})
            assert unknown.status_code == 404


async def test_a_model_may_be_an_engines_that_was_away_when_the_gateway_started(redis_server: RedisServer) -> None:
    async with EngineProcess("--model", "fake") as one, EngineProcess("--model", "other") as two:
        await two.kill()
        async with GatewayProcess(redis_server.url, [one.replica.base_url, two.replica.base_url]) as gateway:
            await gateway.ready()
            assert (await post(gateway.client)).status_code == 200
            for refused in (await post(gateway.client, model="other"), await gateway.client.get("/v1/models/other")):
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_is_overloaded")
                assert (refused.headers["retry-after-ms"], "x-should-retry" in refused.headers) == ("2000", False)
            await two.start()
            await until(gateway, two, "ready")
            assert (await post(gateway.client, model="other")).status_code == 200
            assert (await post(gateway.client, model="third")).status_code == 404


async def test_who_is_no_admin_drains_nothing(redis_server: RedisServer) -> None:
    async with GatewayProcess(redis_server.url, ["http://127.0.0.1:1"]) as gateway:
        made = await gateway.client.post("/admin/keys", json={"tenant": "t", "user": "u"})
        plain = {"authorization": f"Bearer {made.json()['key']}"}
        asked = [
            await gateway.client.get("/admin/fleet", headers=plain),
            await gateway.client.post("/admin/fleet/drain", headers=plain, json={"replica": "127.0.0.1:1"}),
            await gateway.client.post("/admin/drain", headers=plain),
        ]
        assert [answer.status_code for answer in asked] == [403, 403, 403]


async def test_a_gateway_that_drains_is_not_ready_and_serves_what_comes_all_the_same(redis_server: RedisServer) -> None:
    async with (
        EngineProcess("--model", "fake") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url]) as gateway,
    ):
        await gateway.ready()
        assert (await gateway.client.post("/admin/drain")).json() == {
            "object": "gateway.drain",
            "draining": True,
            "in_flight": 0,
        }
        assert (await gateway.client.get("/health/ready?scope=gateway")).status_code == 503
        assert (await post(gateway.client)).status_code == 200
        await gateway.client.delete("/admin/drain")
        assert (await gateway.client.get("/health/ready?scope=gateway")).status_code == 200


async def test_engines_are_exchanged_under_load_without_a_lost_request(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """The upgrade of an engine: the new one is listed, the old one is taken off, ends what it has, and is stopped."""
    path = tmp_path / "engines.yaml"
    async with EngineProcess("--model", "fake", "--itl-ms", "5") as old:
        path.write_text(f"- {old.replica.base_url}\n")
        settings = {"routing.engines_file": str(path), "routing.discovery_seconds": 0.1}
        async with GatewayProcess(redis_server.url, [], settings) as gateway:
            await gateway.ready()
            stop = asyncio.Event()
            load = [asyncio.create_task(_keep_asking(gateway.client, stop)) for _ in range(6)]
            await asyncio.sleep(0.3)
            async with EngineProcess("--model", "fake", "--itl-ms", "5") as new:
                path.write_text(f"- {old.replica.base_url}\n- {new.replica.base_url}\n")
                await until(gateway, new, "ready")
                path.write_text(f"- {new.replica.base_url}\n")
                await until(gateway, old, "gone")
                stats = await old.stats()
                assert (stats["running"], stats["aborted"]) == (0, 0)
                await old.kill()
                await asyncio.sleep(0.3)
                stop.set()
                answers = [answer for each in await asyncio.gather(*load) for answer in each]
                assert len(answers) > 20
                assert {(answer.status_code, content(answer.text)) for answer in answers} == {(200, "You said: a b c")}


async def _keep_asking(client: httpx.AsyncClient, stop: asyncio.Event) -> list[httpx.Response]:
    answers = []
    while not stop.is_set():
        answers.append(await post(client, "a b c", stream=True))
    return answers


async def test_sighup_has_the_engines_of_the_settings_read_again(redis_server: RedisServer, tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    async with EngineProcess("--model", "fake") as one, EngineProcess("--model", "fake") as two:
        config.write_text(f"routing: {{engines: ['{one.replica.base_url}']}}\n")
        async with GatewayProcess(redis_server.url, None, config=config) as gateway:
            await gateway.ready()
            config.write_text(f"routing: {{engines: ['{two.replica.base_url}']}}\n")
            gateway.send_signal(signal.SIGHUP)
            await until(gateway, two, "ready")
            await until(gateway, one, "gone")
            config.write_text("routing: {engines: ['not a url']}\n")
            gateway.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.5)
            assert (await post(gateway.client)).headers[REPLICA] == name_of(two)


@pytest.mark.parametrize("behaviour", ["reset", "error_400"])
async def test_a_request_that_may_kill_engines_gets_two_of_three(redis_server: RedisServer, behaviour: str) -> None:
    async with (
        EngineProcess("--model", "fake") as one,
        EngineProcess("--model", "fake") as two,
        EngineProcess("--model", "fake") as three,
    ):
        engines = [one, two, three]
        settings = {"routing.max_attempts": 5}
        urls = [engine.replica.base_url for engine in engines]
        async with GatewayProcess(redis_server.url, urls, settings) as gateway:
            await gateway.ready()
            for engine in engines:
                await engine.script(behaviour, times=1, status=500, path="/v1/chat/completions")
            answer = await post(gateway.client, stream=True)
            assert answer.status_code == (503 if behaviour == "reset" else 502)
            asked = [len(await engine.asked()) for engine in engines]
            assert sorted(asked) == [0, 1, 1]


async def test_a_conversation_stays_with_one_engine_and_many_are_spread(redis_server: RedisServer) -> None:
    async with (
        EngineProcess("--model", "fake") as one,
        EngineProcess("--model", "fake") as two,
        GatewayProcess(redis_server.url, [one.replica.base_url, two.replica.base_url]) as gateway,
    ):
        await gateway.ready()
        homes = []
        for chat in range(12):
            turns = [{"role": "user", "content": f"chat {chat}"}]
            asked = []
            for turn in range(3):
                answer = await gateway.client.post(
                    "/v1/chat/completions", json={"model": "fake", "messages": turns, "max_tokens": 4}
                )
                asked.append(answer.headers[REPLICA])
                turns += [{"role": "assistant", "content": "x"}, {"role": "user", "content": f"turn {turn}"}]
            assert len(set(asked)) == 1
            homes.append(asked[0])
        assert len(set(homes)) == 2


async def test_an_engine_that_cuts_every_stream_is_left_out(redis_server: RedisServer) -> None:
    async with EngineProcess("--model", "fake") as cuts, EngineProcess("--model", "fake") as works:
        urls = [cuts.replica.base_url, works.replica.base_url]
        settings = {"routing.policy": "round_robin", "routing.breaker_failures": 2}
        async with GatewayProcess(redis_server.url, urls, settings) as gateway:
            await until(gateway, cuts, "ready")
            await until(gateway, works, "ready")
            await cuts.script("cut_mid_stream", times=-1, chunks=3)
            ends = [
                payloads((await post(gateway.client, "a b c d e f", stream=True)).text)[-1] == "[DONE]"
                for _ in range(12)
            ]
    assert ends.count(False) == 2
    assert all(ends[4:])


async def test_tokens_are_counted_by_another_engine_where_one_has_died_unseen(redis_server: RedisServer) -> None:
    async with EngineProcess("--model", "fake") as one, EngineProcess("--model", "fake") as two:
        urls = [one.replica.base_url, two.replica.base_url]
        # The watcher looks too seldom to be the one that finds out.
        async with GatewayProcess(redis_server.url, urls, {"routing.poll_seconds": 60}) as gateway:
            await gateway.ready()
            asked = {"model": "fake", "messages": [{"role": "user", "content": "Hi"}]}
            engines = {name_of(one): one, name_of(two): two}
            first = await gateway.client.post("/v1/tokenize", json=asked)
            assert first.status_code == 200
            line = await gateway.request_line(first.headers["x-request-id"])
            await engines.pop(line["replica"]).kill()
            second = await gateway.client.post("/v1/tokenize", json=asked)
            assert second.status_code == 200, second.text
            line = await gateway.request_line(second.headers["x-request-id"])
            assert line["replica"] in engines


async def test_gateways_of_one_engine_send_it_no_more_than_one_would(private_redis: RedisServer) -> None:
    settings = {"routing.max_in_flight": 4}
    async with EngineProcess("--model", "fake") as engine:
        urls = [engine.replica.base_url]
        async with (
            GatewayProcess(private_redis.url, urls, settings=settings) as one,
            GatewayProcess(private_redis.url, urls, settings=settings) as two,
        ):
            for gateway in (one, two):
                await gateway.ready()
                async with asyncio.timeout(10):
                    while await gateway.metric("gateway_gateways") != 2:
                        await asyncio.sleep(0.05)
            await engine.script("hold", times=-1)
            asked = [asyncio.create_task(post(gateway.client, stream=True)) for gateway in (one, two) for _ in range(6)]
            await engine.eventually(running=4)
            assert [await gateway.metric("gateway_queued_requests") for gateway in (one, two)] == [4, 4]
            assert (await engine.stats())["running"] == 4
            while not all(each.done() for each in asked):
                await engine.release()
                await asyncio.sleep(0.05)
            assert {each.result().status_code for each in asked} == {200}
