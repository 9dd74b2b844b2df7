"""Structured logs: one JSON object a line on standard output, keys sorted by nothing but the order of writing.

A request's line never holds a prompt, an answer or a credential.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import orjson
import structlog

from config import TelemetrySettings

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


def _dump(event: Any, **_: Any) -> bytes:
    try:
        return orjson.dumps(event, default=str)
    except TypeError:
        # Half a surrogate pair, a number of more than 64 bits: a line must not fail for what it is about.
        return json.dumps(event, default=str).encode()


def _dump_text(event: Any, **_: Any) -> str:
    return _dump(event).decode()
