"""`gemma-gateway revoke`: tokens that no longer hold, at every gateway of a Redis."""

from __future__ import annotations

import argparse
import sys

from config import Settings
from gateway.commands.admin_client import AdminClient, AdminFailed, add_admin_flags


def add_revoke_flags(parser: argparse.ArgumentParser) -> None:
    """Add what is revoked."""
    add_admin_flags(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--token", help="a token; `-` reads it from standard input")
    what.add_argument("--jti", help="a token by its `jti`")
    what.add_argument("--subject", help="all tokens that were made for this `sub` so far")
    what.add_argument("--list", action="store_true", help="show what is revoked")
    parser.add_argument("--issuer", metavar="NAME", help="by its name in auth.issuers (default: the gateway's own)")
    parser.add_argument("--expires-at", type=int, metavar="TIME", help="Unix time at which it may be forgotten")


def revoke(settings: Settings, options: argparse.Namespace) -> int:
    """Do it and print what is revoked. Return the exit code."""
    token = sys.stdin.readline().strip() if options.token == "-" else options.token  # noqa: S105 - not a password
    asked = {"token": token, "jti": options.jti, "subject": options.subject}
    asked |= {"issuer": options.issuer, "expires_at": options.expires_at}
    try:
        with AdminClient(settings, options) as client:
            if options.list:
                entries = client.ask("GET", "/admin/revocations")["data"]
            else:
                given = {name: value for name, value in asked.items() if value is not None}
                entries = [client.ask("POST", "/admin/revocations", given)]
    except AdminFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    for entry in entries:
        print(f"{entry['id']} until {entry['expires_at']}")
    return 0
