"""Builds the neutral router plans of one policy: what the decision says, as ordered, weighted, limited backends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from comptroller.allocation.decision import RoutePlan
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.render.router.plan import RouterPlan


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """US dollars per million tokens, marginal basis. A local pool costs what its power adds, or nothing."""

    input: Decimal = Decimal(0)
    cached_input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class BackendState:
    """What the rendering must know of a pool beside its spec."""

    prices: TokenPrices
    serving: int = 0  # ready and admitted replicas of a local pool
    max_concurrency: int | None = None  # local: of one replica; hosted: of the API; None: no limit known


def build_plans(
    name: str,
    namespace: str,
    spec: RoutingPolicySpec,
    pools: Mapping[str, ModelPoolSpec],
    states: Mapping[str, BackendState],
    routes: Mapping[str, RoutePlan],
    current_replicas: Mapping[str, int] | None = None,
) -> tuple[RouterPlan, ...]:
    """One plan for the open router and one for the restricted router, each only when it has a route.

    `pools` and `states` are keyed namespace/name, `routes` (of the decision) namespace/policy/route,
    `current_replicas` by the name of the router Deployment, for hysteresis. A route without a `RoutePlan` (first start)
    goes to all its permitted local pools in equal shares, hosted ones in reserve. Unknown pools are left out.
    """
    raise NotImplementedError
