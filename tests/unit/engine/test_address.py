"""Where the engine listens, and how this machine reaches it."""

from __future__ import annotations

import errno
import socket

import pytest

from engine.address import base_url, bind


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:81"),
        ("0.0.0.0", "http://127.0.0.1:81"),
        ("::", "http://[::1]:81"),
        ("::1", "http://[::1]:81"),
        ("engine.local", "http://engine.local:81"),
    ],
)
def test_every_listener_is_reached_from_its_own_machine(host: str, url: str) -> None:
    assert base_url(host, 81) == url


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1")])
def test_a_name_is_bound_to_ipv4_first(host: str, address: str) -> None:
    with bind(host, 0) as bound:
        assert bound.getsockname()[0] == address


def test_ipv6_is_bound_too() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:  # A machine without IPv6 says so, and says it as an OSError.
        with pytest.raises(OSError, match=error.strerror or ""):
            bind("::1", 0)
        return
    with bind("::1", 0) as bound:
        assert bound.family is socket.AF_INET6


def test_a_taken_port_is_an_error_and_leaves_no_socket_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError) as raised:
        bind("127.0.0.1", taken.getsockname()[1])
    assert raised.value.errno == errno.EADDRINUSE
