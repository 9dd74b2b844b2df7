"""Metrics are an interface: these names, these labels, counted exactly once."""

from __future__ import annotations

import re

import pytest

from gateway.domain import Outcome, Usage
from gateway.telemetry.metrics import Metrics

# name as scraped → labels
DOCUMENTED: dict[str, tuple[str, ...]] = {
    "gateway_authentication_failures_total": ("reason",),
    "gateway_requests_total": ("route", "tenant", "model", "status", "outcome"),
    "gateway_request_duration_seconds": ("route", "model"),
    "gateway_time_to_first_token_seconds": ("model",),
    "gateway_inter_token_latency_seconds": ("model",),
    "gateway_tokens_total": ("tenant", "model", "kind"),
    "gateway_unmetered_requests_total": ("model",),
    "gateway_requests_in_flight": (),
    "gateway_retries_total": ("reason",),
    "gateway_retries_denied_total": (),
    "gateway_place_refused_total": ("reason",),
    "gateway_client_gone_to_close_seconds": ("phase",),
    "gateway_replica_ready": ("replica",),
    "gateway_replica_in_flight": ("replica",),
    "gateway_replica_prefill_tokens": ("replica",),
    "gateway_replica_ejections_total": ("replica",),
    "gateway_queued_requests": (),
    "gateway_queue_wait_seconds": (),
    "gateway_redis_up": (),
    "gateway_redis_failures_total": ("error",),
    "gateway_redis_refused_total": (),
    "gateway_responses_kept_total": (),
    "gateway_responses_evicted_total": (),
    "gateway_sessions_made_total": (),
    "gateway_session_bytes_total": (),
    "gateway_idempotent_requests_total": ("outcome",),
    "gateway_session_trims_total": (),
    "gateway_session_conflicts_total": ("reason",),
    "gateway_session_wait_seconds": (),
    "gateway_session_messages_waiting": (),
    "gateway_limits_degraded_total": (),
    "gateway_limit_refusals_total": ("scope", "limit"),
    "gateway_prompts_counted_total": ("outcome",),
    "gateway_reservation_used_ratio": (),
    "gateway_reservations_reaped_total": (),
    "gateway_settles_held": (),
    "gateway_settles_lost_total": (),
    "gateway_gateways": (),
}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return a sample, None where there is none."""
    return metrics.registry.get_sample_value(name, labels)


def test_the_names_are_the_documented_ones() -> None:
    text = Metrics().render().decode()
    found = set(re.findall(r"^# TYPE (gateway_\w+) (?!gauge$.*_created)", text, re.MULTILINE))
    assert {name for name in found if not name.endswith("_created")} == set(DOCUMENTED)


def test_the_labels_are_the_documented_ones() -> None:
    metrics = Metrics()
    for collector in vars(metrics).values():
        name = getattr(collector, "_name", None)
        if name is not None:
            scraped = name if name in DOCUMENTED else f"{name}_total"
            assert collector._labelnames == DOCUMENTED[scraped]


def test_every_metric_has_a_help_text() -> None:
    for line in Metrics().render().decode().splitlines():
        if line.startswith("# HELP gateway_"):
            assert line.endswith(".")


def test_no_label_can_be_made_up_by_a_client() -> None:
    assert not {label for labels in DOCUMENTED.values() for label in labels} & {"user", "path", "session", "request_id"}


def test_the_process_itself_is_measured() -> None:
    text = Metrics().render().decode()
    assert "process_resident_memory_bytes" in text
    assert "python_info" in text


def test_two_gateways_in_one_process_do_not_share_counts() -> None:
    one, other = Metrics(), Metrics()
    one.degraded.inc()
    assert value(other, "gateway_limits_degraded_total") == 0


@pytest.mark.parametrize(
    ("status", "shown"),
    [(200, "2xx"), (201, "2xx"), (404, "4xx"), (429, "4xx"), (499, "4xx"), (503, "5xx"), (0, "0xx")],
)
def test_a_request_is_counted_once_by_the_class_of_its_status(status: int, shown: str) -> None:
    metrics = Metrics()
    metrics.request_ended("/v1/x", "acme", "m", status, Outcome.OK, 0.3)
    labels = {"route": "/v1/x", "tenant": "acme", "model": "m", "status": shown, "outcome": "ok"}
    assert value(metrics, "gateway_requests_total", **labels) == 1
    assert value(metrics, "gateway_request_duration_seconds_count", route="/v1/x", model="m") == 1
    assert value(metrics, "gateway_request_duration_seconds_sum", route="/v1/x", model="m") == 0.3


def test_requests_add_up_and_do_not_mix() -> None:
    metrics = Metrics()
    for tenant, times in (("a", 3), ("b", 2)):
        for _ in range(times):
            metrics.request_ended("/r", tenant, "m", 200, Outcome.OK, 0.1)
    for tenant, times in (("a", 3), ("b", 2)):
        labels = {"route": "/r", "tenant": tenant, "model": "m", "status": "2xx", "outcome": "ok"}
        assert value(metrics, "gateway_requests_total", **labels) == times
    assert value(metrics, "gateway_request_duration_seconds_count", route="/r", model="m") == 5


def test_two_metrics_with_the_same_labels_do_not_mix() -> None:
    metrics = Metrics()
    metrics.first_token_seen("m", 0.2)
    metrics.unmetered.labels("m").inc()
    metrics.first_token_seen("m", 0.3)
    assert value(metrics, "gateway_time_to_first_token_seconds_count", model="m") == 2
    assert value(metrics, "gateway_unmetered_requests_total", model="m") == 1


def test_tokens_are_counted_by_kind() -> None:
    metrics = Metrics()
    metrics.tokens_used("acme", "m", Usage(10, 3, 4))
    metrics.tokens_used("acme", "m", Usage(1, 1))
    counts = [value(metrics, "gateway_tokens_total", tenant="acme", model="m", kind=kind) for kind in _KINDS]
    assert counts == [11, 4, 4]


def test_tokens_of_tenants_and_models_do_not_mix() -> None:
    metrics = Metrics()
    for tenant, model in (("acme", "m"), ("acme", "n"), ("beta", "m"), ("acme", "m")):
        metrics.tokens_used(tenant, model, Usage(10, 1, 2))
    for tenant, model, times in (("acme", "m", 2), ("acme", "n", 1), ("beta", "m", 1)):
        counts = [value(metrics, "gateway_tokens_total", tenant=tenant, model=model, kind=kind) for kind in _KINDS]
        assert counts == [10 * times, times, 2 * times]


def test_any_number_of_tenants_has_its_tokens_counted_in_a_bounded_number_of_rows() -> None:
    metrics = Metrics()
    for _ in range(2):
        for number in range(1200):
            metrics.tokens_used(f"tenant-{number}", "m", Usage(10, 1))
    samples = [sample for family in metrics.tokens.collect() for sample in family.samples]
    shown = [sample for sample in samples if sample.name.endswith("_total") and sample.labels["kind"] == "prompt"]
    counts = {sample.labels["tenant"]: sample.value for sample in shown}
    assert len(counts) == 1001
    assert (counts["tenant-0"], counts["other"]) == (20, 2 * 200 * 10)
    assert len(metrics._used) == 1000


_KINDS = ("prompt", "completion", "cached")


def test_without_cached_tokens_there_is_no_such_series() -> None:
    metrics = Metrics()
    metrics.tokens_used("acme", "m", Usage(1, 1))
    assert value(metrics, "gateway_tokens_total", tenant="acme", model="m", kind="cached") is None


def test_a_failure_of_redis_is_counted_and_shows_it_as_away() -> None:
    metrics = Metrics()
    metrics.redis_up.set(1)
    metrics.redis_failed("TimeoutError")
    metrics.redis_failed("TimeoutError")
    assert value(metrics, "gateway_redis_up") == 0
    assert value(metrics, "gateway_redis_failures_total", error="TimeoutError") == 2


def test_any_number_of_tenants_makes_a_bounded_number_of_labels() -> None:
    metrics = Metrics()
    for number in range(1200):
        metrics.request_ended("/r", f"tenant-{number}", "m", 200, Outcome.OK, 0.1)
    samples = [sample for family in metrics.requests.collect() for sample in family.samples]
    counts = {sample.labels["tenant"]: sample.value for sample in samples if sample.name == "gateway_requests_total"}
    assert len(counts) == 1001
    assert counts["other"] == 200


@pytest.mark.parametrize(("tokens", "values"), [(0, 0.0), (1, 0.0), (11, 1.0)])
def test_the_pace_of_a_stream_needs_a_second_token(tokens: int, values: float) -> None:
    metrics = Metrics()
    metrics.stream_ended("gemma-3n", 2.0, tokens)
    name = "gateway_inter_token_latency_seconds"
    assert (value(metrics, f"{name}_count", model="gemma-3n") or 0.0) == values
    assert (value(metrics, f"{name}_sum", model="gemma-3n") or 0.0) == pytest.approx(0.2 * values)


def test_requests_that_differ_in_one_label_have_rows_of_their_own() -> None:
    metrics = Metrics()
    first = ("/r", "acme", "m", 200, Outcome.OK)
    others = [("/s", *first[1:]), ("/r", "other", *first[2:]), ("/r", "acme", "n", *first[3:])]
    others += [(*first[:3], 404, Outcome.OK), (*first[:4], Outcome.CLIENT_GONE)]
    for _ in range(2):
        for ended in (first, *others):
            metrics.request_ended(*ended, 0.1)
    for route, tenant, model, status, outcome in (first, *others):
        labels = {"route": route, "tenant": tenant, "model": model, "status": f"{status // 100}xx", "outcome": outcome}
        assert metrics.registry.get_sample_value("gateway_requests_total", labels) == 2
