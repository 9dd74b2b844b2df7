"""Structured logs: one JSON object a line on standard output, keys sorted by nothing but the order of writing.

A request's line never holds a prompt, an answer or a credential.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from typing import Any, BinaryIO

import orjson
import structlog

from config import TelemetrySettings
from config.telemetry import LogLevel

Logger = structlog.typing.FilteringBoundLogger


def configure_logging(settings: TelemetrySettings) -> None:
    """Route structlog and the standard library's loggers (uvicorn's, httpx's) to JSON lines at the level set."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_dump)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(file=sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_dump_text),
            ],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def get_logger() -> Logger:
    """Return the logger; configuration may come later."""
    logger: Logger = structlog.get_logger()
    return logger


class RequestLog:
    """Writes the one line of each request as the logger would, at half its price: no chain of processors.

    The lines of a turn of the event loop are written together at its end, or with one that must not be lost.
    """

    def __init__(self, settings: TelemetrySettings, out: BinaryIO | None = None) -> None:
        self._writes_debug = settings.log_level is LogLevel.DEBUG
        self._writes_info = self._writes_debug or settings.log_level is LogLevel.INFO
        self._out = out
        self._second = 0
        self._second_text = ""
        self._lines: list[bytes] = []

    def write(self, fields: dict[str, Any], *, quiet: bool, at_once: bool = False) -> None:
        """Write `fields` at level info, or at debug where `quiet`; `at_once` where it must not be lost."""
        if self._writes_debug if quiet else self._writes_info:
            level = "debug" if quiet else "info"
            line = {"event": "request", "level": level, "timestamp": self._timestamp(time.time_ns())}
            line.update(fields)
            self._lines.append(_dump(line))
            if at_once:
                self._write_lines()
            elif len(self._lines) == 1:
                self._write_soon()

    def _write_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write_lines()
        else:
            loop.call_soon(self._write_lines)

    def _write_lines(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        out = self._out or sys.stdout.buffer
        out.write(b"\n".join(lines) + b"\n")
        out.flush()

    def _timestamp(self, now_ns: int) -> str:
        """Return the time in UTC as ISO 8601 has it; what the times of a second share is made once a second."""
        second, rest_ns = divmod(now_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{rest_ns // 1000:06}Z"


def _dump(event: Any, **_: Any) -> bytes:
    try:
        return orjson.dumps(event, default=str)
    except TypeError:
        # Half a surrogate pair, a number of more than 64 bits: a line must not fail for what it is about.
        return json.dumps(event, default=str).encode()


def _dump_text(event: Any, **_: Any) -> str:
    return _dump(event).decode()
