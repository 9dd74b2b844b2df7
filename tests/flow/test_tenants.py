"""The file of tenants at a running gateway: taken on SIGHUP, and as a whole or not at all."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body

SUSPENDED = "tenants: {local: {suspended: true}}"


async def event(gateway: GatewayProcess, name: str, count: int = 1) -> dict[str, object]:
    """Return the last log line of this name once there are so many."""
    for _ in range(250):
        found = [line for line in gateway.log if line.get("event") == name]
        if len(found) >= count:
            return found[-1]
        await asyncio.sleep(0.02)
    raise AssertionError(f"no {name}")


async def test_sighup_and_changes_are_taken_as_a_whole_or_not_at_all(redis_server: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: {local: {models: [other]}}")
    async with (
        EngineProcess("--model", "fake") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url], {"auth.tenants_file": file}) as gateway,
    ):
        await gateway.ready()
        assert (await gateway.client.post(PATH, json=body())).status_code == 403

        file.write_text("tiers: {a: {}}")
        gateway.send_signal(signal.SIGHUP)
        await event(gateway, "tenants_reloaded")
        assert (await gateway.client.post(PATH, json=body())).status_code == 200

        file.write_text(SUSPENDED + "\ntiers: {a: {weight: 0}}")
        gateway.send_signal(signal.SIGHUP)
        line = await event(gateway, "tenants_not_reloaded")
        assert "tiers.a.weight" in str(line["problems"])
        assert (await gateway.client.post(PATH, json=body())).status_code == 200

        file.write_text(SUSPENDED)
        await event(gateway, "tenants_reloaded", 2)  # Without a signal: the change is seen.
        refused = await gateway.client.post(PATH, json=body())
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")


async def test_a_tiers_limits_hold_and_change_with_the_file(private_redis: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    tiers = "tiers: {few: {user: {requests_per_minute: 2}}, many: {user: {requests_per_minute: 100}}}\n"
    file.write_text(tiers + "tenants: {local: {tier: few}}")
    async with (
        EngineProcess("--model", "fake") as engine,
        GatewayProcess(private_redis.url, [engine.replica.base_url], {"auth.tenants_file": file}) as gateway,
    ):
        await gateway.ready()
        answers = [await gateway.client.post(PATH, json=body()) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
        file.write_text(tiers + "tenants: {local: {tier: many}}")
        gateway.send_signal(signal.SIGHUP)
        await event(gateway, "tenants_reloaded")
        answer = await gateway.client.post(PATH, json=body())
        assert answer.headers["x-ratelimit-limit-requests"] == "100"
