"""The one settings schema that the gateway and the engine stand on, and the YAML files that ship with it."""

from config.load import SettingsError, load_settings
from config.responses import ResponsesSettings
from config.routing import RoutingSettings
from config.schema import (
    AuthSettings,
    EngineSettings,
    LimitsSettings,
    PromptSettings,
    RedisSettings,
    ServerSettings,
    Settings,
    StreamSettings,
)
from config.sessions import SessionsSettings
from config.telemetry import TelemetrySettings

__all__ = [
    "AuthSettings",
    "EngineSettings",
    "LimitsSettings",
    "PromptSettings",
    "RedisSettings",
    "ResponsesSettings",
    "RoutingSettings",
    "ServerSettings",
    "SessionsSettings",
    "Settings",
    "SettingsError",
    "StreamSettings",
    "TelemetrySettings",
    "load_settings",
]
