"""argv → settings → what was asked. Each command is a file of its own where it has substance."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import cast

from config import Settings, SettingsError
from config.hang_up import hang_ups_held_back
from gateway import __version__
from gateway.commands.chat import add_chat_flags, chat
from gateway.commands.check import check
from gateway.commands.keys import add_keys_flags, keys
from gateway.commands.revoke import add_revoke_flags, revoke
from gateway.commands.token import add_token_flags, token
from gateway.flags import add_settings_flags, assignments_of, read_checked_settings, read_settings, variables_of
from gateway.identity.local_key import LocalKeyError
from gateway.stack import StackError, run_processes, serve

_DEFAULT_COMMAND = "gateway"


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks and return the exit code; problems are sentences on standard error."""
    options = _parse(list(sys.argv[1:] if argv is None else argv))
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
    except (StackError, LocalKeyError) as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def _parse(argv: list[str]) -> argparse.Namespace:
    parser, names = _build_parser()
    if not argv or (argv[0] not in names and argv[0] not in ("-h", "--help")):
        argv = [_DEFAULT_COMMAND, *argv]
    options, rest = parser.parse_known_args(argv)
    if rest and options.command != "engine":
        parser.error(f"unknown: {' '.join(rest)}")
    options.rest = rest
    return options


def _build_parser() -> tuple[argparse.ArgumentParser, list[str]]:
    parser = argparse.ArgumentParser(
        prog="gemma-gateway", description="An OpenAI-compatible gateway for Gemma 3n on vLLM.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (run, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        add_settings_flags(command)
        command.add_argument("--verbose", action="store_true", help="say more; `serve` shows its children's logs")
        if name in _EXTRA_FLAGS:
            _EXTRA_FLAGS[name](command)
    return parser, list(_COMMANDS)


def _serve(options: argparse.Namespace) -> int:
    settings = read_checked_settings(options)
    variables = variables_of(assignments_of(options), options.config)
    return serve(settings, {**os.environ, **variables}, verbose=options.verbose)


def _gateway(options: argparse.Namespace) -> int:
    with hang_ups_held_back():
        return _serve_requests(options)


def _serve_requests(options: argparse.Namespace) -> int:
    if options.verbose:
        options.set.append("telemetry.log_level=debug")
    settings = read_checked_settings(options)
    if not settings.redis.url.get_secret_value():
        raise SettingsError(["redis.url: must be set for a gateway alone; `gemma-gateway serve` brings its own Redis"])
    if settings.server.processes > 1:
        return run_processes(settings, {**os.environ, **variables_of(assignments_of(options), options.config)})
    # The server brings the whole web stack, which no other command needs and `serve` only runs as a child.
    run = cast(Callable[[Settings, Callable[[], Settings]], int], importlib.import_module("gateway.server").run)
    return run(settings, lambda: read_checked_settings(options))


def _engine(options: argparse.Namespace) -> int:
    variables = variables_of(assignments_of(options), options.config)
    argv = [sys.executable, "-m", "engine", *options.rest]
    sys.stdout.flush()
    os.execve(argv[0], argv, {**os.environ, **variables})  # noqa: S606 - no shell is wanted


def _check(options: argparse.Namespace) -> int:
    print(check(read_checked_settings(options)))
    return 0


def _token(options: argparse.Namespace) -> int:
    print(token(read_checked_settings(options), options))
    return 0


def _keys(options: argparse.Namespace) -> int:
    return keys(read_settings(options), options)


def _revoke(options: argparse.Namespace) -> int:
    return revoke(read_settings(options), options)


def _chat(options: argparse.Namespace) -> int:
    return chat(read_settings(options), options)


def _version(_: argparse.Namespace) -> int:
    print(__version__)
    return 0


_COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "serve": (_serve, "Run Redis, the engine and the gateway on this machine."),
    "gateway": (_gateway, "Run the gateway alone (what no command means)."),
    "engine": (_engine, "Run the engine's supervisor alone; flags that are not listed here are passed on to it."),
    "check": (_check, "Check the settings, say everything that is wrong, and end."),
    "token": (_token, "Print a signed token (JWT) for a user."),
    "keys": (_keys, "Create, list, rotate or revoke API keys of a running gateway."),
    "revoke": (_revoke, "Revoke tokens (JWT) at every gateway."),
    "chat": (_chat, "Chat in the terminal with any OpenAI-compatible server."),
    "version": (_version, "Print the version."),
}
_EXTRA_FLAGS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "token": add_token_flags,
    "keys": add_keys_flags,
    "revoke": add_revoke_flags,
    "chat": add_chat_flags,
}
