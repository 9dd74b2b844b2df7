"""The chart's own gateway and Redis run as rendered: one streamed answer, and a SIGTERM in the middle of it.

Both containers are in one pod of podman, with a scripted engine beside them, since podman has neither Services nor
StatefulSets. What is changed for that: names of Services become 127.0.0.1, and each emptyDir is a folder of the
machine, because podman's own could only be written by root.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.fakes.ports import free_port
from tests.helm.chart import ROOT, Object, Rendered, render
from tests.images.podman import GATEWAY, REDIS, needs, podman

VALUES = (
    "engine.enabled=false",
    "engine.externalUrls={http://127.0.0.1:8100}",
    "profile=demo",
    "settings.engine.served_model_name=fake",
    "imagePullPolicy=Never",
    "gateway.drainSeconds=20",
    f"gateway.image.repository={GATEWAY.partition(':')[0]}",
    "gateway.image.tag=check",
    f"redis.image.repository={REDIS.partition(':')[0]}",
    "redis.image.tag=check",
    "redis.persistence.enabled=false",
)


class Pod:
    """Gateway, Redis and a scripted engine in one pod."""

    def __init__(self, rendered: Rendered, folder: Path) -> None:
        self.name = f"chart-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        (secret,) = rendered.of("Secret")
        self._secret = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        self.key = self._secret["api-key"]
        spec = copy.deepcopy(rendered.one("Deployment", "gateway")["spec"]["template"]["spec"])
        redis = copy.deepcopy(rendered.one("StatefulSet", "redis")["spec"]["template"]["spec"])
        gateway = self._adapted(spec["containers"][0], "gateway", spec, folder)
        gateway["ports"][0] |= {"hostPort": self.port, "hostIP": "127.0.0.1"}
        spec["restartPolicy"] = "Never"  # Else podman would start a gateway that has ended again.
        spec["containers"] = [self._adapted(redis["containers"][0], "redis", redis, folder), gateway, engine()]
        spec["volumes"] += redis["volumes"] + [{"name": "fakes", "hostPath": {"path": str(ROOT)}}]
        self.manifest = yaml.safe_dump_all(
            [
                *rendered.of("ConfigMap"),
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.name}, "spec": spec},
            ]
        )

    def _adapted(self, container: Object, part: str, spec: Object, folder: Path) -> Object:
        """Return the container as podman takes it; the volumes of `spec` are renamed after its part."""
        for volume in spec["volumes"]:
            volume["name"] = f"{part}-{volume['name']}"
            if volume.pop("emptyDir", None) is not None:
                path = folder / volume["name"]
                path.mkdir()
                path.chmod(0o777)
                volume["hostPath"] = {"path": str(path), "type": "Directory"}
        for mount in container["volumeMounts"]:
            mount["name"] = f"{part}-{mount['name']}"
        for entry in container["env"]:
            self._resolve(entry)
        container["env"] = [entry for entry in container["env"] if "value" in entry]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"):
            container.pop(probe, None)
        return container

    def _resolve(self, entry: dict[str, Any]) -> None:
        reference = entry.pop("valueFrom", {}).get("secretKeyRef")
        if reference and reference["key"] in self._secret:
            entry["value"] = self._secret[reference["key"]]
        if "value" in entry:
            entry["value"] = entry["value"].replace("g-gemma-gateway-redis:", "127.0.0.1:")

    def container(self, name: str) -> str:
        """Return the container's name within podman."""
        return f"{self.name}-{name}"


def engine() -> Object:
    """Return the scripted engine, run by the gateway's own Python."""
    return {
        "name": "engine",
        "image": GATEWAY,
        "imagePullPolicy": "Never",
        "command": ["python3", "-m", "tests.fakes.engine"],
        "args": ["--port", "8100", "--model", "fake", "--itl-ms", "50"],
        "workingDir": "/project",
        "volumeMounts": [{"name": "fakes", "mountPath": "/project", "readOnly": True}],
    }


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    needs(GATEWAY, REDIS)
    made = Pod(render(*VALUES, apis=()), tmp_path)
    try:
        podman("kube", "play", "-", text=made.manifest)
        yield made
    finally:
        podman("pod", "rm", "--force", "--time", "1", made.name, check=False)


async def test_a_stream_outlives_sigterm(pod: Pod) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{pod.port}", timeout=60, trust_env=False) as client:
        client.headers["authorization"] = f"Bearer {pod.key}"
        await ready(client, pod)
        words = " ".join(f"w{k}" for k in range(40))
        body = {"model": "fake", "stream": True, "messages": [{"role": "user", "content": words}]}
        seen: list[str] = []
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                seen += [line.removeprefix("data: ")] if line.startswith("data: ") else []
                if len(seen) == 5:
                    await asyncio.to_thread(podman, "kill", "--signal", "TERM", pod.container("gateway"))
        assert seen[-1] == "[DONE]"
        text = "".join(json.loads(part)["choices"][0]["delta"].get("content", "") for part in seen[:-1])
        assert text == f"You said: {words}"
    podman("wait", pod.container("gateway"))
    assert podman("inspect", "--format", "{{.State.ExitCode}}", pod.container("gateway")).strip() == "0"


async def test_redis_asks_for_its_password_and_keeps_to_its_volume(pod: Pod) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{pod.port}", timeout=60, trust_env=False) as client:
        client.headers["authorization"] = f"Bearer {pod.key}"
        await ready(client, pod)
        assert (await client.post("/v1/sessions", json={})).status_code in (200, 201)
    redis = pod.container("redis")
    unknown = podman("exec", redis, "sh", "-c", "env -u REDISCLI_AUTH redis-cli ping")
    assert "NOAUTH" in unknown
    assert "PONG" in podman("exec", redis, "redis-cli", "ping")
    assert "yes" in podman("exec", redis, "redis-cli", "config", "get", "appendonly")
    assert podman("exec", redis, "id", "-u").strip() == "10001"


async def ready(client: httpx.AsyncClient, pod: Pod) -> None:
    """Wait until the gateway has an engine."""
    for _ in range(300):
        try:
            if (await client.get("/health/ready")).status_code == 200:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)
    raise AssertionError(podman("logs", pod.container("gateway"), check=False))
