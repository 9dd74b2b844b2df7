"""Every metric of the gateway. Names, labels and units are an interface: dashboards and alerts are built on them.

Labels are bounded: `model` is a model that an engine serves (else `unknown`), `route` is a template, never a path that
a client made up, `tenant` comes from a credential and is `other` beyond the first thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from gateway.domain import Outcome, Usage
from gateway.telemetry.last_errors import LastErrors
from gateway.telemetry.tallies import Distribution, Tally, TallyCounter, TallyHistogram

MetricT = TypeVar("MetricT", Counter, Histogram, Gauge)

_MAX_TENANTS = 1000
_DURATION_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_FIRST_TOKEN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RATIO_BUCKETS = (0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.5, 2, 4)
_TOKEN_GAP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)
_CLOSE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


class Metrics:
    """One registry for one gateway process. Not a module global, so that two apps in one test do not share counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.last_errors = LastErrors()
        self._tenants: set[str] = set()
        self._ended: dict[tuple[str, str, str, int, Outcome], tuple[Tally, Distribution]] = {}
        self._used: dict[tuple[str, str], tuple[Tally, Tally]] = {}
        self._children: dict[tuple[object, tuple[str, ...]], Counter | Histogram | Gauge] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        new = self.registry
        self.requests = TallyCounter(
            "gateway_requests", "Requests by route, status class and outcome.",
            ["route", "tenant", "model", "status", "outcome"], registry=new,
        )  # fmt: skip
        self.duration = TallyHistogram(
            "gateway_request_duration_seconds", "From the request's head to the last byte of the answer.",
            ["route", "model"], buckets=_DURATION_BUCKETS, registry=new,
        )  # fmt: skip
        self.first_token = TallyHistogram(
            "gateway_time_to_first_token_seconds", "From the request's head to the first content.",
            ["model"], buckets=_FIRST_TOKEN_BUCKETS, registry=new,
        )  # fmt: skip
        self.token_gap = Histogram(
            "gateway_inter_token_latency_seconds",
            "Of a whole stream: from its first content to its end, for each token after the first.",
            ["model"], buckets=_TOKEN_GAP_BUCKETS, registry=new,
        )  # fmt: skip
        self.tokens = TallyCounter(
            "gateway_tokens", "Tokens as the engine counted them.", ["tenant", "model", "kind"], registry=new
        )
        self.unmetered = Counter(
            "gateway_unmetered_requests", "Requests sent to an engine of which no usage was ever seen.",
            ["model"], registry=new,
        )  # fmt: skip
        self.serving = 0
        """Requests being served now. Read when asked for: a gauge that is set takes a lock, twice a request."""
        self.in_flight = Gauge("gateway_requests_in_flight", "Requests being served now.", registry=new)
        self.in_flight.set_function(lambda: self.serving)
        self.retries = Counter("gateway_retries", "Second tries at another engine.", ["reason"], registry=new)
        self.retries_denied = Counter(
            "gateway_retries_denied", "Second tries that the retry budget did not allow.", registry=new
        )
        self.place_refused = Counter(
            "gateway_place_refused", "Requests that got no place at an engine.", ["reason"], registry=new
        )
        self.cancel_to_close = Histogram(
            "gateway_client_gone_to_close_seconds",
            "From the client's going to the close of the engine's connection.",
            ["phase"], buckets=_CLOSE_BUCKETS, registry=new,
        )  # fmt: skip
        self.replica_ready = Gauge(
            "gateway_replica_ready", "1 while the engine takes requests.", ["replica"], registry=new
        )
        self.replica_in_flight = Gauge(
            "gateway_replica_in_flight", "Requests this gateway has at the engine.", ["replica"], registry=new
        )
        self.replica_prefill_tokens = Gauge(
            "gateway_replica_prefill_tokens", "Prompt tokens at the engine, estimated, before their first token.",
            ["replica"], registry=new,
        )  # fmt: skip
        self.replica_ejections = Counter(
            "gateway_replica_ejections", "How often the engine was taken out for failing requests.",
            ["replica"], registry=new,
        )  # fmt: skip
        self.queued = Gauge("gateway_queued_requests", "Requests waiting for a place at an engine.", registry=new)
        self.queue_wait = Histogram(
            "gateway_queue_wait_seconds", "How long requests waited for a place that was not free, in vain or not.",
            buckets=_FIRST_TOKEN_BUCKETS, registry=new,
        )  # fmt: skip
        self.redis_up = Gauge("gateway_redis_up", "1 while Redis answers.", registry=new)
        self.redis_failures = Counter("gateway_redis_failures", "Failed round trips to Redis.", ["error"], registry=new)
        self.redis_refused = Counter(
            "gateway_redis_refused", "Calls nobody waited for, such as settles, that Redis would not do.", registry=new
        )
        self.responses_kept = Counter("gateway_responses_kept", "Responses kept.", registry=new)
        self.responses_evicted = Counter(
            "gateway_responses_evicted", "Kept responses that made room for newer ones.", registry=new
        )
        self.sessions_made = Counter("gateway_sessions_made", "Sessions made.", registry=new)
        self.session_bytes = Counter("gateway_session_bytes", "Bytes of messages appended.", registry=new)
        self.session_trims = Counter(
            "gateway_session_trims", "Prompts whose oldest turns were left out anew.", registry=new
        )
        self.idempotent = Counter(
            "gateway_idempotent_requests", "Requests with an Idempotency-Key.", ["outcome"], registry=new
        )
        self.session_conflicts = Counter(
            "gateway_session_conflicts", "Messages that did not get, or lost, their session.", ["reason"], registry=new
        )
        self.session_wait = Histogram(
            "gateway_session_wait_seconds", "How long messages waited for a busy session, in vain or not.",
            buckets=_FIRST_TOKEN_BUCKETS, registry=new,
        )  # fmt: skip
        self.sessions_waiting = Gauge(
            "gateway_session_messages_waiting", "Messages waiting for a busy session.", registry=new
        )
        self.authentication_failures = Counter(
            "gateway_authentication_failures", "Requests without a credential that holds.", ["reason"], registry=new
        )
        self.degraded = Counter(
            "gateway_limits_degraded", "Requests that were limited by this process alone.", registry=new
        )

        self.limit_refusals = Counter(
            "gateway_limit_refusals", "Requests refused by a limit of their caller's.", ["scope", "limit"], registry=new
        )
        self.prompts_counted = Counter(
            "gateway_prompts_counted", "Prompts near a limit that an engine was to count before they were admitted.",
            ["outcome"], registry=new,
        )  # fmt: skip
        self.reservation_ratio = TallyHistogram(
            "gateway_reservation_used_ratio", "Tokens used for each token reserved; above 1 there was debt.",
            [], buckets=_RATIO_BUCKETS, registry=new,
        )  # fmt: skip
        self.reaped = Counter(
            "gateway_reservations_reaped", "Reservations that a gateway left open, booked as unsettled.", registry=new
        )
        self.settles_held = Gauge("gateway_settles_held", "Settles in memory until Redis is back.", registry=new)
        self.settles_lost = Counter("gateway_settles_lost", "Settles lost, as too many were held.", registry=new)
        self.gateways = Gauge("gateway_gateways", "Gateways on this Redis when it was last asked.", registry=new)

    def limit_refused(self, scope: str, limit: str) -> None:
        """Count a request that was refused by a limit: whose, and which."""
        self._child(self.limit_refusals, scope, limit).inc()

    def reservation_settled(self, reserved_tokens: int, used_tokens: int) -> None:
        """Observe how good an estimate was."""
        if reserved_tokens:
            self.reservation_ratio.of().observe(used_tokens / reserved_tokens)

    def replica_joined(self, name: str, in_flight: Callable[[], float], prefill_tokens: Callable[[], float]) -> None:
        """Show a new engine; its loads are read when they are asked for."""
        self.replica_ready.labels(name).set(0)
        self.replica_in_flight.labels(name).set_function(in_flight)
        self.replica_prefill_tokens.labels(name).set_function(prefill_tokens)

    def replica_gone(self, name: str) -> None:
        """Show an engine no more."""
        for metric in (self.replica_ready, self.replica_in_flight, self.replica_prefill_tokens, self.replica_ejections):
            with suppress(KeyError):
                metric.remove(name)

    def redis_failed(self, error: str) -> None:
        """Count a failed round trip and show Redis as away."""
        self.redis_up.set(0)
        self.redis_failures.labels(error).inc()

    def request_ended(
        self, route: str, tenant: str, model: str, status: int, outcome: Outcome, duration_seconds: float
    ) -> None:
        """Count one request; called exactly once for each."""
        key = (route, tenant, model, status, outcome)
        rows = self._ended.get(key)
        if rows is None:
            count = self.requests.of(route, self._tenant(tenant), model, f"{status // 100}xx", outcome)
            rows = (count, self.duration.of(route, model))
            if len(self._ended) < _MAX_TENANTS:
                self._ended[key] = rows
        count, duration = rows
        count.value += 1
        duration.observe(duration_seconds)

    def tokens_used(self, tenant: str, model: str, usage: Usage) -> None:
        """Count the tokens of one answer."""
        rows = self._used.get((tenant, model))
        if rows is None:
            label = self._tenant(tenant)
            rows = (self.tokens.of(label, model, "prompt"), self.tokens.of(label, model, "completion"))
            if len(self._used) < _MAX_TENANTS:
                self._used[tenant, model] = rows
        prompt, completion = rows
        prompt.value += usage.prompt_tokens
        completion.value += usage.completion_tokens
        if usage.cached_tokens:
            self.tokens.of(self._tenant(tenant), model, "cached").add(usage.cached_tokens)

    def first_token_seen(self, model: str, seconds: float) -> None:
        """Observe a time to first token."""
        self.first_token.of(model).observe(seconds)

    def stream_ended(self, model: str, seconds: float, tokens: int) -> None:
        """Observe how fast a whole stream was: `tokens` in the `seconds` since its first content."""
        if tokens > 1:
            self._child(self.token_gap, model).observe(seconds / (tokens - 1))

    def _tenant(self, tenant: str) -> str:
        """Return the label of a tenant; an issuer of tokens may name any number of them, a registry may not."""
        if tenant not in self._tenants:
            if len(self._tenants) >= _MAX_TENANTS:
                return "other"
            self._tenants.add(tenant)
        return tenant

    def _child(self, metric: MetricT, *labels: str) -> MetricT:
        """Return the child with these labels; prometheus_client would look for it under a lock at each call."""
        key = (metric, labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return cast("MetricT", child)

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.registry)
