"""`python -m gateway serve` as people start it: real processes, a real Redis, and the scripted engine as vLLM."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0


class Serve:
    """One `serve`, its output so far, and every process that it was ever seen to have."""

    def __init__(self, process: asyncio.subprocess.Process, data_dir: Path) -> None:
        self.process = process
        self.data_dir = data_dir
        self.output = ""
        self.seen: set[psutil.Process] = set()
        self._reader = asyncio.create_task(self._read())

    @property
    def base_url(self) -> str:
        found = re.search(r"^ready: (http://127\.0\.0\.1:\d+/v1)\n", self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    @property
    def key(self) -> str:
        return (self.data_dir / "key").read_text().strip()

    async def until_ready(self) -> None:
        await self.until(r"\nready: .*\n")

    async def until(self, pattern: str) -> None:
        async with asyncio.timeout(START_SECONDS):
            while not re.search(pattern, self.output):
                assert not self._reader.done(), self.output + self.logs()
                await asyncio.sleep(0.05)

    async def ended(self) -> int:
        """Return the exit code once it has ended."""
        async with asyncio.timeout(START_SECONDS):
            code = await self.process.wait()
            await self._reader
        return code

    def children(self) -> dict[str, psutil.Process]:
        """Return the running children by name."""
        found = {}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found[_name_of(process.cmdline())] = process
        self.seen |= set(found.values())
        return found

    def left_behind(self) -> list[psutil.Process]:
        """Return which of the processes ever seen are still there."""
        return [process for process in self.seen if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

    def logs(self) -> str:
        return "".join(f"\n--- {path.name}\n{path.read_text()}" for path in (self.data_dir / "logs").glob("*.log"))

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(65_536):
            self.output += data.decode()


def _name_of(command: list[str]) -> str:
    line = " ".join(command)
    for name, pattern in (("redis", "redis-server"), ("vllm", "tests.fakes.engine"), ("engine", "-m engine")):
        if pattern in line:
            return name
    return "gateway" if "-m gateway gateway" in line else line


@asynccontextmanager
async def run_serve(data_dir: Path) -> AsyncIterator[Serve]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        engine_port = str(free.getsockname()[1])
    engine = [sys.executable, "-m", "tests.fakes.engine", "--port", engine_port, "--model", "gemma-3n-demo"]
    settings = {
        "server.port": "0",
        "engine.port": engine_port,
        "engine.status_port": "0",
        "engine.profile": "demo",
        "engine.command": ",".join(engine),
    }
    flags = [f"--set={name}={value}" for name, value in settings.items()]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--data-dir", str(data_dir), *flags),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    serve = Serve(process, data_dir)
    try:
        yield serve
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await serve.ended()


async def chat_once(serve: Serve) -> httpx.Response:
    """Ask until it is answered: a child may be on its way back."""
    body = {"model": "gemma-3n-demo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
    headers = {"authorization": f"Bearer {serve.key}"}
    async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(trust_env=False) as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                response = await http.post(f"{serve.base_url}/chat/completions", json=body, headers=headers)
                if response.status_code == 200:
                    return response
            await asyncio.sleep(0.1)


async def paste(lines: str, *, typed: str = "") -> str:
    """Run `lines` in another shell, as a person would, and return what it prints."""
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-c", lines),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await shell.communicate(typed.encode())
    assert shell.returncode == 0, output.decode()
    return output.decode()


async def test_what_a_start_prints_works_when_pasted_and_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    async with run_serve(tmp_path) as serve:
        await serve.until_ready()
        assert serve.output.endswith(f"\nready: {serve.base_url}\n")
        assert serve.key not in serve.output
        python = re.search(r"^\S+ - <<'PYTHON'\n.*?^PYTHON$", serve.output, re.MULTILINE | re.DOTALL)
        curl = re.search(r"^curl .*$", serve.output, re.MULTILINE)
        chat = re.search(r"^\S*gemma-gateway chat .*$", serve.output, re.MULTILINE)
        assert python
        assert curl
        assert chat
        assert "Why is the sky blue?" in await paste(python.group())
        assert shutil.which("curl") is None or '"finish_reason"' in await paste(curl.group())
        assert await paste(chat.group(), typed="hello there\n") == "You said: hello there\n"

        assert set(serve.children()) == {"redis", "engine", "vllm", "gateway"}
        serve.process.send_signal(signal.SIGINT)
        assert await serve.ended() == 0
        assert serve.left_behind() == []


@pytest.mark.parametrize("name", ["gateway", "engine", "redis"])
async def test_a_child_that_is_killed_comes_back_and_it_is_said(tmp_path: Path, name: str) -> None:
    async with run_serve(tmp_path) as serve:
        await serve.until_ready()
        before = serve.children()
        before[name].kill()
        await serve.until(rf"The {name} ended \(killed by SIGKILL\); it starts again")
        async with asyncio.timeout(START_SECONDS):
            while set(after := serve.children()) != set(before) or after[name] == before[name]:
                await asyncio.sleep(0.1)
        assert (await chat_once(serve)).status_code == 200
        serve.children()
    assert serve.left_behind() == []


async def test_one_serve_to_a_folder_and_the_next_one_finds_key_and_sessions(tmp_path: Path) -> None:
    async with run_serve(tmp_path) as first:
        await first.until_ready()
        async with run_serve(tmp_path) as second:
            assert await second.ended() == 1
            assert second.output == (
                f"`serve` already runs on {tmp_path} (process {first.process.pid}); stop it, or set another data_dir.\n"
            )
        key, headers = first.key, {"authorization": f"Bearer {first.key}"}
        async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
            made = await http.post(f"{first.base_url}/sessions", json={})
        assert made.status_code in (200, 201), made.text
    async with run_serve(tmp_path) as again:
        await again.until_ready()
        assert again.key == key
        async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
            found = await http.get(f"{again.base_url}/sessions/{made.json()['id']}")
        assert found.status_code == 200, found.text


async def test_children_do_not_outlive_a_serve_that_was_killed(tmp_path: Path) -> None:
    async with run_serve(tmp_path) as serve:
        await serve.until_ready()
        assert len(serve.children()) == 4
        os.kill(serve.process.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while serve.left_behind():
                await asyncio.sleep(0.1)
