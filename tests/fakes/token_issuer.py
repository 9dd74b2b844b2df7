"""An issuer of tokens as a test owns one: its keys and a real HTTP server for its key set."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

PrivateKey = Any
_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def new_key(algorithm: str) -> PrivateKey:
    """Return a private key for this algorithm."""
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "Ed448":
        return ed448.Ed448PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def public_pem(key: PrivateKey) -> bytes:
    """Return the public half as PEM."""
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def public_jwk(key: PrivateKey, algorithm: str, key_id: str | None = None, **members: Any) -> dict[str, Any]:
    """Return the public half as a JWK."""
    jwk: dict[str, Any] = get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, **({} if key_id is None else {"kid": key_id}), **members}


class TokenIssuer:
    """`with TokenIssuer() as issuer:` then `issuer.jwks_url`, `issuer.sign()`, `issuer.rotate()`, `issuer.down()`."""

    def __init__(self, algorithm: str = "RS256") -> None:
        self.algorithm = algorithm
        self.keys: dict[str, PrivateKey] = {}
        self.requests: list[str] = []
        self.status = 200
        self.delay_seconds = 0.0
        self.discovery_issuer: str | None = None
        self.body: bytes | None = None
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.rotate()

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def url(self) -> str:
        """The `iss` of its tokens."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def jwks_url(self) -> str:
        """Where its keys are."""
        return f"{self.url}/keys"

    def rotate(self, *, keep: bool = False) -> str:
        """Sign with a new key from now on; the old ones are gone from the set unless kept. Return its id."""
        key_id = f"key-{time.monotonic_ns()}"
        self.keys = {**(self.keys if keep else {}), key_id: new_key(self.algorithm)}
        return key_id

    def sign(self, key: PrivateKey = None, key_id: str | None = None, header: Any = None, **changed: Any) -> str:
        """Return a token signed with the newest key; a claim that is None is left out."""
        newest = next(reversed(self.keys))
        claims = {"iss": self.url, "aud": "gateway", "sub": "ann", "iat": int(time.time()), "exp": time.time() + 600}
        claims = {name: value for name, value in {**claims, **changed}.items() if value is not None}
        head = {"kid": key_id or newest} if header is None else header
        return jwt.encode(claims, key or self.keys[newest], self.algorithm, headers=head)

    def up(self) -> None:
        """Serve, on the same port as before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def down(self) -> None:
        """Stop serving: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, path: str) -> bytes:
        """Return what is served at a path."""
        self.requests.append(path)
        time.sleep(self.delay_seconds)
        if self.body is not None:
            return self.body
        if path.endswith("openid-configuration"):
            return json.dumps({"issuer": self.discovery_issuer or self.url, "jwks_uri": self.jwks_url}).encode()
        keys = [public_jwk(key, self.algorithm, key_id, use="sig") for key_id, key in self.keys.items()]
        return json.dumps({"keys": keys}).encode()


def _handler(issuer: TokenIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = issuer.answer(self.path)
            self.send_response(issuer.status)
            self.send_header("content-length", str(len(body)))
            self.send_header("location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            del format, args

    return Handler
