"""The snippets of the documents do what they say: `run` ones are run, the others parse, and all are counted.

Blocks of `text` are drawings and output, and have no tag.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from config import Settings
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "helm/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```(\w+) ([\w-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COUNTS = {"run": 11, "static": 24, "needs-gpu": 5}

Snippet = tuple[str, str, str, str]


def snippets(tag: str) -> list[Snippet]:
    """Return page, language, tag and text of every snippet with this tag."""
    found = [
        (page.relative_to(ROOT).as_posix(), *each)
        for page in PAGES
        for each in FENCE.findall(page.read_text(encoding="utf-8"))
    ]
    return [each for each in found if each[2] == tag]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_snippet_has_a_tag(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^```(?!text$)\w", text, re.MULTILINE)) == len(FENCE.findall(text))
    assert {tag for _, tag, _ in FENCE.findall(text)} <= {"run", "static", "needs-gpu"}


def test_snippets_are_counted() -> None:
    assert {tag: len(snippets(tag)) for tag in COUNTS} == COUNTS


@pytest.mark.parametrize(("page", "language", "tag", "code"), [*snippets("static"), *snippets("needs-gpu")])
def test_a_snippet_parses(page: str, language: str, tag: str, code: str) -> None:
    if language == "python":
        ast.parse(code, page)
    elif language == "yaml":
        assert Settings.model_validate(yaml.safe_load(code))
    elif language == "json":
        assert json.loads(code)
    elif language == "js":
        assert parses_as_javascript(code)
    else:
        assert language == "sh"
        done = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def parses_as_javascript(code: str) -> bool:
    """Say whether Node takes it; without Node there is nobody to ask."""
    if shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    command = ["node", "--check", "--input-type=module", "-"]
    return subprocess.run(command, input=code, capture_output=True, text=True, check=False).returncode == 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(redis_server: RedisServer) -> AsyncIterator[GatewayProcess]:
    async with (
        EngineProcess("--model", "gemma-3n-demo") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url]) as running,
    ):
        await running.ready()
        yield running


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("page", "language", "tag", "code"), snippets("run"))
async def test_a_snippet_runs(
    page: str, language: str, tag: str, code: str, gateway: GatewayProcess, tmp_path: Path
) -> None:
    if language == "sh" and "curl" in code and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    key = tmp_path / ".local/share/gemma-gateway/key"
    key.parent.mkdir(parents=True)
    key.write_text(gateway.key + "\n", encoding="utf-8")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"HOME": str(tmp_path), "PATH": path, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}
    command = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
    text = code.replace("127.0.0.1:8000", f"127.0.0.1:{gateway.port}")
    done = subprocess.run([*command, text], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
