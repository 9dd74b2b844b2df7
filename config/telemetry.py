"""The settings of logs and metrics."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from config.fields import Group, Port


class LogLevel(StrEnum):
    """Least level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_FIRST_METRICS_PORT = 9100
"""Where there are several processes and no port is set."""


class TelemetrySettings(Group):
    """Logs and metrics."""

    log_level: LogLevel = Field(LogLevel.INFO, description="`debug`, `info`, `warning` or `error`.")
    metrics_port: Port = Field(
        0,
        description="A port of its own for `/metrics`, without a credential; "
        "with several processes the first of as many, 9100 if 0.",
    )
    metrics_public: bool = Field(True, description="`/metrics` on `server.port` answers without a credential.")
    otlp_endpoint: str = Field(
        "",
        description="Where traces go, over OTLP/HTTP, as `http://collector:4318/v1/traces`; needs the extra `otel`.",
    )
    docs_public: bool = Field(True, description="`/docs`, `/redoc` and `/openapi.json` answer without a credential.")

    def metrics_ports(self, processes: int) -> range:
        """Return the ports of their own that metrics have, one for each process; none: they are on the main port.

        A port that processes share would give the counts of any one of them.
        """
        first = self.metrics_port or (_FIRST_METRICS_PORT if processes > 1 else 0)
        return range(first, first + processes) if first else range(0)
