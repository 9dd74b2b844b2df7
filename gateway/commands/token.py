"""`gemma-gateway token`: a signed token for a user, for scripts and for trying things out."""

from __future__ import annotations

import argparse

from config import Settings, SettingsError
from gateway.identity.local_key import read_local_key
from gateway.identity.own_tokens import OwnTokens, own_secret
from gateway.identity.principal import Principal


def add_token_flags(parser: argparse.ArgumentParser) -> None:
    """Add the claims that can be chosen."""
    parser.add_argument("--user", default="local", help="who the token is for: its `sub` (default: local)")
    parser.add_argument("--tenant", default="local", help="whose limits and sessions it uses (default: local)")
    parser.add_argument("--scope", action="append", default=[], help="a scope, or several between blanks; repeatable")
    parser.add_argument("--tier", metavar="NAME", help="the tier whose limits hold (default: the tenant's)")
    parser.add_argument("--ttl", type=float, metavar="SECONDS", help="lifetime (default: auth.jwt_ttl_seconds)")


def token(settings: Settings, options: argparse.Namespace) -> str:
    """Return the token. Raises SettingsError where the gateway would refuse it, LocalKeyError where none can be signed.

    Without `auth.jwt_secret` it is signed with what a gateway on the same data folder derives from the local key.
    """
    problems = []
    if not options.user:
        problems.append("--user: must not be empty")
    if not options.tenant or set(options.tenant) & set("{}"):
        problems.append("--tenant: must not be empty or hold braces")
    if options.ttl is not None and options.ttl < 1:
        problems.append("--ttl: must be at least 1 second")
    if problems:
        raise SettingsError(problems)
    auth = settings.auth
    if options.ttl is not None:
        auth = auth.model_copy(update={"jwt_ttl_seconds": options.ttl})
    secret = own_secret(auth, read_local_key(settings.data_dir))
    scopes = frozenset(" ".join(options.scope).split())
    text, _ = OwnTokens(auth, secret).mint(Principal(options.tenant, options.user, scopes, tier=options.tier))
    return text
