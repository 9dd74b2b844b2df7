"""What the dashboards show: their panels, and the curves of each. `tools/dashboards.py` writes them for Grafana."""

from __future__ import annotations

from dataclasses import dataclass

_RATE = "$__rate_interval"
_OF_GATEWAY = 'namespace=~"$namespace"'
_FAILED = 'outcome=~"failed|upstream_failed|timed_out"'
_OF_ENGINE = 'namespace=~"$namespace", model_name=~"$model"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its curves by legend."""

    title: str
    unit: str
    curves: dict[str, str]
    help: str = ""
    kind: str = "timeseries"


def rate(metric: str, by: str, selector: str = _OF_GATEWAY) -> str:
    """Return the expression of a counter's rate."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}[{_RATE}]))"


def ratio(part: str, whole: str, by: str, selector: str) -> str:
    """Return the expression of one counter's share of another."""
    return f"{rate(part, by, selector)} / {rate(whole, by, selector)}"


def of_gateways(expression: str) -> str:
    """Return the expression, by instance, for the processes that are gateways."""
    return f"sum by (instance) ({expression} and on (instance) gateway_redis_up)"


def quantile(share: float, metric: str, by: str = "", selector: str = _OF_GATEWAY) -> str:
    """Return the expression of a histogram's quantile."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{selector}}}[{_RATE}])))"


def quantiles(metric: str, selector: str = _OF_GATEWAY) -> dict[str, str]:
    """Return the three quantiles that are looked at."""
    return {f"p{share * 100:g}": quantile(share, metric, selector=selector) for share in (0.5, 0.95, 0.99)}


def gauge(metric: str, by: str = "", selector: str = _OF_GATEWAY) -> str:
    """Return the expression of a gauge's sum."""
    return f"sum by ({by}) ({metric}{{{selector}}})" if by else f"sum({metric}{{{selector}}})"


GATEWAY = (
    Panel("Requests", "reqps", {"{{outcome}}": rate("gateway_requests_total", "outcome")}, "By how they ended."),
    Panel(
        "Being served",
        "short",
        {"requests": gauge("gateway_requests_in_flight"), "in line": gauge("gateway_queued_requests")},
    ),
    Panel("Status", "reqps", {"{{status}}": rate("gateway_requests_total", "status")}),
    Panel("Time to first token", "s", quantiles("gateway_time_to_first_token_seconds"), "From the request's head."),
    Panel(
        "Time for each token after", "s", quantiles("gateway_inter_token_latency_seconds"), "One value a whole stream."
    ),
    Panel("Duration", "s", quantiles("gateway_request_duration_seconds"), "Of requests of any kind."),
    Panel("Tokens", "short", {"{{kind}}": rate("gateway_tokens_total", "kind")}, "A second, as engines counted them."),
    Panel("Wait for a place", "s", quantiles("gateway_queue_wait_seconds"), "Of requests that found none free."),
    Panel("No place", "reqps", {"{{reason}}": rate("gateway_place_refused_total", "reason")}),
    Panel(
        "Engines ready",
        "short",
        {"{{replica}}": gauge("gateway_replica_ready", "replica")},
        "How many gateways say so.",
    ),
    Panel("At engines", "short", {"{{replica}}": gauge("gateway_replica_in_flight", "replica")}),
    Panel(
        "Second tries",
        "reqps",
        {"{{reason}}": rate("gateway_retries_total", "reason"), "denied": rate("gateway_retries_denied_total", "")},
    ),
    Panel(
        "From a client's going to its engine's end",
        "s",
        {"p99 {{phase}}": quantile(0.99, "gateway_client_gone_to_close_seconds", "phase")},
    ),
    Panel("Redis", "short", {"{{instance}}": gauge("gateway_redis_up", "instance")}, "1 while it answers."),
    Panel(
        "Redis's failures",
        "reqps",
        {
            "{{error}}": rate("gateway_redis_failures_total", "error"),
            "limited alone": rate("gateway_limits_degraded_total", ""),
        },
    ),
    Panel(
        "Sessions",
        "reqps",
        {
            "made": rate("gateway_sessions_made_total", ""),
            "{{reason}}": rate("gateway_session_conflicts_total", "reason"),
        },
    ),
    Panel(
        "CPU of gateways",
        "percentunit",
        {"{{instance}}": of_gateways(f"rate(process_cpu_seconds_total{{{_OF_GATEWAY}}}[{_RATE}])")},
        "One core each.",
    ),
    Panel(
        "Memory of gateways",
        "bytes",
        {"{{instance}}": of_gateways(f"process_resident_memory_bytes{{{_OF_GATEWAY}}}")},
    ),
)

ENGINE = (
    Panel(
        "Requests in the engine",
        "short",
        {
            "running": gauge("vllm:num_requests_running", selector=_OF_ENGINE),
            "waiting": gauge("vllm:num_requests_waiting", selector=_OF_ENGINE),
        },
    ),
    Panel("KV cache", "percentunit", {"{{instance}}": f"max by (instance) (vllm:kv_cache_usage_perc{{{_OF_ENGINE}}})"}),
    Panel(
        "Preemptions",
        "reqps",
        {"{{instance}}": rate("vllm:num_preemptions_total", "instance", _OF_ENGINE)},
        "Work thrown away for want of cache.",
    ),
    Panel(
        "Prompt tokens",
        "short",
        {
            "read": rate("vllm:prompt_tokens_total", "", _OF_ENGINE),
            "from the cache": rate("vllm:prompt_tokens_cached_total", "", _OF_ENGINE),
        },
        "A second.",
    ),
    Panel(
        "Generated tokens",
        "short",
        {"{{instance}}": rate("vllm:generation_tokens_total", "instance", _OF_ENGINE)},
        "A second.",
    ),
    Panel(
        "Prefix cache",
        "percentunit",
        {"hits": ratio("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total", "", _OF_ENGINE)},
    ),
    Panel("Time to first token in the engine", "s", quantiles("vllm:time_to_first_token_seconds", _OF_ENGINE)),
    Panel(
        "Tokens a step",
        "short",
        {"mean": ratio("vllm:iteration_tokens_total_sum", "vllm:iteration_tokens_total_count", "", _OF_ENGINE)},
        "How full batches are.",
    ),
    Panel(
        "Steps",
        "short",
        {"{{instance}}": rate("vllm:iteration_tokens_total_count", "instance", _OF_ENGINE)},
        "A second.",
    ),
    Panel(
        "Endings", "reqps", {"{{finished_reason}}": rate("vllm:request_success_total", "finished_reason", _OF_ENGINE)}
    ),
    Panel(
        "Refused by the engine", "reqps", {"{{reason}}": rate("vllm:admission_rejections_total", "reason", _OF_ENGINE)}
    ),
)

_OF_TENANT = f'{_OF_GATEWAY}, tenant=~"$tenant"'

_TOKENS_OF_RANGE = f"sort_desc(sum by (tenant, kind) (increase(gateway_tokens_total{{{_OF_TENANT}}}[$__range])))"
_TOKENS = "gateway_tokens_total"
_CACHED, _PROMPT = (f'{_OF_TENANT}, kind="{kind}"' for kind in ("cached", "prompt"))

TENANTS = (
    Panel("Requests", "reqps", {"{{tenant}}": rate("gateway_requests_total", "tenant", _OF_TENANT)}),
    Panel(
        "Prompt tokens",
        "short",
        {"{{tenant}}": rate("gateway_tokens_total", "tenant", f'{_OF_TENANT}, kind="prompt"')},
        "A second.",
    ),
    Panel(
        "Generated tokens",
        "short",
        {"{{tenant}}": rate("gateway_tokens_total", "tenant", f'{_OF_TENANT}, kind="completion"')},
        "A second.",
    ),
    Panel(
        "Refused", "reqps", {"{{tenant}}": rate("gateway_requests_total", "tenant", f'{_OF_TENANT}, outcome="refused"')}
    ),
    Panel(
        "Failed",
        "reqps",
        {"{{tenant}}": rate("gateway_requests_total", "tenant", f"{_OF_TENANT}, {_FAILED}")},
    ),
    Panel(
        "Left by the client",
        "reqps",
        {"{{tenant}}": rate("gateway_requests_total", "tenant", f'{_OF_TENANT}, outcome="client_gone"')},
    ),
    Panel(
        "Tokens of the time shown",
        "short",
        {"{{tenant}} {{kind}}": _TOKENS_OF_RANGE},
        kind="table",
    ),
    Panel(
        "Prompt tokens from the cache",
        "percentunit",
        {"{{tenant}}": f"{rate(_TOKENS, 'tenant', _CACHED)} / {rate(_TOKENS, 'tenant', _PROMPT)}"},
    ),
)

DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...], dict[str, str]]] = {
    "gateway": ("Gemma gateway", GATEWAY, {"namespace": "label_values(gateway_requests_in_flight, namespace)"}),
    "engine": (
        "Gemma engines",
        ENGINE,
        {
            "namespace": "label_values(vllm:num_requests_running, namespace)",
            "model": "label_values(vllm:num_requests_running, model_name)",
        },
    ),
    "tenants": (
        "Gemma tenants",
        TENANTS,
        {
            "namespace": "label_values(gateway_requests_in_flight, namespace)",
            "tenant": "label_values(gateway_requests_total, tenant)",
        },
    ),
}
