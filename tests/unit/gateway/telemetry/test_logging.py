"""One JSON object a line, at the level set, whatever is logged."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import textwrap
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from config import TelemetrySettings
from gateway.telemetry.logging import RequestLog

PROLOGUE = """
import logging
from config import TelemetrySettings
from gateway.telemetry.logging import configure_logging, get_logger
early = get_logger()
configure_logging(TelemetrySettings(log_level={level!r}))
log = get_logger()
"""


def lines_of(code: str, level: str = "debug") -> list[dict[str, Any]]:
    """Run `code` in a process of its own, as logging is configured once for a process, and read what it wrote."""
    script = PROLOGUE.format(level=level) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert done.stderr == b""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """What a process wrote that logs everything there is to log."""
    return lines_of(
        """
        early.info("early")
        log.info("request", status=200, tenant="acme", none=None, ratio=0.5, text="早")
        log.warning("two\\nlines", detail="a\\r\\nb")
        log.info("odd", thing=object(), kind=ValueError("x"), raw=b"\\xff", half="\\ud800", big=2**70, keys={1: 2})
        try:
            raise RuntimeError("what went wrong")
        except RuntimeError:
            log.exception("unhandled_error", request_id="req_1")
        logging.getLogger("uvicorn.error").warning("from %s", "uvicorn")
        logging.getLogger("httpx").info("every request")
        try:
            raise KeyError("k")
        except KeyError:
            logging.getLogger("asyncio").exception("a task died")
        """
    )


def test_everything_is_one_json_object_a_line(lines: list[dict[str, Any]]) -> None:
    events = [line["event"] for line in lines]
    assert events == ["early", "request", "two\nlines", "odd", "unhandled_error", "from uvicorn", "a task died"]


def test_a_line_has_its_level_and_its_time_in_utc(lines: list[dict[str, Any]]) -> None:
    levels = ["info", "info", "warning", "info", "error", "warning", "error"]
    assert [line["level"] for line in lines] == levels
    for line in lines:
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_values_are_json_of_their_kind(lines: list[dict[str, Any]]) -> None:
    line = lines[1]
    assert (line["status"], line["tenant"], line["none"], line["ratio"]) == (200, "acme", None, 0.5)
    assert line["text"] == "早"


def test_what_json_does_not_know_is_written_as_text_and_loses_no_line(lines: list[dict[str, Any]]) -> None:
    line = lines[3]
    assert line["thing"].startswith("<object")
    assert line["kind"] == "x"
    assert line["raw"] == "b'\\xff'"
    assert line["half"]
    assert line["big"] == 2**70
    assert line["keys"] == {"1": 2}


def test_an_exception_is_within_its_line(lines: list[dict[str, Any]]) -> None:
    assert lines[4]["request_id"] == "req_1"
    assert "RuntimeError: what went wrong" in lines[4]["exception"]
    assert "KeyError" in lines[6]["exception"]


def test_other_libraries_are_named_and_heard_from_warning_on(lines: list[dict[str, Any]]) -> None:
    assert [line["logger"] for line in lines[5:]] == ["uvicorn.error", "asyncio"]


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["d", "i", "w", "e", "W", "E"]),
        ("info", ["i", "w", "e", "W", "E"]),
        ("warning", ["w", "e", "W", "E"]),
        ("error", ["e", "E"]),
    ],
)
def test_only_the_level_set_and_what_is_graver_is_written(level: str, written: list[str]) -> None:
    code = """
    log.debug("d"); log.info("i"); log.warning("w"); log.error("e")
    other = logging.getLogger("other")
    other.debug("D"); other.info("I"); other.warning("W"); other.error("E")
    """
    assert [line["event"] for line in lines_of(code, level)] == written


class Counted(io.BytesIO):
    """A file that counts how often it is written to."""

    writes = 0

    def write(self, data: Any) -> int:
        """Count."""
        self.writes += 1
        return super().write(data)


async def test_the_lines_of_a_turn_are_written_together() -> None:
    out = Counted()
    log = RequestLog(TelemetrySettings(), out)
    for number in range(3):
        log.write({"number": number}, quiet=False)
    assert out.writes == 0
    await asyncio.sleep(0)
    log.write({"number": 3}, quiet=False)
    await asyncio.sleep(0)
    assert out.writes == 2
    assert [json.loads(line)["number"] for line in out.getvalue().splitlines()] == [0, 1, 2, 3]


async def test_a_line_that_must_not_be_lost_is_written_at_once_and_with_it_those_before() -> None:
    out = Counted()
    log = RequestLog(TelemetrySettings(), out)
    log.write({"number": 0}, quiet=False)
    log.write({"number": 1}, quiet=False, at_once=True)
    assert [json.loads(line)["number"] for line in out.getvalue().splitlines()] == [0, 1]
    await asyncio.sleep(0)
    assert out.writes == 1


def test_a_line_has_the_time_in_utc_to_the_microsecond(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Counted()
    log = RequestLog(TelemetrySettings(), out)
    for now_ns in (1_700_000_000_123_456_789, 1_700_000_000_000_001_000, 1_700_000_001_999_999_999):
        monkeypatch.setattr(time, "time_ns", lambda now_ns=now_ns: now_ns)
        log.write({}, quiet=False)
    assert [json.loads(line)["timestamp"] for line in out.getvalue().splitlines()] == [
        "2023-11-14T22:13:20.123456Z",
        "2023-11-14T22:13:20.000001Z",
        "2023-11-14T22:13:21.999999Z",
    ]


def test_without_an_event_loop_a_line_is_written_at_once() -> None:
    out = Counted()
    RequestLog(TelemetrySettings(), out).write({"number": 0}, quiet=False)
    assert out.writes == 1
