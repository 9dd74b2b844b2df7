"""`gemma-gateway chat`: a conversation in the terminal with any OpenAI-compatible server, or lines through a pipe."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TextIO

from config import Settings
from gateway.commands.chat_client import ChatClient, ChatFailed, Turn

with contextlib.suppress(ImportError):
    import readline  # noqa: F401 - its import is what gives input() line editing

_NEW = "new"
_HELP = "/new starts over, /quit or Ctrl-D ends, Ctrl-C stops an answer."
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a server listens, seen from its own machine


def add_chat_flags(parser: argparse.ArgumentParser) -> None:
    """Add what says whom to talk to, and how."""
    parser.add_argument("--base-url", metavar="URL", help="the server's /v1 (default: this machine's gateway)")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="file with the API key (default: DATA_DIR/key)")
    parser.add_argument("--model", metavar="NAME", help="model to ask for (default: the server's first)")
    parser.add_argument("--system", metavar="TEXT", help="system message")
    parser.add_argument(
        "--session", metavar="ID", help="go on in a session that the gateway keeps; 'new' makes one and prints its id"
    )
    parser.add_argument("--max-tokens", type=int, metavar="N", help="longest answer (default: the server's)")


def chat(settings: Settings, options: argparse.Namespace) -> int:
    """Talk until the input ends. Return 0, or 1 where the last thing that happened was an error."""
    base_url = options.base_url or local_base_url(settings.server.host, settings.server.port)
    try:
        if options.system and options.session not in (None, _NEW):
            raise ChatFailed("The session has its own system message; --system goes with --session new only.")
        with ChatClient(base_url, _key(settings, options)) as client:
            client.session = options.session
            model = options.model or client.first_model()
            conversation = Conversation(client, model, options.system, options.max_tokens, sys.stdout)
            return _talk(conversation, interactive=sys.stdin.isatty())
    except ChatFailed as failure:
        print(failure, file=sys.stderr)
        return 1


def local_base_url(host: str, port: int) -> str:
    """Return the base URL of a gateway of this machine that listens on `host`."""
    host = _WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


class Conversation:
    """What was said, by whom, and the next answer."""

    def __init__(
        self, client: ChatClient, model: str, system: str | None, max_tokens: int | None, output: TextIO
    ) -> None:
        self.model = model
        self._client = client
        self._max_tokens = max_tokens
        self._output = output
        self._start: list[Turn] = [{"role": "system", "content": system}] if system else []
        self._turns: list[Turn] = []

    def start_over(self) -> None:
        """Forget everything but the system message; where the gateway keeps a session, begin another."""
        self._turns = []
        if self._client.session:
            self._client.session = _NEW

    def ask(self, question: str) -> None:
        """Print the answer as it comes and remember both; in a session the gateway does that.

        Ctrl-C keeps what has come so far. Raises ChatFailed; then neither question nor answer is remembered, since
        Gemma's template wants user and assistant to take turns.
        """
        asked: Turn = {"role": "user", "content": question}
        session = self._client.session
        start = self._start if session in (None, _NEW) else []
        answer = self._print_answer([*start, *self._turns, asked])
        if session == _NEW and self._client.session != _NEW:
            print(f"The session is {self._client.session}; --session goes on in it.", file=sys.stderr)
        if answer and not session:
            self._turns += [asked, {"role": "assistant", "content": answer}]

    def _print_answer(self, turns: list[Turn]) -> str:
        parts: list[str] = []
        try:
            with contextlib.closing(self._client.answer(self.model, turns, self._max_tokens)) as answer:
                for text, reason in answer:
                    parts.append(text)
                    note = " [cut at the longest answer allowed]" if reason == "length" else ""
                    print(_printable(text) + note, end="", flush=True, file=self._output)
        except KeyboardInterrupt:
            print(" [stopped]", end="", file=self._output)
        finally:
            print(flush=True, file=self._output)
        return "".join(parts)


def _talk(conversation: Conversation, *, interactive: bool) -> int:
    if interactive:
        print(f"Chat with {conversation.model}. {_HELP}")
    failed = False
    while (line := _read_line(interactive)) is not None:
        match line.strip():
            case "":
                continue
            case "/quit":
                break
            case "/new":
                conversation.start_over()
            case question:
                failed = not _ask(conversation, question)
    return int(failed)


def _ask(conversation: Conversation, question: str) -> bool:
    try:
        conversation.ask(question)
    except ChatFailed as failure:
        print(failure, file=sys.stderr)
        return False
    return True


def _read_line(interactive: bool) -> str | None:
    """Return the next line, None at the end of the input."""
    while True:
        try:
            return input("> " if interactive else "")
        except EOFError:
            if interactive:
                print()
            return None
        except KeyboardInterrupt:
            if not interactive:
                raise
            print(f"\n{_HELP}")


def _key(settings: Settings, options: argparse.Namespace) -> str:
    """Return the API key. This machine's own key goes to a server that was named only if its file was named too."""
    path: Path | None = options.key_file
    if path is None and options.base_url:
        return os.environ.get("OPENAI_API_KEY", "")
    if path is None and settings.auth.api_key.get_secret_value():
        return settings.auth.api_key.get_secret_value()
    path = path or settings.data_dir / "key"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        if options.key_file is None:
            # A gateway that has not started yet has no key, and one that asks for none needs none.
            return ""
        raise ChatFailed(f"The key file {path} cannot be read: {error.strerror}.") from None


def _printable(text: str) -> str:
    """Drop control characters: an answer must not be able to steer the terminal."""
    return "".join(character for character in text if character in "\n\t" or character.isprintable())
