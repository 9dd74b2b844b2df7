"""The room as a whole: everything that identity is made of, wired, and what of it runs in the background."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from config import AuthSettings
from gateway.identity.authenticator import Authenticator, Knowledge
from gateway.identity.issuers import Issuers
from gateway.identity.key_uses import KeyUses
from gateway.identity.keys import KeyStore
from gateway.identity.login_codes import LoginCodes
from gateway.identity.own_tokens import OwnTokens, own_secret
from gateway.identity.revocations import Revocations
from gateway.identity.tenants_watch import Tenants
from gateway.store import Store


class Identity:
    """Built once for a process. `given_key` is the operator's own (empty without one), `local_key` the file's."""

    def __init__(self, settings: AuthSettings, store: Store, given_key: str, local_key: str) -> None:
        """Read the file of tenants. Raises SettingsError where it does not hold."""
        secret = own_secret(settings, local_key)
        self.tenants = Tenants(settings.tenants_file)
        self.issuers = Issuers(settings, secret)
        self.keys = KeyStore(store)
        self.revocations = Revocations(store)
        self.login_codes = LoginCodes(store)
        self.own_tokens = OwnTokens(settings, secret)
        self._uses = KeyUses(self.keys)
        self.authenticator = Authenticator(
            settings,
            Knowledge(self.issuers, self.keys, self._uses, self.tenants, self.revocations, (given_key, local_key)),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the file of tenants, the issuers' keys and the revocations until exit."""
        async with self.tenants.running(), self.issuers.running(), self.revocations.running(), self._uses.running():
            yield
