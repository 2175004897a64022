"""From what routers have counted to the life of prefixes, and to what the decision reckons with."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest

from comptroller.allocation.problem import permitted_pairs
from comptroller.allocation.snapshot import CacheTerms, Sample, Snapshot
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.economics.prices import HostedPrice
from comptroller.kube.store import ClusterStore
from comptroller.observe.measurements import Measurements
from comptroller.runtime.prompt_caches import choices_after, with_caches
from comptroller.runtime.state import Specs
from tests.unit.allocation.build import demand, hosted, route, snapshot

BOUNDS = ("60.0", "150.0", "300.0", "600.0", "1200.0", "2400.0", "3600.0", "7200.0", "+Inf")
CLAUDE = ModelPoolSpec.model_validate(
    {
        "model": {"name": "claude-sonnet-4-5"},
        "location": {"jurisdiction": "US", "perimeter": "external"},
        "hosted": {"provider": "anthropic", "apiKeySecretRef": {"name": "a", "key": "k"}},
    }
)
PRICE = HostedPrice(Decimal(3), Decimal("0.3"), Decimal("3.75"), Decimal(15), "list")
KEY = ("ai/policy/chat", "ai/claude")


def policy(**cache: object) -> RoutingPolicySpec:
    wishes = {"promptCache": cache} if cache else {}
    return RoutingPolicySpec.model_validate({"routes": [{"name": "chat", "backends": [{"pool": "claude"}], **wishes}]})


def gaps_of(seconds: float, count: float = 100.0, routers: float = 1.0) -> Measurements:
    """Gaps all alike, and prompts of which eight tenths are prefix."""
    at = ("ai/policy", "chat")
    counts = {(*at, bound): Sample(count if seconds <= float(bound) else 0.0) for bound in BOUNDS}
    tokens = {"input": 100.0, "cached_input": 50.0, "cache_write_5m": 30.0}
    return Measurements(
        routers={at: Sample(routers)},
        prefix_gaps=counts,
        prefix_tokens={("ai/claude", *at, kind): Sample(one) for kind, one in tokens.items()},
    )


def lives(
    measured: Measurements, spec: RoutingPolicySpec | None = None, before: str | None = None
) -> dict[object, str]:
    specs = Specs(pools={"ai/claude": CLAUDE}, prices={"ai/claude": PRICE})
    store = ClusterStore()
    found = choices_after({}, store, specs, {"ai/policy": spec or policy(ttl="auto")}, measured, {})
    if before is not None:
        changed = {KEY: replace(found[KEY], life=before)}
        found = choices_after(changed, store, specs, {"ai/policy": spec or policy(ttl="auto")}, measured, {})
    return {at: made.life for at, made in found.items()}


@pytest.mark.parametrize(("seconds", "life"), [(50.0, "5m"), (1000.0, "1h"), (7000.0, "none")])
def test_auto_follows_the_measured_gaps(seconds: float, life: str) -> None:
    assert lives(gaps_of(seconds)) == {KEY: life}


def test_what_several_routers_have_counted_is_denser_than_each_has_seen() -> None:
    assert lives(gaps_of(550.0, routers=4.0)) == {KEY: "5m"}


def test_nothing_measured_keeps_what_is_in_force() -> None:
    assert lives(Measurements()) == {KEY: "5m"}
    assert lives(Measurements(), before="1h") == {KEY: "1h"}
    assert lives(gaps_of(1000.0, count=2.0)) == {KEY: "5m"}


def test_what_is_asked_for_is_no_choice_and_who_asks_for_nothing_gets_none() -> None:
    assert lives(gaps_of(1000.0), policy(ttl="5m")) == {KEY: "5m"}
    assert lives(gaps_of(1000.0), policy()) == {}


def world() -> Snapshot:
    asked = replace(demand(1.0), input_tokens=1000.0, output_tokens=10.0)
    return snapshot(
        hosted("claude", input_usd_per_million_tokens=3.0, cached_input_usd_per_million_tokens=0.3),
        replace(route("chat", "claude"), key="ai/policy/chat", name="chat", policy="ai/policy", demand=asked),
    )


def usd_per_request(seen: Snapshot) -> float:
    (one,) = seen.routes
    (pair,) = permitted_pairs(one, {}, {pool.key: pool for pool in seen.hosted_pools})
    return pair.usd / 3600


def test_the_decision_reckons_with_the_life_in_force() -> None:
    """Gaps of 1,000 s, 80 % prefix, 1,000 tokens in and 10 out: with an hour all is found."""
    specs = Specs(pools={"ai/claude": CLAUDE}, prices={"ai/claude": PRICE})
    measured = gaps_of(1000.0)
    costs = {}
    for life in ("5m", "1h"):
        spec = policy(ttl=life)
        choices = choices_after({}, ClusterStore(), specs, {"ai/policy": spec}, measured, {})
        seen = with_caches(world(), specs, choices, measured)
        costs[life] = usd_per_request(seen)
        assert seen.routes[0].demand.cached_ratio == pytest.approx(0.8)

    out = costs["1h"] - (800 * 0.3 + 200 * 3) / 1e6
    assert costs["5m"] - out == pytest.approx((800 * 3.75 + 200 * 3) / 1e6, rel=1e-3)
    assert 0 < out < 0.001


def test_a_route_without_marks_pays_the_plain_price() -> None:
    specs = Specs(pools={"ai/claude": CLAUDE}, prices={"ai/claude": PRICE})

    seen = with_caches(world(), specs, {}, gaps_of(50.0))

    assert seen.routes[0].caches["ai/claude"] == CacheTerms(0.0, 3.0, 1.0)
    assert usd_per_request(seen) == pytest.approx(usd_per_request(world()), rel=1e-6)


def test_nothing_measured_changes_nothing() -> None:
    specs = Specs(pools={"ai/claude": CLAUDE}, prices={"ai/claude": PRICE})

    assert with_caches(world(), specs, {}, Measurements()).routes == world().routes
    assert math.isclose(usd_per_request(with_caches(world(), specs, {}, Measurements())), usd_per_request(world()))
