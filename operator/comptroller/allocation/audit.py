"""The independent auditor of plans: holds a decision against the raw specs, and refuses it whole.

It shares no code with what builds decisions, on purpose: a mistake in one must not hide in the other. It imports
nothing of this package but the decision's types, and has its own words for what data rules permit. `audit_router.py`,
`audit_section.py` and `audit_pod.py` do the same for what is rendered for the routers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from comptroller.allocation.decision import Decision, HostedUse, PoolTarget, RoutePlan
from comptroller.api.modelpool import ModelPoolSpec, Perimeter, ReplicaBounds
from comptroller.api.routingpolicy import Route, RoutingPolicySpec

REPORT = "Nothing was applied; the last plan stays. Please report this as a bug of Comptroller"
_PAUSED, _HELD = "comptroller.dev/paused", "comptroller.dev/hold-replicas"
_SLACK = 1e-6  # of shares
_LIMIT_SLACK = 1e-3  # relative: solvers keep a limit to a hair


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that is broken: where, what that means, and what to do."""

    field: str
    meaning: str
    remedy: str = REPORT

    def __str__(self) -> str:
        return f"{self.field}: {self.meaning}. {self.remedy}."


@dataclass(frozen=True, slots=True)
class Beside:
    """What binds a plan beside the specs, as raw as it is: nothing of it comes from the snapshot.

    `annotations` are those of the ModelPools, `applied` the replicas of the last plan in force; both are keyed
    namespace/name. `maximum_step_up` is the setting; None leaves the step unchecked.
    """

    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    applied: Mapping[str, int] = field(default_factory=dict)
    maximum_step_up: int | None = None

    def paused(self, pool: str) -> bool:
        """Whether the user froze a pool."""
        return self.annotations.get(pool, {}).get(_PAUSED) == "true"

    def held_at(self, pool: str) -> int | None:
        """The count that the user pinned a pool to; a text that is no count pins nothing."""
        text = self.annotations.get(pool, {}).get(_HELD, "")
        digits = isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 4
        return int(text) if digits else None


def audit_plan(
    policies: Mapping[str, RoutingPolicySpec],
    pools: Mapping[str, ModelPoolSpec],
    decision: Decision,
    beside: Beside | None = None,
) -> list[Violation]:
    """What a decision breaks; empty if nothing. `policies` and `pools` are keyed namespace/name."""
    beside = beside or Beside()
    found: list[Violation] = []
    for key, plan in sorted(decision.routes.items()):
        namespace, policy, name = ([*key.split("/", 2), "", ""])[:3]
        spec = policies.get(f"{namespace}/{policy}")
        route = None if spec is None else next((one for one in spec.routes if one.name == name), None)
        where = f"routes[{key}]"
        if route is None:
            found.append(Violation(where, "no policy has this route"))
            continue
        for list_name in ("shares", "spill_order"):
            for pool in getattr(plan, list_name):
                found += pair_violations(f"{where}.{list_name}[{pool}]", namespace, route, pool, pools)
        found += _overload(where, namespace, route, plan, decision, pools)
        found += _paused_apis(where, plan, pools, beside)
        found += _numbers(where, key, plan, pools)
    for key, target in sorted(decision.pools.items()):
        found += _target(f"pools[{key}]", key, target, pools.get(key), decision, beside)
    for key, use in sorted(decision.hosted.items()):
        found += _use(f"hosted[{key}]", key, use, pools.get(key))
    found += _rate_limits(decision, pools)
    return found


def pair_violations(
    field: str, namespace: str, route: Route, pool: str, pools: Mapping[str, ModelPoolSpec]
) -> Iterator[Violation]:
    """What is wrong with a route being answered by a pool (namespace/name)."""
    spec = pools.get(pool)
    if spec is None:
        yield Violation(field, f"there is no pool {pool}")
        return
    if pool not in {f"{namespace}/{backend.pool}" for backend in route.backends}:
        yield Violation(field, f"{pool} is not a backend of route {route.name}")
    yield from _data_rules(field, route, spec)


def may_see(
    field: str, role: str, namespace: str, route: Route, pool: str, pools: Mapping[str, ModelPoolSpec]
) -> Iterator[Violation]:
    """What is wrong with a pool that gets a route's requests: as a backend (role ""), as its judge or as its shadow.
    Whoever sees a request is bound by the data rules; who only watches need not be a backend."""
    if role == "":
        yield from pair_violations(field, namespace, route, pool, pools)
        return
    watching = {"judge": route.evaluator, "shadow": route.shadow}.get(role)
    if watching is None or pool != f"{namespace}/{watching.pool}" or pool not in pools:
        yield Violation(field, f"{pool} is no {role} of route {route.name}")
        return
    yield from _data_rules(field, route, pools[pool])


def watched_by(route: Route) -> list[tuple[str, str]]:
    """Role and name of each pool that a route names beside its backends."""
    named = (("judge", route.evaluator), ("shadow", route.shadow))
    return [(role, one.pool) for role, one in named if one is not None]


def _data_rules(field: str, route: Route, pool: ModelPoolSpec) -> Iterator[Violation]:
    """The sovereignty check from the raw specs."""
    if route.data is None:
        return
    law, distance = pool.location.jurisdiction, pool.location.perimeter
    if len(route.data.jurisdictions) > 0 and law not in set(route.data.jurisdictions):
        may = ", ".join(route.data.jurisdictions)
        yield Violation(field, f"data of route {route.name} may only be in [{may}], the pool is in {law}")
    if len(route.data.perimeters) > 0 and distance not in set(route.data.perimeters):
        may = ", ".join(route.data.perimeters)
        yield Violation(field, f"data of route {route.name} may only be [{may}], the pool is {distance}")
    if stays_inside(route) and pool.hosted is not None:
        yield Violation(field, f"route {route.name} must stay inside, the pool is a hosted API")


def stays_inside(route: Route) -> bool:
    """Whether the data rules leave nothing external."""
    return route.data is not None and len(route.data.perimeters) > 0 and Perimeter.EXTERNAL not in route.data.perimeters


def _overload(
    where: str, namespace: str, route: Route, plan: RoutePlan, decision: Decision, pools: Mapping[str, ModelPoolSpec]
) -> Iterator[Violation]:
    """`queue` and `reject` mean: rather wait, or refuse, than go out, as long as anything inside may answer."""
    inside = (f"{namespace}/{backend.pool}" for backend in route.backends)
    answers = [one for one in inside if one in decision.pools and one in pools]
    if route.on_overload == "spill" or not any(not [*_data_rules("", route, pools[one])] for one in answers):
        return
    for pool in dict.fromkeys((*plan.shares, *plan.spill_order)):
        if pool in pools and pools[pool].hosted is not None:
            yield Violation(where, f"onOverload is {route.on_overload}, yet {pool} is a hosted API")


def _paused_apis(
    where: str, plan: RoutePlan, pools: Mapping[str, ModelPoolSpec], beside: Beside
) -> Iterator[Violation]:
    for pool in dict.fromkeys((*plan.shares, *plan.spill_order)):
        if pool in pools and pools[pool].hosted is not None and beside.paused(pool):
            yield Violation(where, f"{pool} is paused and may carry nothing")


def _numbers(where: str, key: str, plan: RoutePlan, pools: Mapping[str, ModelPoolSpec]) -> Iterator[Violation]:
    """Shares that are shares, and a plan that says of itself what is true."""
    if plan.route != key:
        yield Violation(where, f"the plan is that of {plan.route}")
    if len(set(plan.spill_order)) != len(plan.spill_order):
        yield Violation(f"{where}.spill_order", "a pool is tried twice")
    values = [*plan.shares.values(), plan.shed_ratio]
    if not all(_is_number(one) and -1e-9 <= one <= 1.0 + 1e-9 for one in values):
        yield Violation(f"{where}.shares", f"{values} are not all between 0 and 1")
        return
    if abs(sum(values) - 1.0) > _SLACK:
        yield Violation(f"{where}.shares", f"shares and what is shed sum to {sum(values):.6f}, not to 1")
    spilled = sum(share for pool, share in plan.shares.items() if pool in pools and pools[pool].hosted is not None)
    if not _is_number(plan.spill_ratio) or abs(plan.spill_ratio - spilled) > _SLACK:
        yield Violation(f"{where}.spill_ratio", f"{plan.spill_ratio} is not what goes to hosted APIs ({spilled:.6f})")
    if plan.requests_per_second is not None and not _is_amount(plan.requests_per_second):
        yield Violation(f"{where}.requests_per_second", f"{plan.requests_per_second} requests/s cannot be")
    if not _is_amount(plan.usd_per_request):
        yield Violation(f"{where}.usd_per_request", f"${plan.usd_per_request} per request cannot be")
    if not _is_amount(plan.pass_rate) or plan.pass_rate > 1.0 + _SLACK:
        yield Violation(f"{where}.pass_rate", f"{plan.pass_rate} is no share of solved tasks")


def _target(
    where: str, key: str, target: PoolTarget, spec: ModelPoolSpec | None, decision: Decision, beside: Beside
) -> Iterator[Violation]:
    """The wanted replicas against the spec's bounds, the user's annotations and the step."""
    if spec is None or spec.local is None:
        yield Violation(where, "no local pool has this name")
        return
    if target.pool != key:
        yield Violation(where, f"the target is that of {target.pool}")
    if not _is_count(target.replicas, 0):
        yield Violation(f"{where}.replicas", f"{target.replicas} replicas cannot be")
    else:
        yield from _count(f"{where}.replicas", key, target.replicas, spec.local.replicas, decision, beside)
    if not _is_count(target.max_concurrency, 1):
        yield Violation(f"{where}.max_concurrency", f"{target.max_concurrency} requests at once cannot be")


def _count(
    field: str, key: str, count: int, bounds: ReplicaBounds, decision: Decision, beside: Beside
) -> Iterator[Violation]:
    low, high = bounds.min, bounds.max
    last, held = beside.applied.get(key), beside.held_at(key)
    if beside.paused(key):
        if last is not None and count != last:
            yield Violation(field, f"the pool is paused at {last}, and {count} are wanted")
    elif held is not None:
        if count != min(held, high):
            yield Violation(field, f"the pool is held at {min(held, high)}, and {count} are wanted")
    elif key in decision.unknowns and last in (None, count):
        return  # a pool of which nothing is known stays where it is
    elif not low <= count <= high:
        yield Violation(field, f"{count} is not within spec.local.replicas, {low} to {high}")
    elif last is not None and beside.maximum_step_up is not None and count > max(low, last + beside.maximum_step_up):
        yield Violation(field, f"{last} to {count} is more than {beside.maximum_step_up} at once")


def _use(where: str, key: str, use: HostedUse, spec: ModelPoolSpec | None) -> Iterator[Violation]:
    if spec is None or spec.hosted is None:
        yield Violation(where, "no hosted pool has this name")
    if use.pool != key:
        yield Violation(where, f"the use is that of {use.pool}")
    if not _is_amount(use.requests_per_second) or not _is_amount(use.usd_per_hour):
        yield Violation(where, f"{use.requests_per_second} requests/s for ${use.usd_per_hour}/h cannot be")


def _rate_limits(decision: Decision, pools: Mapping[str, ModelPoolSpec]) -> Iterator[Violation]:
    """Requests per minute of hosted pools, over the routes whose demand is known: the others keep what they had."""
    for key, spec in sorted(pools.items()):
        limit = spec.hosted.limits.requests_per_minute if spec.hosted is not None else None
        if limit is None:
            continue
        planned = sum(
            60.0 * plan.shares.get(key, 0.0) * plan.requests_per_second
            for plan in decision.routes.values()
            if plan.requests_per_second is not None
        )
        if planned > limit * (1.0 + _LIMIT_SLACK) + _LIMIT_SLACK:
            meaning = f"{planned:.0f} requests a minute are planned, spec.hosted.limits permits {limit}"
            yield Violation(f"hosted[{key}]", meaning)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _is_amount(value: float) -> bool:
    return _is_number(value) and value >= -1e-9
