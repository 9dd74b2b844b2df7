"""Authentication before anything of the request is read."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from gateway.domain import Caller
from gateway.errors import Unauthenticated
from gateway.identity import AuthenticationMiddleware
from gateway.identity.failed_attempts import FailedAttempts
from gateway.identity.middleware import Door
from gateway.store import Store
from gateway.telemetry.metrics import Metrics
from tests.unit.gateway.identity.tokens import authenticator_of

LOCAL = Caller("local", "local", frozenset({"admin"}))
PUBLIC = frozenset({"/", "/health", "/health/ready"})


class Inner:
    """The app behind, which notes whom it was called for."""

    def __init__(self) -> None:
        self.called = False
        self.caller: Caller | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.called = True
        self.caller = scope.get("state", {}).get("caller")


async def never_receive() -> Message:
    """Fail: the body is not to be read."""
    raise AssertionError("the body was read")


async def never_send(message: Message) -> None:
    """Fail: the answer is not the middleware's."""
    raise AssertionError("something was sent")


async def ask(store: Store, path: str, headers: list[tuple[bytes, bytes]], kind: str = "http", **more: Any) -> Inner:
    """Send a request through the middleware."""
    inner = Inner()
    authenticator = authenticator_of(store, ("gg_local",))
    state = {"headers": dict(headers), **more}
    scope: Scope = {"type": kind, "path": path, "headers": headers, "state": state}
    door = Door(FailedAttempts(0), (), Metrics())
    await AuthenticationMiddleware(inner, authenticator, PUBLIC, door)(scope, never_receive, never_send)
    return inner


async def test_a_good_credential_reaches_the_app_as_a_caller(store: Store) -> None:
    inner = await ask(store, "/v1/models", [(b"host", b"x"), (b"authorization", b"Bearer gg_local")])
    assert inner.caller == LOCAL


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/v1/models",
            "/v1/chat/completions",
            "/health/",
            "/health/detailed",
            "/healthz",
            "//health",
            "/health/../v1",
        ),
        *("/HEALTH", "/metrics", "/admin/keys", "/static", "/v1/static/x", "", "/health\n", "/static\\x"),
    ],
)
async def test_without_a_credential_only_public_paths_are_let_through(store: Store, path: str) -> None:
    with pytest.raises(Unauthenticated):
        await ask(store, path, [])


@pytest.mark.parametrize("path", ["/", "/health", "/health/ready", "/static/favicon.svg"])
async def test_a_public_path_needs_no_credential_and_looks_at_none(store: Store, path: str) -> None:
    inner = await ask(store, path, [(b"authorization", b"nonsense")])
    assert inner.called
    assert inner.caller is None


@pytest.mark.parametrize("host", [b"x/health", b"x/health?", b"x#", b"x/static/"])
async def test_a_crafted_host_makes_no_path_public(store: Store, host: bytes) -> None:
    with pytest.raises(Unauthenticated):
        await ask(store, "/v1/models", [(b"host", host)])


async def test_the_servers_own_lifespan_is_not_a_request(store: Store) -> None:
    assert (await ask(store, "", [], kind="lifespan")).called


async def test_a_caller_of_an_earlier_request_is_not_taken_for_this_one(store: Store) -> None:
    with pytest.raises(Unauthenticated):
        await ask(store, "/v1/models", [], caller=LOCAL)
