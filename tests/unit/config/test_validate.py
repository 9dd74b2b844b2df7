from typing import Any

import pytest

from config import Settings
from config.validate import is_host, is_loopback, problems_of

SECRET = "s" * 32

# What is set, and which setting is then named as wrong.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"auth": {"mode": "off"}, "server": {"host": "0.0.0.0"}}, "auth.mode"),
    ({"auth": {"jwt_secret": "s" * 31}}, "auth.jwt_secret"),
    ({"auth": {"jwt_secret": SECRET, "jwt_issuer": ""}}, "auth.jwt_issuer"),
    ({"auth": {"jwt_secret": SECRET, "jwt_audience": ""}}, "auth.jwt_audience"),
    ({"auth": {"api_key": "key "}}, "auth.api_key"),
    ({"auth": {"api_key": "schlüssel"}}, "auth.api_key"),
    ({"auth": {"api_key": "a\nb"}}, "auth.api_key"),
    ({"server": {"port": 8100}}, "engine.port"),
    ({"engine": {"port": 9000, "status_port": 9000}}, "engine.status_port"),
    ({"telemetry": {"metrics_port": 8000}}, "telemetry.metrics_port"),
    ({"server": {"processes": 3}, "telemetry": {"metrics_port": 7998}}, "telemetry.metrics_port"),
    ({"server": {"processes": 3, "port": 9102}}, "telemetry.metrics_port"),
    ({"server": {"processes": 3}, "telemetry": {"metrics_port": 65534}}, "telemetry.metrics_port"),
    ({"server": {"host": ""}}, "server.host"),
    ({"server": {"trusted_hosts": ""}}, "server.trusted_hosts"),
    ({"server": {"cors_origins": "example.org"}}, "server.cors_origins"),
    ({"server": {"cors_origins": "https://example.org/"}}, "server.cors_origins"),
    ({"server": {"trusted_proxies": "10.0.0.0/33"}}, "server.trusted_proxies"),
    ({"server": {"trusted_proxies": "proxy.example.org"}}, "server.trusted_proxies"),
    (
        {"auth": {"issuers": [{"name": "a", "issuer": "i", "audiences": ["x"], "algorithms": ["RS256"]}]}},
        "auth.issuers",
    ),
    ({"redis": {"url": "http://db"}}, "redis.url"),
    ({"redis": {"password": "secret"}}, "redis.password"),
    ({"redis": {"url": "unix://"}}, "redis.url"),
    ({"redis": {"url": "redis://:secret@"}}, "redis.url"),
    ({"redis": {"url": "redis://db:port"}}, "redis.url"),
    ({"redis": {"url": "unix:///run/redis.sock", "sentinels": "a:26379"}}, "redis.sentinels"),
    ({"redis": {"url": "redis://mymaster/0", "sentinels": "a:26379,b"}}, "redis.sentinels"),
    ({"redis": {"url": "redis://mymaster/0", "sentinels": "redis://a:26379"}}, "redis.sentinels"),
    ({"redis": {"url": "redis://mymaster/0", "sentinels": "a:many"}}, "redis.sentinels"),
    ({"redis": {"sentinels": "a:26379"}}, "redis.sentinels"),
    ({"responses": {"max_bytes": 4097, "max_bytes_per_user": 4096}}, "responses.max_bytes"),
    ({"routing": {"engines": "gpu:8100"}}, "routing.engines"),
    ({"routing": {"engines": "http://gpu/v1"}}, "routing.engines"),
    ({"routing": {"engines": "http://gpu,http://gpu"}}, "routing.engines"),
    ({"routing": {"engines": "http://b\u00fccher:8100"}}, "routing.engines"),
    ({"routing": {"engines": "http://10.0.0.256:8100"}}, "routing.engines"),
    ({"engine": {"host": "10.0.0"}}, "engine.host"),
    ({"prompt": {"default_max_tokens": 9000}}, "prompt.default_max_tokens"),
    ({"engine": {"max_model_len_tokens": 1024}}, "prompt.default_max_tokens"),
    ({"prompt": {"model_aliases": {"": "gemma-3n"}}}, "prompt.model_aliases"),
    ({"prompt": {"model_aliases": {"a": "b", "b": "gemma-3n"}}}, "prompt.model_aliases"),
    ({"prompt": {"media_hosts": "https://images.example.org"}}, "prompt.media_hosts"),
    ({"prompt": {"media_hosts": "images.example.org:443"}}, "prompt.media_hosts"),
    ({"prompt": {"media_hosts": "Images.example.org"}}, "prompt.media_hosts"),
    ({"prompt": {"media_hosts": "*"}}, "prompt.media_hosts"),
    ({"prompt": {"media_hosts": "169.254.169.254"}}, "prompt.media_hosts"),
    ({"stream": {"idle_timeout_seconds": 4000}}, "stream.idle_timeout_seconds"),
    ({"stream": {"headers_timeout_seconds": 4000}}, "stream.headers_timeout_seconds"),
    ({"engine": {"restart_initial_seconds": 61}}, "engine.restart_initial_seconds"),
]

RIGHT: list[dict[str, Any]] = [
    {},
    {"auth": {"mode": "off"}, "server": {"host": "::1"}},
    {"auth": {"mode": "off", "allow_off_on_any_address": True}, "server": {"host": "0.0.0.0"}},
    {"auth": {"jwt_secret": SECRET, "api_key": "any string: 123"}},
    {"server": {"port": 0}, "engine": {"port": 0, "status_port": 0}},
    {"telemetry": {"metrics_port": 7998}},
    {"server": {"processes": 3}, "telemetry": {"metrics_port": 65533}},
    {"server": {"port": 8100}, "routing": {"engines": "http://gpu:8100,unix:///run/vllm.sock"}},
    {"server": {"cors_origins": "https://example.org,http://localhost:3000"}},
    {"prompt": {"media_hosts": "images.example.org,cdn-1.example.org"}},
    {"server": {"trusted_proxies": "10.0.0.0/8,192.0.2.1,fd00::/8"}},
    {"responses": {"max_bytes": 4096, "max_bytes_per_user": 4096}},
    {"redis": {"url": "unix:///run/redis.sock"}},
    {"redis": {"url": "rediss://user:password@db:6380/1"}},
    {"redis": {"url": "redis://:password@mymaster/0", "sentinels": "10.0.0.1:26379,[::1]:26379"}},
]


@pytest.mark.parametrize(("tree", "named"), WRONG)
def test_settings_that_do_not_fit_together_are_one_sentence_that_names_the_setting(
    tree: dict[str, Any], named: str
) -> None:
    problems = problems_of(Settings.model_validate(tree))
    assert [problem.partition(": ")[0] for problem in problems] == [named]


@pytest.mark.parametrize("tree", RIGHT)
def test_settings_that_fit_have_no_problems(tree: dict[str, Any]) -> None:
    assert problems_of(Settings.model_validate(tree)) == []


def test_every_problem_is_said_at_once_and_no_secret_with_it() -> None:
    tree = {"auth": {"jwt_secret": "hunter2", "api_key": "hunter2\t"}, "redis": {"url": "hunter2://hunter2@db"}}
    problems = problems_of(Settings.model_validate(tree))
    assert len(problems) == 3
    assert "hunter2" not in "\n".join(problems)


@pytest.mark.parametrize(
    "host",
    ["gpu", "GPU-1.example.org", "vllm_1", "engines.svc.", "3com.example", "10.0.0.1", "::1", "fe80::1%eth0", "a" * 63],
)
def test_hosts(host: str) -> None:
    assert is_host(host)


@pytest.mark.parametrize(
    "host",
    ["", ".", "a..b", "-a", "a-", "a b", "a/b", "a\n", "b\u00fccher", "\u212aelvin", "a\u3002b", "1.2.3", "1.2.3.256",
     "7", "[::1]", "::g", "a" * 64, "a." * 127 + "a"],
)  # fmt: skip
def test_what_is_no_host(host: str) -> None:
    assert not is_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
