"""The wheel serves the demo model where there is no clone: installed into an empty environment, in an empty folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.fakes.stack import ServeProcess

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("gateway", "engine", "config", "pyproject.toml", "README.md", "LICENSE")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that was empty before pip put the wheel and all it depends on into it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", source, cwd=folder)
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = (folder / "dist").glob("*.whl")
    run(python, "-m", "pip", "install", "--quiet", "--no-input", f"{wheel}[cpu]", cwd=folder)
    shutil.rmtree(source)
    return python


def test_the_wheel_serves_the_demo_model_in_an_empty_folder(python: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    used = run(python, "-c", "import config, engine, gateway; print(config, engine, gateway)", cwd=empty)
    assert used.count(str(python.parents[1])) == 3
    serve = ServeProcess(tmp_path / "data", program=(str(python.with_name("gemma-gateway")),), folder=empty)
    try:
        serve.start()
        with httpx.Client(base_url=serve.base_url, trust_env=False, timeout=60) as client:
            client.headers["authorization"] = f"Bearer {serve.key}"
            (model,) = client.get("/v1/models").json()["data"]
            body = {"model": model["id"], "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
            answer = client.post("/v1/chat/completions", json=body).json()
            assert answer["usage"]["completion_tokens"] > 0
        assert serve.stop() == 0
    finally:
        serve.close()
    assert list(empty.iterdir()) == []
