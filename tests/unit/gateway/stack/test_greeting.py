import ast
import dataclasses
import json
import shlex
import subprocess
from pathlib import Path

from config.schema import EngineProfile
from gateway.stack.greeting import Running, greeting, reason_of

RUNNING = Running(
    base_url="http://127.0.0.1:8000/v1",
    model="gemma-3n-demo",
    why="profile demo",
    key_file=Path("/data of me/it's/key"),
    logs=Path("/data of me/it's/logs"),
    redis="on a socket",
    python="/venv/bin/python",
    command="/venv/bin/gemma-gateway",
)


def line_with(start: str, running: Running = RUNNING) -> str:
    return next(line for line in greeting(running).splitlines() if line.startswith(start))


def test_the_last_line_is_the_promised_one() -> None:
    assert greeting(RUNNING).splitlines()[-1] == "ready: http://127.0.0.1:8000/v1"


def test_the_chat_page_is_there_where_a_code_could_be_had() -> None:
    text = greeting(dataclasses.replace(RUNNING, login_code="lc_abc"))
    assert "  http://127.0.0.1:8000/#code=lc_abc" in text.splitlines()
    assert "#code" not in greeting(RUNNING)


def test_the_curl_line_is_one_command_that_reads_the_key_and_bounds_the_answer(tmp_path: Path) -> None:
    folder = tmp_path / "data of me" / "it's"
    folder.mkdir(parents=True)
    (folder / "key").write_text("gg_secret\n")
    line = line_with("curl", dataclasses.replace(RUNNING, key_file=folder / "key"))
    shell = ["bash", "-c", f'curl() {{ printf "%s\\0" "$@"; }}\n{line}']
    words = subprocess.run(shell, check=True, capture_output=True, text=True).stdout.split("\0")
    assert "Authorization: Bearer gg_secret" in words
    assert "gg_secret" not in line
    body = json.loads(words[words.index("-d") + 1])
    assert body["model"] == "gemma-3n-demo"
    assert body["max_tokens"] == 64


def test_the_python_lines_are_a_program_that_streams_and_reads_the_key_from_its_file() -> None:
    lines = greeting(RUNNING).splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith("<<'PYTHON'"))
    program = "\n".join(lines[start + 1 : lines.index("PYTHON")])
    names = [node.arg for node in ast.walk(ast.parse(program)) if isinstance(node, ast.keyword)]
    assert {"base_url", "api_key", "max_tokens", "stream"} <= set(names)
    assert repr(str(RUNNING.key_file)) in program


def test_the_chat_line_names_server_and_key_file() -> None:
    words = shlex.split(line_with("/venv/bin/gemma-gateway"))
    assert words[1:] == ["chat", "--base-url", RUNNING.base_url, "--key-file", str(RUNNING.key_file)]


def test_why_this_engine_runs_is_said() -> None:
    assert reason_of(EngineProfile.DEMO, (), gpu=False).endswith("since this machine has no GPU")
    assert reason_of(EngineProfile.GPU, (), gpu=True).endswith("since this machine has a GPU")
    assert reason_of(EngineProfile.DEMO, (), gpu=True) == "profile demo, as asked for"
    assert (
        reason_of(EngineProfile.DEMO, ("http://a:1",), gpu=False)
        == "engines at http://a:1, as the settings of routing say"
    )
