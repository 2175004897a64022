"""Who judges and who shadows a route, as the router plan has it."""

from __future__ import annotations

from collections.abc import Callable

from comptroller.allocation.decision import RoutePlan
from comptroller.api.modelpool import Provider
from comptroller.api.routingpolicy import Backend, Route
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


def everybody(route: Route) -> list[Backend]:
    """The pools that a route names: its backends, and who judges and shadows it."""
    watching = (one.pool for one in (route.evaluator, route.shadow) if one is not None)
    return [*route.backends, *(Backend(pool=pool) for pool in watching)]
