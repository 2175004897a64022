"""Who judges and who shadows a route, as the router plan has it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from comptroller.allocation.decision import RoutePlan
from comptroller.api.modelpool import ModelPoolSpec, Provider
from comptroller.api.routingpolicy import Backend, Route, RoutingPolicySpec
from comptroller.render.router.plan import RouterBackend, RouterEvaluator, RouterShadow

STRUCTURED = frozenset(
    (
        None,  # local engines: all of them decode under a JSON schema
        Provider.OPENAI,
        Provider.AZURE,
        Provider.ANTHROPIC,
        Provider.VERTEX,
        Provider.MISTRAL,
        Provider.GROQ,
        Provider.FIREWORKS,
        Provider.TOGETHER,
    )
)
"""Whose APIs keep to a JSON schema; the others are only told to."""

Give = Callable[[str], RouterBackend | None]
"""The pool of this name as a backend; None where it may not be used, or cannot be now."""


def evaluator_of(route: Route, plan: RoutePlan | None, give: Give) -> RouterEvaluator | None:
    """The route's judge. None without one, and where its pool is forbidden or serves nothing."""
    asked = route.evaluator
    judge = give(asked.pool) if asked is not None else None
    if asked is None or judge is None:
        return None
    return RouterEvaluator(
        judge=judge,
        sample_ratio=float(asked.sample_ratio),
        rubric=asked.rubric,
        escalate_on_fail=asked.escalate_on_fail,
        structured=judge.provider in STRUCTURED,
        ascending=ascending(route, plan, judge.pool.split("/", 1)[0]),
    )


def shadow_of(route: Route, give: Give) -> RouterShadow | None:
    """The route's shadow. None without one, and where its pool is forbidden or serves nothing."""
    backend = give(route.shadow.pool) if route.shadow is not None else None
    if route.shadow is None or backend is None:
        return None
    return RouterShadow(backend, float(route.shadow.sample_ratio))


def ascending(route: Route, plan: RoutePlan | None, namespace: str) -> tuple[str, ...]:
    """The route's pools by pass rate, least first: as the decision knows it, else as declared. Of equal ones the order
    of the spec counts."""
    declared = {
        f"{namespace}/{one.pool}": 1.0 if one.pass_rate is None else float(one.pass_rate)
        for one in reversed(route.backends)
    }
    known = plan.pass_rates if plan is not None else {}
    order = list(dict.fromkeys(f"{namespace}/{one.pool}" for one in route.backends))
    return tuple(sorted(order, key=lambda pool: (known.get(pool, declared[pool]), order.index(pool))))


def never_running(
    spec: RoutingPolicySpec, namespace: str, pools: Mapping[str, ModelPoolSpec], used: Collection[str]
) -> tuple[str, ...]:
    """One sentence for each local judge or shadow that no route sends clients to (`used` are the backends of all
    policies) and that may run no replica: replicas are chosen for clients' requests alone, so it never will."""
    problems = []
    for index, route in enumerate(spec.routes):
        for part, one in (("evaluator", route.evaluator), ("shadow", route.shadow)):
            key = f"{namespace}/{one.pool}" if one is not None else ""
            local = pools[key].local if key in pools else None
            if one is not None and local is not None and local.replicas.min == 0 and key not in used:
                problems.append(
                    f"spec.routes[{index}].{part}.pool: {one.pool} is no backend of any route and its "
                    "spec.local.replicas.min is 0, so it never runs. Set it to 1"
                )
    return tuple(problems)


def everybody(route: Route) -> list[Backend]:
    """The pools that a route names: its backends, and who judges and shadows it."""
    watching = (one.pool for one in (route.evaluator, route.shadow) if one is not None)
    return [*route.backends, *(Backend(pool=pool) for pool in watching)]
