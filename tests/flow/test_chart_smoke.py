"""The script that `helm test` runs says yes to a gateway that serves, and to any other in one line what is wrong."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.fakes.exposition import names_in
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.flow.chat import PATH

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHART = Path(__file__).resolve().parents[2] / "helm"
ALERTS = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
SERIES = {
    name
    for group in ALERTS
    for rule in group["rules"]
    for name in names_in(rule["expr"])
    if name.startswith("gateway_")
}


async def tested(gateway: GatewayProcess, **given: str) -> tuple[int, str]:
    """Run the script as its pod does; return its exit code and its words."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "BASE_URL": gateway.base_url,
        "METRICS_URL": gateway.base_url,
        "MODEL": "fake",
        "API_KEY": gateway.key,
        "SERIES": " ".join(SERIES),
        **given,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", (CHART / "files" / "smoke.py").read_text(encoding="utf-8")),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_a_gateway_that_serves_passes_after_one_completion_and_one_stream(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    code, words = await tested(gateway)
    assert (code, "as they should be" in words) == (0, True), words
    assert [request["path"] for request in await engine.asked()] == [PATH, PATH]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"MODEL": "another"}, "/v1/models has ['fake'], not another"),
        ({"API_KEY": "gg_wrong"}, "/v1/models answered 401"),
        ({"SERIES": "gateway_requests_total gateway_no_such"}, "/metrics lacks gateway_no_such"),
        ({"BASE_URL": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
async def test_what_is_wrong_is_one_line(gateway: GatewayProcess, given: dict[str, str], expected: str) -> None:
    code, words = await tested(gateway, **given)
    assert (code, words.count("\n")) == (1, 1), words
    assert expected in words


@pytest.mark.parametrize(("behaviour", "expected"), [("refuse_503", "answered 503"), ("cut_mid_stream", "end marker")])
async def test_an_engine_that_fails_fails_the_test(
    gateway: GatewayProcess, engine: EngineProcess, behaviour: str, expected: str
) -> None:
    if behaviour == "cut_mid_stream":
        await engine.script("normal")  # For the completion; the stream comes second.
        await engine.script(behaviour, chunks=3, itl_ms=20)
    else:
        await engine.script(behaviour, times=-1, path=PATH)
    code, words = await tested(gateway)
    assert code == 1
    assert expected in words
