import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from config import Settings
from gateway.commands import chat as chat_module
from gateway.commands.chat import Conversation, chat, local_base_url
from gateway.commands.chat_client import ChatClient, ChatFailed, Turn

Handler = Callable[[httpx.Request], httpx.Response]


def events(*contents: str, reason: str = "stop", done: bool = True) -> bytes:
    chunks: list[Any] = [{"choices": [{"delta": {"content": content}}]} for content in contents]
    chunks += [{"choices": [{"delta": {}, "finish_reason": reason}]}, {"choices": [], "usage": {}}]
    lines = [b": ping\n\n", *(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)]
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


class Server:
    """Answers every chat with `body` and remembers what it was asked."""

    def __init__(self, body: bytes = b"", status: int = 200, *, sessions: bool = True) -> None:
        self.body = body or events("Hel", "lo")
        self.status = status
        self.sessions = sessions
        self.made = 0
        self.asked: list[dict[str, Any]] = []
        self.headers: list[httpx.Headers] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.headers.append(request.headers)
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "gemma"}]})
        self.asked.append(json.loads(request.content))
        return httpx.Response(self.status, content=self.body, headers=self._session(request))

    def _session(self, request: httpx.Request) -> dict[str, str]:
        session = request.headers.get("x-session-id")
        self.made += session == "new"
        if session is None or not self.sessions:
            return {}
        return {"x-session-id": f"sess_{self.made}" if session == "new" else session}

    @property
    def turns(self) -> list[list[tuple[str, str]]]:
        return [[(turn["role"], turn["content"]) for turn in asked["messages"]] for asked in self.asked]


def conversation(handler: Handler, output: io.StringIO, **options: Any) -> Conversation:
    client = ChatClient("http://127.0.0.1/v1/", "", httpx.MockTransport(handler))
    return Conversation(client, "gemma", options.get("system"), options.get("max_tokens"), output)


def run(monkeypatch: pytest.MonkeyPatch, server: Server, lines: str, folder: Path, *argv: str) -> int:
    parser = argparse.ArgumentParser()
    chat_module.add_chat_flags(parser)
    transport = httpx.MockTransport(server)
    monkeypatch.setattr(chat_module, "ChatClient", lambda url, key: ChatClient(url, key, transport))
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return chat(Settings(data_dir=folder), parser.parse_args(argv))


def test_lines_through_a_pipe_are_answered_one_after_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server = Server()
    (tmp_path / "key").write_text("gg_local\n")
    flags = ("--system", "Be brief.", "--max-tokens", "9")
    assert run(monkeypatch, server, "one\n\n two \n/new\nthree\n/quit\nfour\n", tmp_path, *flags) == 0
    assert capsys.readouterr().out == "Hello\n" * 3
    system = ("system", "Be brief.")
    assert server.turns == [
        [system, ("user", "one")],
        [system, ("user", "one"), ("assistant", "Hello"), ("user", "two")],
        [system, ("user", "three")],
    ]
    assert [server.asked[0][name] for name in ("model", "max_tokens", "stream")] == ["gemma", 9, True]
    assert {headers["authorization"] for headers in server.headers} == {"Bearer gg_local"}


def test_in_a_session_only_what_is_new_is_sent_and_new_begins_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server = Server()
    flags = ("--session", "new", "--system", "Be brief.", "--model", "m")
    assert run(monkeypatch, server, "one\ntwo\n/new\nthree\n", tmp_path, *flags) == 0
    system = ("system", "Be brief.")
    assert server.turns == [[system, ("user", "one")], [("user", "two")], [system, ("user", "three")]]
    assert [headers["x-session-id"] for headers in server.headers] == ["new", "sess_1", "new"]
    shown = capsys.readouterr()
    assert shown.out == "Hello\n" * 3
    assert [line.split()[3] for line in shown.err.splitlines()] == ["sess_1;", "sess_2;"]


def test_a_session_that_is_there_goes_on_with_its_own_system_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server = Server()
    assert run(monkeypatch, server, "one\n", tmp_path, "--session", "sess_7", "--model", "m") == 0
    assert (server.turns, server.headers[0]["x-session-id"]) == ([[("user", "one")]], "sess_7")
    assert capsys.readouterr().err == ""
    assert run(monkeypatch, server, "two\n", tmp_path, "--session", "sess_7", "--system", "Rhyme.") == 1
    assert "--system goes with --session new only" in capsys.readouterr().err
    assert len(server.asked) == 1


def test_a_server_without_sessions_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server = Server(sessions=False)
    flags = ("--session", "new", "--base-url", "http://elsewhere/v1", "--model", "m")
    assert run(monkeypatch, server, "one\n", tmp_path, *flags) == 1
    assert capsys.readouterr().err == "http://elsewhere/v1 keeps no sessions.\n"


def test_this_machines_key_does_not_go_to_a_server_that_was_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = Server()
    (tmp_path / "key").write_text("gg_local\n")
    run(monkeypatch, server, "hi\n", tmp_path, "--base-url", "http://example.org/v1")
    run(monkeypatch, server, "hi\n", tmp_path, "--base-url", "http://a/v1", "--key-file", str(tmp_path / "key"))
    sent = [headers.get("authorization") for headers in server.headers]
    assert sent == [None, None, "Bearer gg_local", "Bearer gg_local"]


def test_an_error_is_one_sentence_and_the_last_one_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server = Server(json.dumps({"error": {"message": "Slow down."}}).encode(), status=429)
    assert run(monkeypatch, server, "hi\n", tmp_path, "--model", "m") == 1
    assert capsys.readouterr().err == "The server refused (429): Slow down.\n"


def test_a_key_file_that_is_not_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, Server(), "hi\n", tmp_path, "--key-file", str(tmp_path / "none")) == 1
    assert capsys.readouterr().err == f"The key file {tmp_path / 'none'} cannot be read: No such file or directory.\n"


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (events("Hel", done=False), 200, "The answer ended early."),
        (b'data: {"error": {"message": "The engine broke."}}\n\n', 200, "The answer failed: The engine broke."),
        (b"data: <html>\n\n", 200, "The server sent something that is not a chat completion."),
        (b"<html>", 502, "The server refused (502): It did not say why."),
    ],
)
def test_an_answer_that_fails_is_a_sentence_and_is_not_remembered(body: bytes, status: int, sentence: str) -> None:
    server = Server(body, status)
    talk = conversation(server, io.StringIO())
    with pytest.raises(ChatFailed) as failure:
        talk.ask("one")
    assert str(failure.value) == sentence
    server.body, server.status = events("fine"), 200
    talk.ask("two")
    assert server.turns[-1] == [("user", "two")]


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    with pytest.raises(ChatFailed, match=r"^http://127.0.0.1/v1 cannot be reached: Connection refused\.$"):
        conversation(refuse, io.StringIO()).ask("hi")


def test_ctrl_c_stops_the_answer_and_keeps_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []

    def answer(self: ChatClient, model: str, turns: list[Turn], max_tokens: int | None) -> Iterator[tuple[str, None]]:
        try:
            yield "Once upon", None
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    output, server = io.StringIO(), Server()
    talk = conversation(server, output)
    with monkeypatch.context() as patch:
        patch.setattr(ChatClient, "answer", answer)
        talk.ask("a story")
    talk.ask("go on")
    assert output.getvalue() == "Once upon [stopped]\nHello\n"
    assert server.turns == [[("user", "a story"), ("assistant", "Once upon"), ("user", "go on")]]
    assert closed == [True]


def test_an_answer_cannot_steer_the_terminal_and_a_cut_one_says_so() -> None:
    output = io.StringIO()
    conversation(Server(events("\x1b[2Jred\r\x07", reason="length")), output).ask("hi")
    assert output.getvalue() == "[2Jred [cut at the longest answer allowed]\n"


def test_the_local_server_is_named_as_it_is_reached() -> None:
    hosts = ("127.0.0.1", "0.0.0.0", "::", "::1", "10.0.0.1")
    expected = ["127.0.0.1", "127.0.0.1", "[::1]", "[::1]", "10.0.0.1"]
    assert [local_base_url(host, 80) for host in hosts] == [f"http://{host}:80/v1" for host in expected]
