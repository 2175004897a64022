"""The independent auditor of who judges and who shadows: nobody but whom the policy names, no more than it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from comptroller.allocation.audit import Violation
from comptroller.api.routingpolicy import Route, RoutingPolicySpec


def watching(routes: Sequence[Mapping[str, Any]], policy: RoutingPolicySpec, namespace: str) -> Iterator[Violation]:
    """What the sections of routes break. A policy may name more than is rendered: a pool may be gone."""
    known = {one.name: one for one in policy.routes}
    for one in routes:
        route, field = known.get(str(one.get("name"))), f"x_comptroller.routes[{one.get('name')}]"
        if route is None:
            continue
        if "evaluator" in one and not _is_evaluator(one["evaluator"], route, namespace):
            yield Violation(f"{field}.evaluator", "is not the evaluator of the policy")
        if "shadow" in one and not _is_shadow(one["shadow"], route, namespace):
            yield Violation(f"{field}.shadow", "is not the shadow of the policy")


def _is_evaluator(given: Any, route: Route, namespace: str) -> bool:
    asked = route.evaluator
    if asked is None or not isinstance(given, Mapping):
        return False
    exact = {
        "pool": f"{namespace}/{asked.pool}",
        "sample_ratio": float(asked.sample_ratio),
        "rubric": asked.rubric,
        "escalate_on_fail": asked.escalate_on_fail,
    }
    told, order = {**given}, given.get("ascending")
    structured = told.pop("structured", None)
    told.pop("ascending", None)
    backends = {f"{namespace}/{one.pool}" for one in route.backends}
    return told == exact and isinstance(structured, bool) and isinstance(order, list) and backends >= {*order}


def _is_shadow(given: Any, route: Route, namespace: str) -> bool:
    asked = route.shadow
    if asked is None:
        return False
    return bool(given == {"pool": f"{namespace}/{asked.pool}", "sample_ratio": float(asked.sample_ratio)})
