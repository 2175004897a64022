"""The policy that the router tests run: two pools inside, one outside, an open and a restricted router."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

from comptroller.allocation.decision import RoutePlan
from comptroller.api.conditions import Reason
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.render.router.build import BackendState, TokenPrices, build_plans
from comptroller.render.router.plan import PoolLimit, RouterBackend, RouterBudget, RouterPlan, RouterRedis

from .stubs import Upstream


def local_pool(model: str) -> ModelPoolSpec:
    return ModelPoolSpec.model_validate(
        {
            "model": {"name": model, "source": "hf://acme/model"},
            "location": {"jurisdiction": "EU", "perimeter": "onPremises"},
            "local": {"engine": {"name": "vllm"}, "accelerator": {"class": "h100"}, "replicas": {"min": 1, "max": 4}},
        }
    )


POOLS = {
    "inference/one": local_pool("model-one"),
    "inference/two": local_pool("model-two"),
    "inference/outside": ModelPoolSpec.model_validate(
        {
            "model": {"name": "gpt-outside"},
            "location": {"jurisdiction": "US", "perimeter": "external"},
            "hosted": {
                "provider": "openaiCompatible",
                "baseUrl": "http://hosted.example/v1",
                "apiKeySecretRef": {"name": "outside", "key": "api-key"},
            },
        }
    ),
}
STATES = {
    "inference/one": BackendState(
        TokenPrices(Decimal("0.1"), Decimal("0.1"), Decimal("0.4")), serving=1, max_concurrency=64
    ),
    "inference/two": BackendState(TokenPrices(), serving=1, max_concurrency=64),
    "inference/outside": BackendState(TokenPrices(Decimal(3), Decimal("0.3"), Decimal(15)), max_concurrency=64),
}
SPEC = RoutingPolicySpec.model_validate(
    {
        "tenants": [
            {"name": "team-a", "keysSecretRef": {"name": "a"}},
            {"name": "team-b", "keysSecretRef": {"name": "b"}, "routes": ["other"]},
        ],
        "routes": [
            {
                "name": "chat",
                "workflow": "diligence",
                "step": "planning",
                "backends": [{"pool": "one"}, {"pool": "two"}, {"pool": "outside"}],
            },
            {"name": "other", "backends": [{"pool": "one"}, {"pool": "outside"}]},
            {"name": "single", "backends": [{"pool": "one"}]},
            {"name": "secret", "backends": [{"pool": "one"}, {"pool": "two"}], "data": {"perimeters": ["onPremises"]}},
        ],
    }
)


def decided(route: str, shares: dict[str, float], reserve: tuple[str, ...] = (), shed: float = 0.0) -> RoutePlan:
    return RoutePlan(
        route=f"inference/research/{route}",
        shares={f"inference/{pool}": share for pool, share in shares.items()},
        spill_order=tuple(f"inference/{pool}" for pool in (*shares, *reserve)),
        shed_ratio=shed,
        spill_ratio=0.0,
        requests_per_second=1.0,
        pass_rate=1.0,
        usd_per_request=0.0,
        reason=Reason.DEMAND_SERVED,
        message="",
    )


def watched(upstreams: dict[str, Upstream], route: str, **watching: dict[str, Any]) -> dict[str, RouterPlan]:
    """The plans with an evaluator and a shadow on a route; the pools inside solve 90 % and 95 % of its tasks."""
    content = SPEC.model_dump(by_alias=True, exclude_unset=True)
    found = next(one for one in content["routes"] if one["name"] == route)
    for backend, rate in zip(found["backends"], ("0.9", "0.95", "0.99"), strict=False):
        backend["passRate"] = rate
    found |= watching
    pools = POOLS | {f"inference/{name}": local_pool(f"model-{name}") for name in ("judge", "candidate")}
    states = STATES | {
        f"inference/{name}": BackendState(
            TokenPrices(Decimal(1), Decimal(1), Decimal(2)), serving=1, max_concurrency=64
        )
        for name in ("judge", "candidate")
    }
    keyed = {
        f"inference/research/{name}": decided(name, {"one": 1.0}, ("two",)) for name in ("chat", "single", "secret")
    }
    built = build_plans("research", "inference", RoutingPolicySpec.model_validate(content), pools, states, keyed)
    return {plan.kind: _at_home(plan, upstreams) for plan in built}


def plans(upstreams: dict[str, Upstream], **routes: RoutePlan) -> dict[str, RouterPlan]:
    """The open and the restricted plan, with the addresses of the test's own backends."""
    standard: dict[str, Any] = {
        "chat": decided("chat", {"one": 0.8, "two": 0.2}, ("outside",)),
        "other": decided("other", {"one": 1.0}, ("outside",)),
        "single": decided("single", {"one": 1.0}),
        "secret": decided("secret", {"one": 1.0}, ("two",)),
    }
    keyed = {f"inference/research/{name}": plan for name, plan in (standard | routes).items()}
    built = build_plans("research", "inference", SPEC, POOLS, STATES, keyed)
    return {plan.kind: _at_home(plan, upstreams) for plan in built}


def _at_home(plan: RouterPlan, upstreams: dict[str, Upstream]) -> RouterPlan:
    def home(backend: RouterBackend) -> RouterBackend:
        return replace(backend, address=upstreams[backend.pool.split("/")[1]].address)

    routes = tuple(
        replace(
            route,
            backends=tuple(home(one) for one in route.backends),
            evaluator=replace(route.evaluator, judge=home(route.evaluator.judge)) if route.evaluator else None,
            shadow=replace(route.shadow, backend=home(route.shadow.backend)) if route.shadow else None,
        )
        for route in plan.routes
    )
    return replace(plan, routes=routes)


def limited(plan: RouterPlan, route: str, pool: str, limit: int) -> RouterPlan:
    """The plan with another limit on one backend of one route."""
    routes = tuple(
        replace(
            one,
            backends=tuple(
                replace(b, max_concurrency=limit) if (one.name, b.pool) == (route, f"inference/{pool}") else b
                for b in one.backends
            ),
        )
        for one in plan.routes
    )
    return replace(plan, routes=routes)


def with_places(plan: RouterPlan, pool: str, places: int, **assured: int) -> RouterPlan:
    """The plan with another limit on a pool for all routes together."""
    name = f"inference/{pool}"
    limits = [PoolLimit(name, places, tuple(assured.items())) if one.pool == name else one for one in plan.limits]
    return replace(plan, limits=tuple(limits))


def with_budget(plan: RouterPlan, *budgets: RouterBudget, redis: str | None = None) -> RouterPlan:
    """The plan with these budgets, counted together in a Redis if one is given."""
    return replace(plan, budgets=budgets, redis=None if redis is None else RouterRedis(redis))


def budget(usd: str, on_exhausted: Literal["degrade", "reject", "alertOnly"], **more: Any) -> RouterBudget:
    """A monthly budget of team-a, or of another tenant, or of the policy (None)."""
    tenant = more.pop("tenant", "team-a")
    return RouterBudget(tenant, usd, more.pop("period", "month"), "Europe/Berlin", on_exhausted, **more)
