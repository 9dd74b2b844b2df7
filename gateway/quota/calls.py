"""The scripts' calls of one plan, each packed but for what differs from request to request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.domain import RequestId, Usage
from gateway.quota.estimate import Expected
from gateway.quota.rules import Scope, ScopeRules
from gateway.quota.terms import Terms
from gateway.store import Prepared, keys, load_script

RESERVE = load_script("gateway.quota", "reserve.lua")
SETTLE = load_script("gateway.quota", "settle.lua")

Arguments = tuple[str | int | float, ...]
_RESERVE_VARYING, _SETTLE_VARYING = 3, 6


@dataclass(frozen=True, slots=True)
class Calls:
    """Three of them settle, one for each charging rule."""

    reserve: Prepared
    nothing: Prepared
    """Gives back to all buckets, and books nothing."""
    usage: Prepared
    """Only to the buckets that count tokens: an answered request stays counted."""
    reserved: Prepared
    """To none: what was reserved is what is charged."""


class _Tail(NamedTuple):
    """What a script is told of buckets: which hashes, and what is in them."""

    keys: tuple[str, ...]
    arguments: Arguments


def reserve_arguments(request_id: RequestId, expected: Expected) -> Arguments:
    """Return what a reserve of one request ends with."""
    return (request_id, expected.prompt_tokens, expected.output_tokens)


def settle_arguments(request_id: RequestId, expected: Expected, used: Usage, *, alone: bool = False) -> Arguments:
    """Return what a settle of one request ends with. `alone`: book it though Redis never knew of it."""
    prompt_tokens, output_tokens = used.prompt_tokens, used.completion_tokens
    return (request_id, int(alone), expected.tokens, prompt_tokens, output_tokens, used.cached_tokens)


def calls_of(
    tenant: str,
    ledger_field: str,
    terms: Terms,
    scopes: Iterable[ScopeRules],
    bucket_key: Mapping[Scope, Callable[[], str]],
    set_keys: tuple[str, ...],
) -> Calls:
    """Return the calls of a plan."""
    field = ledger_field if terms.ledger_seconds else ""
    every, tokens, none = _tail(scopes, bucket_key), _tail(scopes, bucket_key, tokens_only=True), _Tail((), (0,))
    open_keys = (keys.leases(tenant), keys.reservations(tenant))
    closing_keys = (*open_keys, keys.reaped(tenant), keys.usage(tenant, terms.day))
    limits = [each.concurrent_requests for each in scopes if each.concurrent_requests]

    def settle(tail: _Tail, booked_under: str, unmetered: int = 0) -> Prepared:
        arguments = (terms.moment_us, booked_under, terms.ledger_seconds, unmetered, *tail.arguments)
        return Prepared(SETTLE, (*closing_keys, *tail.keys, *set_keys), arguments, _SETTLE_VARYING)

    return Calls(
        reserve=Prepared(
            RESERVE,
            (*open_keys, *every.keys, *set_keys),
            (terms.lease_us, terms.moment_us, field, len(limits), *limits, *every.arguments),
            _RESERVE_VARYING,
        ),
        nothing=settle(every, ""),
        usage=settle(tokens, field),
        reserved=settle(none, field, unmetered=1),
    )


def _tail(
    scopes: Iterable[ScopeRules], bucket_key: Mapping[Scope, Callable[[], str]], *, tokens_only: bool = False
) -> _Tail:
    hashes: list[str] = []
    arguments: list[str | int | float] = []
    for each in scopes:
        rules = [rule for rule in each.rules if rule.counts_tokens or not tokens_only]
        if rules:
            hashes.append(bucket_key[each.scope]())
            arguments.append(len(rules))
            for rule in rules:
                arguments += [rule.name, int(rule.counts_tokens), rule.capacity, rule.window_seconds]
    return _Tail(tuple(hashes), (len(hashes), *arguments))
