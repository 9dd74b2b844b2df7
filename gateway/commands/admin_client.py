"""The client side of `/admin`, for the commands that administer a running gateway."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from config import Settings
from config.validate import is_loopback
from gateway.commands.chat import local_base_url

_TIMEOUT_SECONDS = 10.0


class AdminFailed(Exception):
    """It was not done. The message is one sentence for whoever sits at the terminal."""


def add_admin_flags(parser: argparse.ArgumentParser) -> None:
    """Add what says which gateway, and by which key."""
    parser.add_argument("--base-url", metavar="URL", help="the gateway's /v1 (default: this machine's)")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="an admin's API key (default: DATA_DIR/key)")


class AdminClient:
    """One gateway. Owns its connections; use it as a context manager."""

    def __init__(self, settings: Settings, options: argparse.Namespace) -> None:
        """Read the key. Raises AdminFailed."""
        base_url: str = options.base_url or local_base_url(settings.server.host, settings.server.port)
        self._root = base_url.rstrip("/").removesuffix("/v1")
        key_file: Path = options.key_file or settings.data_dir / "key"
        try:
            key = key_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise AdminFailed(f"The API key file {key_file} cannot be read: {error}.") from None
        outside = not is_loopback(urlsplit(base_url).hostname or "")
        headers = {"authorization": f"Bearer {key}"}
        self._http = httpx.Client(headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=outside)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the gateway answers. Raises AdminFailed with its own words where it refuses."""
        try:
            response = self._http.request(method, f"{self._root}{path}", json=body)
            answer: dict[str, Any] = response.json()
            if response.is_error:
                raise AdminFailed(str(answer["error"]["message"]))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AdminFailed(f"{self._root} cannot be reached: {error}.") from None
        except (ValueError, LookupError, TypeError):
            raise AdminFailed(f"{self._root} does not answer like a gateway.") from None
        return answer
