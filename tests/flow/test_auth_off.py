"""Without authentication: everybody is an admin, and the log says so from the first line on."""

from __future__ import annotations

from tests.fakes.gateway import GatewayProcess
from tests.fakes.redis_server import RedisServer


async def test_authentication_that_is_off_is_said_loudly(redis_server: RedisServer) -> None:
    async with GatewayProcess(redis_server.url, ["http://127.0.0.1:9"], {"auth.mode": "off"}) as gateway:
        (warning,) = [line for line in gateway.log if line.get("event") == "authentication_is_off"]
        assert warning["level"] == "warning"
        for credential in ("", "Bearer nonsense"):
            asked = {"authorization": credential}
            assert (await gateway.client.get("/admin/keys", headers=asked)).status_code == 200
        token = (await gateway.client.post("/auth/token")).json()
        assert (token["tenant"], token["user"]) == ("local", "anonymous")
