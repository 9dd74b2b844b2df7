"""Every alert fires when it should and keeps quiet when it should, as rendered into the PrometheusRule."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.chart import render, tool

Series = dict[str, str]

GATEWAY = 'namespace="chat", instance="a"'
ENGINE = 'namespace="chat", instance="e", model_name="gemma-3n", engine="0"'


def requests(outcome: str, rate: str) -> Series:
    """Return the count of requests that end so."""
    return {f'gateway_requests_total{{{GATEWAY}, outcome="{outcome}"}}': rate}


def histogram(name: str, labels: str, quick: str, slow: str, bound: str) -> Series:
    """Return a histogram with so many below `bound` and so many above it, a minute."""
    return {f'{name}_bucket{{{labels}, le="{bound}"}}': quick, f'{name}_bucket{{{labels}, le="+Inf"}}': slow}


CASES: dict[str, tuple[Series, Series]] = {
    "GemmaGatewayAbsent": ({}, {f"gateway_requests_in_flight{{{GATEWAY}}}": "0x60"}),
    "GemmaGatewayRestarts": (
        {f"process_start_time_seconds{{{GATEWAY}}}": "1+300x60", f"gateway_redis_up{{{GATEWAY}}}": "1x60"},
        {f"process_start_time_seconds{{{GATEWAY}}}": "1x60", f"gateway_redis_up{{{GATEWAY}}}": "1x60"},
    ),
    "GemmaNoEngineReady": (
        {f'gateway_replica_ready{{{GATEWAY}, replica="{name}"}}': "0x60" for name in "xy"},
        {
            f'gateway_replica_ready{{{GATEWAY}, replica="{name}"}}': value
            for name, value in (("x", "0x60"), ("y", "1x60"))
        },
    ),
    "GemmaEngineFlaps": (
        {f'gateway_replica_ready{{{GATEWAY}, replica="x"}}': "0 1 " * 30},
        {f'gateway_replica_ready{{{GATEWAY}, replica="x"}}': "0x30 1x30"},
    ),
    "GemmaRedisDown": ({f"gateway_redis_up{{{GATEWAY}}}": "0x60"}, {f"gateway_redis_up{{{GATEWAY}}}": "1x60"}),
    "GemmaRequestsFail": (
        requests("ok", "0+90x60") | requests("upstream_failed", "0+10x60"),
        requests("ok", "0+90x60") | requests("refused", "0+50x60") | requests("client_gone", "0+50x60"),
    ),
    "GemmaOverloaded": (
        requests("ok", "0+90x60") | {f'gateway_place_refused_total{{{GATEWAY}, reason="too_late"}}': "0+9x60"},
        requests("ok", "0+90x60") | {f'gateway_place_refused_total{{{GATEWAY}, reason="too_late"}}': "5x60"},
    ),
    "GemmaQueueLong": (
        {f"gateway_queued_requests{{{GATEWAY}}}": "40x60"},
        {f"gateway_queued_requests{{{GATEWAY}}}": "4x60"},
    ),
    "GemmaFirstTokenSlow": (
        histogram("gateway_time_to_first_token_seconds", f'{GATEWAY}, model="m"', "0+5x60", "0+60x60", "10.0"),
        histogram("gateway_time_to_first_token_seconds", f'{GATEWAY}, model="m"', "0+60x60", "0+60x60", "2.5"),
    ),
    "GemmaTokensSlow": (
        histogram("gateway_inter_token_latency_seconds", f'{GATEWAY}, model="m"', "0+5x60", "0+60x60", "0.5"),
        histogram("gateway_inter_token_latency_seconds", f'{GATEWAY}, model="m"', "0+60x60", "0+60x60", "0.05"),
    ),
    "GemmaRetriesMany": (
        requests("ok", "0+90x60") | {f'gateway_retries_total{{{GATEWAY}, reason="EngineBroke"}}': "0+9x60"},
        requests("ok", "0+90x60") | {f'gateway_retries_total{{{GATEWAY}, reason="EngineBroke"}}': "9x60"},
    ),
    "GemmaLimitsDegraded": (
        {f"gateway_limits_degraded_total{{{GATEWAY}}}": "0+3x60"},
        {f"gateway_limits_degraded_total{{{GATEWAY}}}": "3x60"},
    ),
    "GemmaUsageUnknown": (
        {f'gateway_unmetered_requests_total{{{GATEWAY}, model="m"}}': "0+3x60"},
        {f'gateway_unmetered_requests_total{{{GATEWAY}, model="m"}}': "3x60"},
    ),
    "GemmaCancelSlow": (
        histogram("gateway_client_gone_to_close_seconds", f'{GATEWAY}, phase="queued"', "0+5x60", "0+60x60", "0.25"),
        histogram("gateway_client_gone_to_close_seconds", f'{GATEWAY}, phase="queued"', "0+60x60", "0+60x60", "0.05"),
    ),
    "GemmaCredentialsGuessed": (
        {f'gateway_authentication_failures_total{{{GATEWAY}, reason="invalid"}}': "0+120x60"},
        {f'gateway_authentication_failures_total{{{GATEWAY}, reason="missing"}}': "0+120x60"},
    ),
    "GemmaEngineStuck": (
        {f"vllm:num_requests_running{{{ENGINE}}}": "2x60", f"vllm:iteration_tokens_total_count{{{ENGINE}}}": "7x60"},
        {f"vllm:num_requests_running{{{ENGINE}}}": "2x60", f"vllm:iteration_tokens_total_count{{{ENGINE}}}": "0+7x60"},
    ),
    "GemmaKvCacheFull": (
        {f"vllm:kv_cache_usage_perc{{{ENGINE}}}": "0.99x60"},
        {f"vllm:kv_cache_usage_perc{{{ENGINE}}}": "0.6x60"},
    ),
    "GemmaPreemptions": (
        {f"vllm:num_preemptions_total{{{ENGINE}}}": "0+60x60"},
        {f"vllm:num_preemptions_total{{{ENGINE}}}": "60x60"},
    ),
    "GemmaEngineQueueLong": (
        {f"vllm:num_requests_waiting{{{ENGINE}}}": "40x60"},
        {f"vllm:num_requests_waiting{{{ENGINE}}}": "4x60"},
    ),
}


def groups() -> list[dict[str, Any]]:
    """Return the groups of the rendered rule."""
    (rule,) = render().of("PrometheusRule")
    found: list[dict[str, Any]] = rule["spec"]["groups"]
    return found


def test_every_alert_is_tested_and_explains_itself() -> None:
    rules = [rule for group in groups() for rule in group["rules"]]
    assert {rule["alert"] for rule in rules} == set(CASES)
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}


def case(alert: str, series: Series, count: int) -> dict[str, Any]:
    """Return one of promtool's tests: how many of `alert` fire after 45 minutes."""
    samples = [{"labels": "{}", "value": count}] if count else []
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                "eval_time": "45m",
                "exp_samples": samples,
            }
        ],
    }


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_and_keeps_quiet(alert: str, tmp_path: Path) -> None:
    firing, quiet = CASES[alert]
    hold(tmp_path, case(alert, firing, 1), case(alert, quiet, 0))


def test_a_gateway_that_never_saw_an_engine_has_none_ready(tmp_path: Path) -> None:
    """An engine has no series before a gateway knows of it. Another gateway's engine is no help."""
    one = {f"gateway_requests_in_flight{{{GATEWAY}}}": "0x60"}
    other = {name.replace('"a"', '"b"'): "0x60" for name in one}
    ready = {f'gateway_replica_ready{{{GATEWAY}, replica="x"}}'.replace('"a"', '"b"'): "1x60"}
    alert = "GemmaNoEngineReady"
    hold(tmp_path, case(alert, one, 1), case(alert, one | other | ready, 1), case(alert, other | ready, 0))


def hold(folder: Path, *cases: dict[str, Any]) -> None:
    """Have promtool test the rendered rules by `cases`."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups()}), encoding="utf-8")
    tests = {"rule_files": ["rules.yaml"], "tests": list(cases)}
    (folder / "test.yaml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    command = [tool("promtool"), "test", "rules", str(folder / "test.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": groups()}), encoding="utf-8")
    done = subprocess.run([tool("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert f"{len(CASES)} rules found" in done.stdout, done.stderr
