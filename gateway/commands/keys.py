"""`gemma-gateway keys`: API keys of a running gateway."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any
from urllib.parse import quote

from config import Settings
from gateway.commands.admin_client import AdminClient, AdminFailed, add_admin_flags

_COLUMNS = ("id", "prefix", "tenant", "user", "tier", "scopes", "created_at", "expires_at", "last_used_at")


def add_keys_flags(parser: argparse.ArgumentParser) -> None:
    """Add what is to be done, and with which key."""
    add_admin_flags(parser)
    parser.add_argument("action", choices=["create", "list", "rotate", "revoke"])
    parser.add_argument("id", nargs="?", help="which key, to rotate or revoke it")
    parser.add_argument("--tenant", help="whom a new key is for")
    parser.add_argument("--user", help="its user (default: its own id)")
    parser.add_argument("--scope", action="append", default=[], help="a scope, such as admin; repeatable")
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="a model it may use; repeatable (default: all)"
    )
    parser.add_argument("--tier", metavar="NAME", help="the tier whose limits hold (default: the tenant's)")
    parser.add_argument("--ttl", type=int, metavar="SECONDS", help="lifetime of a new key (default: no end)")
    parser.add_argument("--grace", type=int, default=0, metavar="SECONDS", help="how long a rotated key still works")


def keys(settings: Settings, options: argparse.Namespace) -> int:
    """Do it, print what came of it; a new key is the last line. Return the exit code."""
    try:
        with AdminClient(settings, options) as client:
            _ACTIONS[options.action](client, options)
    except AdminFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def _create(client: AdminClient, options: argparse.Namespace) -> None:
    if not options.tenant:
        raise AdminFailed("--tenant: must be given to make a key")
    asked = {
        "tenant": options.tenant,
        "user": options.user,
        "scopes": options.scope,
        "models": options.model,
        "tier": options.tier,
        "expires_at": None if options.ttl is None else int(time.time()) + options.ttl,
    }
    _print_new(client.ask("POST", "/admin/keys", {name: value for name, value in asked.items() if value is not None}))


def _list(client: AdminClient, options: argparse.Namespace) -> None:
    del options
    rows = [
        _COLUMNS,
        *(tuple(map(_cell, map(record.get, _COLUMNS))) for record in client.ask("GET", "/admin/keys")["data"]),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _rotate(client: AdminClient, options: argparse.Namespace) -> None:
    _print_new(client.ask("POST", f"{_path(options)}/rotate", {"grace_seconds": options.grace}))


def _revoke(client: AdminClient, options: argparse.Namespace) -> None:
    print(f"revoked {client.ask('DELETE', _path(options))['id']}")


def _path(options: argparse.Namespace) -> str:
    if not options.id:
        raise AdminFailed(f"{options.action}: say which key by its id; `gemma-gateway keys list` has them")
    return f"/admin/keys/{quote(options.id, safe='')}"


def _print_new(answer: dict[str, Any]) -> None:
    print(
        f"{answer['id']}, tenant {answer['tenant']}, user {answer['user']}. The key is shown this once:",
        file=sys.stderr,
    )
    print(answer["key"])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ",".join(value) or "-" if isinstance(value, list) else str(value)


_ACTIONS = {"create": _create, "list": _list, "rotate": _rotate, "revoke": _revoke}
