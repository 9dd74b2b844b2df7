"""The room as a whole: everything that identity is made of, wired, and what of it runs in the background."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from config import Settings
from config.schema import AuthMode
from gateway.identity.authenticator import Authenticator, Knowledge
from gateway.identity.client_address import networks_of
from gateway.identity.failed_attempts import FailedAttempts
from gateway.identity.issuers import Issuers
from gateway.identity.key_uses import KeyUses
from gateway.identity.keys import KeyStore
from gateway.identity.login_codes import LoginCodes
from gateway.identity.middleware import Door
from gateway.identity.own_tokens import OwnTokens, own_secret
from gateway.identity.revocations import Revocations
from gateway.identity.tenants_watch import Tenants
from gateway.store import Store
from gateway.telemetry.metrics import Metrics


class Identity:
    """Built once for a process. `given_key` is the operator's own (empty without one), `local_key` the file's."""

    def __init__(self, settings: Settings, store: Store, metrics: Metrics, given_key: str, local_key: str) -> None:
        """Read the file of tenants. Raises SettingsError where it does not hold."""
        auth = settings.auth
        secret = own_secret(auth, local_key)
        self.tenants = Tenants(auth.tenants_file)
        self.issuers = Issuers(auth, secret)
        self.keys = KeyStore(store)
        self.revocations = Revocations(store)
        self.login_codes = LoginCodes(store, authenticated=auth.mode is not AuthMode.OFF)
        self.own_tokens = OwnTokens(auth, secret)
        self._uses = KeyUses(self.keys)
        self.authenticator = Authenticator(
            auth,
            Knowledge(self.issuers, self.keys, self._uses, self.tenants, self.revocations, (given_key, local_key)),
        )
        proxies = networks_of(settings.server.trusted_proxies)
        self.door = Door(FailedAttempts(auth.failed_attempts_per_minute), proxies, metrics)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the file of tenants, the issuers' keys and the revocations until exit."""
        async with self.tenants.running(), self.issuers.running(), self.revocations.running(), self._uses.running():
            yield
