"""curl, as the README shows it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture(scope="module")
def example() -> str:
    """The README's commands for curl."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    found = re.search(r"With \*\*curl\*\*:\n\n```sh run\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


async def pasted(commands: str, gateway: GatewayProcess, home: Path, key: str) -> str:
    """Run commands of the README in a shell whose home holds the key, against this gateway."""
    folder = home / ".local/share/gemma-gateway"
    folder.mkdir(parents=True)
    (folder / "key").write_text(f"{key}\n", encoding="utf-8")
    here = commands.replace("http://127.0.0.1:8000", gateway.base_url).replace("gemma-3n-demo", "fake")
    environ = {"HOME": str(home), "PATH": "/usr/bin:/bin:/usr/local/bin", "NO_PROXY": "*"}
    process = await asyncio.create_subprocess_shell(
        here, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    return out.decode()


async def test_the_readmes_example_answers(example: str, gateway: GatewayProcess, tmp_path: Path) -> None:
    answer = json.loads(await pasted(example, gateway, tmp_path, gateway.key))
    assert answer["choices"][0]["message"]["content"] == "You said: Why is the sky blue?"


async def test_the_example_streams_with_n_event_by_event(
    example: str, gateway: GatewayProcess, engine: EngineProcess, tmp_path: Path
) -> None:
    streamed = example.replace("curl ", "curl -N ", 1).replace("{", '{"stream": true, ', 1)
    out = await pasted(streamed, gateway, tmp_path, gateway.key)
    events = [line for line in out.split("\n\n") if line]
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == (
        "You said: Why is the sky blue?"
    )


async def test_the_example_with_a_wrong_key_is_a_401_that_says_so(
    example: str, gateway: GatewayProcess, tmp_path: Path
) -> None:
    out = await pasted(example.replace("curl ", "curl -si ", 1), gateway, tmp_path, "gg_wrong")
    head, _, body = out.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 401 ")
    assert re.search(r"^x-request-id: req_", head, re.MULTILINE)
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
