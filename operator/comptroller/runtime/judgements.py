"""What judges have found out about the pools of each route: kept from round to round, and given to the decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from comptroller.allocation.snapshot import Route, Sample
from comptroller.api.routingpolicy import Route as RouteSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.kube.resources import ROUTING_POLICY
from comptroller.kube.store import ClusterStore
from comptroller.learning.pass_rates import Evidence, after, pass_rate
from comptroller.observe.measurements import Measurements, find

NOT_YET = "no verdict counter yet"
Key = tuple[str, str]
"""namespace/policy/route, and the pool as namespace/name."""


@dataclass(frozen=True, slots=True)
class Judgements:
    """Of all routes that have an evaluator."""

    evidence: Mapping[Key, Evidence] = field(default_factory=dict)
    verified_ratio: Mapping[str, float] = field(default_factory=dict)  # route -> part of its answers that is verified

    def of(self, route: str, pool: str) -> Evidence | None:
        """What is known of a pool on a route; None where nobody judges."""
        return self.evidence.get((route, pool))


def judgements_after(
    before: Judgements,
    store: ClusterStore,
    policies: Mapping[str, RoutingPolicySpec],
    measured: Measurements,
    window_seconds: float,
    now_seconds: float,
) -> Judgements:
    """What is known after this round. Where the counters are not known nothing is learned and nothing forgotten: a
    Prometheus that is away must not change a plan. A route without an evaluator is forgotten."""
    evidence: dict[Key, Evidence] = {}
    verified: dict[str, float] = {}
    for policy, spec in policies.items():
        remembered = _remembered(store, policy)
        for route in (one for one in spec.routes if one.evaluator is not None):
            key = f"{policy}/{route.name}"
            for pool in _seen(policy, route):
                known = before.of(key, pool) or remembered.get((key, pool)) or Evidence()
                evidence[key, pool] = _learned(known, measured, policy, route.name, pool, window_seconds, now_seconds)
            verified[key] = _verified(before.verified_ratio.get(key, 0.0), measured, policy, route)
    return Judgements(evidence, verified)


def _seen(policy: str, route: RouteSpec) -> list[str]:
    """The pools whose answers are judged: the backends, and the shadow."""
    names = [one.pool for one in route.backends] + ([route.shadow.pool] if route.shadow is not None else [])
    return [f"{policy.split('/', 1)[0]}/{name}" for name in dict.fromkeys(names)]


def _learned(
    before: Evidence, measured: Measurements, policy: str, route: str, pool: str, window: float, now: float
) -> Evidence:
    passed, failed = (find(measured.verdicts, (policy, route, pool, one), NOT_YET) for one in ("pass", "fail"))
    if not isinstance(passed, Sample) or not isinstance(failed, Sample):
        return replace(before, at_seconds=now)
    # the rates speak of the last window; of what was before it nothing is known
    since = replace(before, at_seconds=max(before.at_seconds, now - window))
    return after(since, passed.value, failed.value, now)


def _verified(before: float, measured: Measurements, policy: str, route: RouteSpec) -> float:
    """The part of a route's answers that clients have verified, and asked again when they fail."""
    if route.evaluator is None or not route.evaluator.escalate_on_fail:
        return 0.0
    verified = find(measured.verified, (policy, route.name), NOT_YET)
    answered = find(measured.answered, (policy, route.name), NOT_YET)
    if not isinstance(verified, Sample) or not isinstance(answered, Sample):
        return before
    return min(1.0, verified.value / answered.value) if answered.value > 0.0 else before


def _remembered(store: ClusterStore, policy: str) -> dict[Key, Evidence]:
    """What the policy's status tells of the judged answers that a predecessor of this process has seen."""
    namespace, name = policy.split("/", 1)
    status = (store.get(ROUTING_POLICY, (namespace, name)) or {}).get("status") or {}
    found: dict[Key, Evidence] = {}
    for route in status.get("routes") or ():
        for one in route.get("judged") or ():
            evidence = _told(one)
            if evidence is not None:
                found[f"{policy}/{route.get('name')}", f"{namespace}/{one.get('pool')}"] = evidence
    return found


def _told(judged: Mapping[str, Any]) -> Evidence | None:
    try:
        answers, passed = float(judged["answers"]), float(judged["passed"])
    except (KeyError, TypeError, ValueError):
        return None
    return Evidence(answers * passed, answers * (1.0 - passed)) if answers >= 0.0 and 0.0 <= passed <= 1.0 else None


def as_judged(route: Route, judgements: Judgements) -> Route:
    """The route with the pass rates that the judges' verdicts bear out, in place of those declared."""
    backends = []
    for rule in route.backends:
        evidence = judgements.of(route.key, rule.pool)
        if evidence is not None:
            rule = replace(rule, pass_rate=pass_rate(rule.pass_rate, evidence), judged_answers=evidence.answers)
        backends.append(rule)
    ratio = judgements.verified_ratio.get(route.key, 0.0)
    return replace(route, backends=tuple(backends), judged_ratio=ratio)
