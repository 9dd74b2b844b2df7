"""What no single field can tell: settings that are each allowed and do not fit together. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit

from config.encryption import encryption_keys
from config.issuers import problems_of_issuers
from config.schema import AuthMode, Settings

_LAST_PORT = 65535
_LEAST_SECRET_BYTES = 32
"""RFC 7518 §3.2: the key of HS256 is at least as long as its digest."""
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z)({_LABEL}\.)*(?![0-9]+\.?\Z){_LABEL}\.?", re.IGNORECASE | re.ASCII)
"""The last label is no number, or it would be read as an IPv4 address (https://url.spec.whatwg.org/#host-parsing)."""


def problems_of(settings: Settings) -> list[str]:
    """Return one sentence for each thing that is wrong, none of them with a secret in it; empty: all is well."""
    return [f"{name}: {sentence}" for check in _CHECKS for name, sentence in check(settings)]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_host(host: str) -> bool:
    """Whether a URL may name this host, without brackets: an address, or a name in ASCII (RFC 1123, and with `_`)."""
    return _is_address(host) or _HOST_NAME.fullmatch(host) is not None


_Problems = Iterator[tuple[str, str]]


def _check_auth(settings: Settings) -> _Problems:
    auth = settings.auth
    if auth.mode is AuthMode.OFF and not (is_loopback(settings.server.host) or auth.allow_off_on_any_address):
        lets_in = f"off lets anyone in who reaches server.host {settings.server.host}"
        yield "auth.mode", f"{lets_in}; listen on 127.0.0.1, or set auth.allow_off_on_any_address too"
    secret = auth.jwt_secret.get_secret_value()
    if secret and len(secret.encode()) < _LEAST_SECRET_BYTES:
        yield "auth.jwt_secret", f"must have at least {_LEAST_SECRET_BYTES} bytes; `openssl rand -hex 32` makes one"
    for name in ("jwt_issuer", "jwt_audience"):
        if not getattr(auth, name):
            yield f"auth.{name}", "must not be empty"
    key = auth.api_key.get_secret_value()
    if key and (key != key.strip() or not key.isascii() or not key.isprintable()):
        yield "auth.api_key", "must be printable ASCII without white space at its ends, or no client could send it"


def _check_issuers(settings: Settings) -> _Problems:
    for sentence in problems_of_issuers(settings.auth.issuers, settings.auth.jwt_issuer):
        yield "auth.issuers", sentence


def _check_ports(settings: Settings) -> _Problems:
    ports = {"server.port": settings.server.port}
    if not settings.routing.sources:
        ports |= {"engine.port": settings.engine.port, "engine.status_port": settings.engine.status_port}
    owner: dict[int, str] = {}
    for name, port in ports.items():
        if port in owner:
            yield name, f"{port} is {owner[port]} already"
        if port:
            owner.setdefault(port, name)
    for port in settings.telemetry.metrics_ports(settings.server.processes):
        if port in owner:
            yield "telemetry.metrics_port", f"{port}, which a process's metrics get, is {owner[port]} already"
        if port > _LAST_PORT:
            yield "telemetry.metrics_port", f"{port}, which a process's metrics would get, is no port"


def _check_server(settings: Settings) -> _Problems:
    if not settings.server.host:
        yield "server.host", "must not be empty; 0.0.0.0 is every address"
    if not settings.server.trusted_hosts:
        yield "server.trusted_hosts", "must not be empty, or no request would be answered; `*` is any host"
    for network in settings.server.trusted_proxies:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            yield "server.trusted_proxies", f"'{network}' is not an address or a network such as 10.0.0.0/8"
    for origin in settings.server.cors_origins:
        parts = _split(origin)
        if origin != "*" and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path):
            yield "server.cors_origins", f"'{origin}' is not an origin such as https://chat.example.org"


def _split(url: str) -> SplitResult:
    """Return the parts of `url`, empty ones where it is not a URL or its port is not a port."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def _check_redis(settings: Settings) -> _Problems:
    url = settings.redis.url.get_secret_value()
    if not url:
        if settings.redis.sentinels:
            yield "redis.sentinels", "want a redis.url whose host is the master's name, as in redis://mymaster/0"
        if settings.redis.password.get_secret_value():
            yield "redis.password", "wants a redis.url; the Redis that `serve` starts has no password"
        return
    parts = _split(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        yield "redis.url", "must be a redis://, rediss:// or unix:// URL"
    elif parts.scheme == "unix" and not parts.path:
        yield "redis.url", "must name a socket, as in unix:///run/redis.sock"
    elif parts.scheme != "unix" and not parts.hostname:
        yield "redis.url", "must name a host, as in redis://127.0.0.1:6379/0"
    yield from _check_sentinels(settings, parts)


def _check_sentinels(settings: Settings, url: SplitResult) -> _Problems:
    sentinels = settings.redis.sentinels
    if sentinels and url.scheme == "unix":
        yield "redis.sentinels", "want a redis.url such as redis://:password@mymaster/0, and not a socket's"
    for place in sentinels:
        parts = _split(f"redis://{place}")
        if not parts.hostname or not parts.port or parts.netloc != place:
            yield "redis.sentinels", f"'{place}' is not a host and port such as 10.0.0.1:26379"


def _check_encryption(settings: Settings) -> _Problems:
    try:
        encryption_keys(settings.sessions.encryption_keys.get_secret_value())
    except ValueError as error:
        yield "sessions.encryption_keys", str(error)


def _check_responses(settings: Settings) -> _Problems:
    responses = settings.responses
    if responses.max_bytes > responses.max_bytes_per_user:
        yield "responses.max_bytes", "must not be above responses.max_bytes_per_user, or a row would displace itself"


def _check_engines(settings: Settings) -> _Problems:
    engines = settings.routing.engines
    for engine in engines:
        parts = _split(engine)
        over_tcp = parts.scheme == "http" and not parts.path.strip("/") and not parts.query
        over_tcp = over_tcp and is_host(parts.hostname or "")
        if not over_tcp and not (parts.scheme == "unix" and parts.path):
            yield "routing.engines", f"'{engine}' is not http://host:port or unix:///path, with a host in ASCII"
    if len(set(engines)) < len(engines):
        yield "routing.engines", "must not name an engine twice"
    if not settings.routing.sources and not is_host(settings.engine.host):
        yield "engine.host", f"'{settings.engine.host}' is not an address or a host name in ASCII"
    host, colon, port = settings.routing.dns.rpartition(":")
    if settings.routing.dns and not (host and colon and port.isdecimal() and 0 < int(port) <= 65535):
        yield "routing.dns", f"'{settings.routing.dns}' is not host:port, as in engines.gemma.svc:8100"


def _check_lengths(settings: Settings) -> _Problems:
    prompt, engine = settings.prompt, settings.engine
    if prompt.default_max_tokens > prompt.max_output_tokens:
        yield "prompt.default_max_tokens", "must not be above prompt.max_output_tokens"
    if not settings.routing.sources and prompt.default_max_tokens >= engine.max_model_len_tokens:
        yield "prompt.default_max_tokens", "must be below engine.max_model_len_tokens, which the prompt shares"


def _check_aliases(settings: Settings) -> _Problems:
    aliases = settings.prompt.model_aliases
    for alias, model in aliases.items():
        if not alias or not model:
            yield "prompt.model_aliases", "must not have empty names"
        elif model in aliases:
            yield "prompt.model_aliases", f"'{alias}' leads to '{model}', which is an alias itself"


def _check_media(settings: Settings) -> _Problems:
    for host in settings.prompt.media_hosts:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", host) or _is_address(host):
            yield "prompt.media_hosts", f"'{host}' is not a host name such as images.example.org, in lower case"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_times(settings: Settings) -> _Problems:
    stream, engine = settings.stream, settings.engine
    for name in ("headers_timeout_seconds", "idle_timeout_seconds"):
        if getattr(stream, name) > stream.total_timeout_seconds:
            yield f"stream.{name}", "must not be above stream.total_timeout_seconds"
    if settings.routing.breaker_seconds > settings.routing.breaker_max_seconds:
        yield "routing.breaker_seconds", "must not be above routing.breaker_max_seconds"
    if engine.restart_initial_seconds > engine.restart_max_seconds:
        yield "engine.restart_initial_seconds", "must not be above engine.restart_max_seconds"


def _check_traces(settings: Settings) -> _Problems:
    endpoint = settings.telemetry.otlp_endpoint
    if not endpoint:
        return
    parts = _split(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        yield "telemetry.otlp_endpoint", f"'{endpoint}' is not a URL such as http://collector:4318/v1/traces"
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        yield "telemetry.otlp_endpoint", "needs OpenTelemetry: .venv/bin/pip install '.[otel]'"


_CHECKS: tuple[Callable[[Settings], _Problems], ...] = (
    _check_traces,
    _check_auth,
    _check_issuers,
    _check_ports,
    _check_server,
    _check_redis,
    _check_encryption,
    _check_responses,
    _check_engines,
    _check_lengths,
    _check_aliases,
    _check_media,
    _check_times,
)
