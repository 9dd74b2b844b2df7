"""`gemma-gateway token`: a signed token for a user, for scripts and for trying things out."""

from __future__ import annotations

import argparse

from config import Settings, SettingsError
from gateway.identity.jwt import mint


def add_token_flags(parser: argparse.ArgumentParser) -> None:
    """Add the claims that can be chosen."""
    parser.add_argument("--user", default="local", help="who the token is for: its `sub` (default: local)")
    parser.add_argument("--tenant", default="local", help="whose limits and sessions it uses (default: local)")
    parser.add_argument("--scope", action="append", default=[], help="a scope, or several between blanks; repeatable")
    parser.add_argument("--ttl", type=float, metavar="SECONDS", help="lifetime (default: auth.jwt_ttl_seconds)")


def token(settings: Settings, options: argparse.Namespace) -> str:
    """Return the token. Raises SettingsError where none can be signed or the gateway would refuse it."""
    problems = []
    if not settings.auth.jwt_secret.get_secret_value():
        problems.append("auth.jwt_secret: must be set to sign tokens; `openssl rand -hex 32` makes one")
    if not options.user:
        problems.append("--user: must not be empty")
    if not options.tenant or set(options.tenant) & set("{}"):
        problems.append("--tenant: must not be empty or hold braces")
    if options.ttl is not None and options.ttl < 1:
        problems.append("--ttl: must be at least 1 second")
    if problems:
        raise SettingsError(problems)
    scopes = frozenset(" ".join(options.scope).split())
    return mint(settings.auth, options.user, options.tenant, scopes, options.ttl)
