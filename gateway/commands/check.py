"""`gemma-gateway check`: what a start would do, in a few lines without a secret."""

from __future__ import annotations

from urllib.parse import urlsplit

from config import AuthSettings, EngineSettings, Settings
from config.schema import AuthMode


def check(settings: Settings) -> str:
    """Return "ok" and a summary of settings that are known to be good."""
    server = settings.server
    return "\n".join(
        [
            "ok",
            f"  gateway  http://{server.host}:{server.port}, credentials: {_credentials(settings.auth)}",
            f"  engine   {_engine(settings.engine, settings.routing.sources)}",
            f"  redis    {shown_redis(settings.redis.url.get_secret_value()) or 'started by `serve` in data_dir'}",
            f"  data_dir {settings.data_dir}",
        ]
    )


def shown_redis(url: str) -> str:
    """Return `url` without its password and options, which may be secrets."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}" if url else ""


def _credentials(auth: AuthSettings) -> str:
    if auth.mode is AuthMode.OFF:
        return "none asked for"
    kinds = ["API keys"]
    kinds += ["GATEWAY_API_KEY"] if auth.api_key.get_secret_value() else []
    kinds += ["JWT", *(f"JWT of {issuer.name}" for issuer in auth.issuers)]
    return ", ".join(kinds)


def _engine(engine: EngineSettings, engines: tuple[str, ...]) -> str:
    if engines:
        return ", ".join(engines)
    runs = "a command of your own" if engine.command else engine.model
    return f"profile {engine.profile}: {runs} as {engine.served_model_name} on http://{engine.host}:{engine.port}"
