"""As much of Hugging Face's HTTP API as a download of one model at one commit needs."""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fakes.served import served

MODEL = "google/gemma-3n-tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"config.json": b'{"architectures": []}', "model.safetensors": b"weights" * 1000}

_TREE = f"/api/models/{MODEL}/tree/{COMMIT}"


class _Handler(BaseHTTPRequestHandler):
    server: ModelHub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        status, content, headers = self._found(body=body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _found(self, *, body: bool) -> tuple[int, bytes, dict[str, str]]:
        path = self.path.partition("?")[0]
        name = path.removeprefix(f"/{MODEL}/resolve/{COMMIT}/")
        if self.server.token and self.headers.get("authorization") != f"Bearer {self.server.token}":
            return 401, b"{}", {"X-Error-Code": "GatedRepo"}
        if path == _TREE:
            return 200, json.dumps([_entry(each) for each in FILES]).encode(), {}
        if name in FILES:
            self.server.sent += [name] if body else []
            return 200, FILES[name], {"ETag": f'"{_etag(name)}"', "X-Repo-Commit": COMMIT}
        return 404, b"{}", {"X-Error-Code": "RevisionNotFound"}

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class ModelHub(ThreadingHTTPServer):
    """The hub: its address, whom it lets in, and the files that it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.token = ""
        self.sent: list[str] = []


def _etag(name: str) -> str:
    return hashlib.sha1(FILES[name], usedforsecurity=False).hexdigest()


def _entry(name: str) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(FILES[name]), "oid": _etag(name)}


def model_hub() -> AbstractContextManager[ModelHub]:
    """Serve until exit."""
    return served(ModelHub())
