"""Bad credentials over real HTTP: limited per address, before the body, and never at the cost of a good one."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body

LIMITED = 'gateway_authentication_failures_total{reason="limited"}'


async def test_an_address_that_guesses_is_told_to_wait_and_the_good_ones_pass(
    redis_server: RedisServer,
) -> None:
    settings = {"auth.failed_attempts_per_minute": 5, "server.trusted_proxies": "127.0.0.0/8"}
    async with (
        EngineProcess("--model", "fake") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway,
    ):
        await gateway.ready()

        async def guess(number: int, address: str = "203.0.113.5", path: str = PATH) -> tuple[int, str]:
            answer = await gateway.client.post(
                path,
                json=body() if path == PATH else {"code": f"guess-{number}"},
                headers={"authorization": f"Bearer guess-{number}", "x-forwarded-for": f"198.51.100.9, {address}"},
            )
            if answer.status_code == 429:
                assert 0 < int(answer.headers["retry-after-ms"]) <= 12_000
            return answer.status_code, answer.json()["error"]["code"]

        answers = Counter(await asyncio.gather(*(guess(number) for number in range(60))))
        assert answers[429, "too_many_failed_attempts"] >= 54
        assert answers[401, "invalid_api_key"] + answers[429, "too_many_failed_attempts"] == 60
        assert await gateway.metric(LIMITED) >= 54

        # A login code is a credential too, and counts at the same address.
        assert (await guess(1, path="/auth/login"))[0] == 429
        # Another address behind the same proxy, a good credential from the first, and one without any.
        assert (await guess(1, address="203.0.113.6"))[0] == 401
        good = {"x-forwarded-for": "203.0.113.5"}
        assert (await gateway.client.post(PATH, json=body(), headers=good)).status_code == 200
        code = (await gateway.client.post("/auth/login-codes", headers=good)).json()["code"]
        assert (await gateway.client.post("/auth/login", json={"code": code}, headers=good)).status_code == 200
        none = await gateway.client.post(PATH, json=body(), headers={**good, "authorization": ""})
        assert none.status_code in (401, 429)

        # A body that never comes is not waited for.
        started = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer guess\r\ncontent-length: 1000000\r\n"
        writer.write(f"{head}x-forwarded-for: 203.0.113.5\r\n\r\n".encode())
        line = await asyncio.wait_for(reader.readline(), 10)
        assert line.split()[1] == b"429"
        assert time.monotonic() - started < 5
        writer.close()
        assert {request["path"] for request in await engine.asked()} <= {PATH}
        assert len(await engine.asked()) == 1
