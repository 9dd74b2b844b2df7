"""Where an issuer's keys come from: a file, a URL, or what the issuer says of itself by OpenID discovery."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from config.issuers import Algorithm, IssuerSettings, is_safe_url
from config.validate import is_loopback
from gateway.identity.key_set import KeySet, KeySetError, jwk_key_set, pem_key_set, secret_key_set

_MAX_BYTES = 1_048_576
_TIMEOUT_SECONDS = 5.0
_FILE_POLL_SECONDS = 2.0

Parse = Callable[[bytes], KeySet]


class KeySource(Protocol):
    """`fetch` returns the text that `parse` makes a key set of. Both raise KeySetError."""

    parse: Parse
    refresh_seconds: float

    async def fetch(self) -> bytes:
        """Return the text as it is now."""


class FileSource:
    """A file on this machine, read every few seconds: a mounted secret changes without a word."""

    refresh_seconds = _FILE_POLL_SECONDS

    def __init__(self, path: Path, parse: Parse) -> None:
        self._path = path
        self.parse = parse

    async def fetch(self) -> bytes:
        """Read it."""
        return await asyncio.to_thread(self.read)

    def read(self) -> bytes:
        """Read it, in this thread."""
        try:
            with self._path.open("rb") as file:
                return file.read(_MAX_BYTES)
        except OSError as error:
            raise KeySetError(f"{self._path} cannot be read: {error.strerror}") from None


class UrlSource:
    """A JWK set at a URL; with `issuer`, `url` is where its discovery document is, which names that URL."""

    def __init__(self, url: str, refresh_seconds: float, issuer: str | None = None) -> None:
        self._url = url
        self._issuer = issuer
        self.parse: Parse = jwk_key_set
        self.refresh_seconds = refresh_seconds
        self._outside = not is_loopback(urlsplit(url).hostname or "")

    async def fetch(self) -> bytes:
        """Ask for it. A redirect is not followed, and an endless answer is cut."""
        try:
            async with (
                asyncio.timeout(_TIMEOUT_SECONDS),
                httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=self._outside) as client,
            ):
                url = self._url if self._issuer is None else _jwks_url(await _get(client, self._url), self._issuer)
                return await _get(client, url)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise KeySetError(f"{self._url} did not answer: {type(error).__name__}") from None


async def _get(client: httpx.AsyncClient, url: str) -> bytes:
    async with client.stream("GET", url, headers={"accept": "application/json"}) as response:
        if response.status_code != httpx.codes.OK:
            raise KeySetError(f"{url} answered {response.status_code}")
        text = b""
        async for part in response.aiter_bytes():
            text += part
            if len(text) > _MAX_BYTES:
                raise KeySetError(f"{url} sends more than {_MAX_BYTES} bytes")
        return text


def _jwks_url(text: bytes, issuer: str) -> str:
    """Return `jwks_uri`. OpenID Connect Discovery 1.0 §4.3: a document of another issuer must not be believed."""
    try:
        document = json.loads(text)
        named, url = document["issuer"], document["jwks_uri"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise KeySetError("the discovery document names no key set") from None
    if named != issuer:
        raise KeySetError("the discovery document is of another issuer")
    if not isinstance(url, str) or not is_safe_url(url):
        raise KeySetError("the discovery document's jwks_uri is not https://")
    return url


def source_of(settings: IssuerSettings) -> KeySource | KeySet:
    """Return where an issuer's keys come from, or the keys themselves where they stand in the settings."""
    if settings.secret_file:
        return FileSource(Path(settings.secret_file), partial(_secret_of_file, settings.algorithms))
    if settings.pem_file:
        return FileSource(Path(settings.pem_file), pem_key_set)
    if settings.jwks_file:
        return FileSource(Path(settings.jwks_file), jwk_key_set)
    if settings.jwks_url:
        return UrlSource(settings.jwks_url, settings.refresh_seconds)
    if settings.discovery:
        return UrlSource(settings.discovery_url, settings.refresh_seconds, settings.issuer)
    return secret_key_set(settings.secret.get_secret_value().encode(), settings.algorithms)


def _secret_of_file(algorithms: tuple[Algorithm, ...], text: bytes) -> KeySet:
    """Return the set of a file's secret, without the line break that editors leave at the end."""
    return secret_key_set(text.rstrip(b"\r\n"), algorithms)


def problems_of_key_files(issuers: tuple[IssuerSettings, ...]) -> list[str]:
    """Return one sentence for each file that holds no key: better known before a start than at the first token."""
    problems = []
    for issuer in issuers:
        try:
            source = source_of(issuer)
            if isinstance(source, FileSource):
                source.parse(source.read())
        except KeySetError as error:
            problems.append(f"auth.issuers: {issuer.name}: {error}")
    return problems
