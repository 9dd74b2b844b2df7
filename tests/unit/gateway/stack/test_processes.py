import socket
from pathlib import Path

import pytest

from config import Settings
from gateway.stack.errors import StackError
from gateway.stack.processes import specs_of


def settings_of(folder: Path, **changes: int) -> Settings:
    server = {"processes": 3, "port": changes.get("port", 0), "drain_seconds": 7}
    telemetry = {"metrics_port": changes.get("metrics_port", 0)}
    return Settings.model_validate({"server": server, "telemetry": telemetry, "data_dir": str(folder)})


def test_each_process_is_one_gateway_on_the_same_port_with_metrics_of_its_own(tmp_path: Path) -> None:
    specs = specs_of(settings_of(tmp_path, metrics_port=9300), {"A": "b"}, ("gateway",))
    assert [spec.name for spec in specs] == ["gateway 1", "gateway 2", "gateway 3"]
    assert {(spec.argv, spec.log, spec.stop_seconds) for spec in specs} == {(("gateway",), None, 12.0)}
    variables = [spec.variables for spec in specs]
    assert [each["GEMMA_TELEMETRY__METRICS_PORT"] for each in variables] == ["9300", "9301", "9302"]
    assert len({each["GEMMA_SERVER__PORT"] for each in variables}) == 1
    assert {(each["A"], each["GEMMA_SERVER__PROCESSES"], each["GEMMA_SERVER__REUSE_PORT"]) for each in variables} == {
        ("b", "1", "true")
    }


def test_without_a_metrics_port_there_is_one_all_the_same(tmp_path: Path) -> None:
    specs = specs_of(settings_of(tmp_path), {}, ("gateway",))
    assert [spec.variables["GEMMA_TELEMETRY__METRICS_PORT"] for spec in specs] == ["9100", "9101", "9102"]


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(StackError, match=r"server\.port"):
            specs_of(settings_of(tmp_path, port=other.getsockname()[1]), {}, ("gateway",))
