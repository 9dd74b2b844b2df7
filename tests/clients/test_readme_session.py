"""The README's session with the openai package: begun without an id, gone on with, and kept."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.fakes.gateway import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def python_block(after: str) -> str:
    """Return the first Python of the README after a text."""
    found = re.search(r"```python[ \w]*\n(.*?)```", README[README.index(after) :], re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_readmes_session_goes_on_where_it_began(gateway: GatewayProcess, tmp_path: Path) -> None:
    folder = tmp_path / ".local/share/gemma-gateway"
    folder.mkdir(parents=True)
    (folder / "key").write_text(f"{gateway.key}\n", encoding="utf-8")
    client, _, _ = python_block("With the **openai** package").partition("stream = ")
    code = (client + python_block("## Sessions")).replace("gemma-3n-demo", "fake")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code.replace("http://127.0.0.1:8000", gateway.base_url)),
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, out.decode()) == (0, "You said: Who am I?\n")
    # The newest first: other tests may have made sessions too.
    session = (await gateway.client.get("/v1/sessions")).json()["data"][0]
    page = (await gateway.client.get(f"/v1/sessions/{session['id']}/messages")).json()
    assert [each["content"] for each in page["data"]] == [
        "I am Ada.", "You said: I am Ada.", "Who am I?", "You said: Who am I?"
    ]  # fmt: skip
