"""Builds the neutral router plans of one policy: what the decision says, as ordered, weighted, limited backends."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from comptroller.allocation.decision import RoutePlan
from comptroller.api.modelpool import ModelPoolSpec, Perimeter
from comptroller.api.routingpolicy import Backend, Route, RoutingPolicySpec
from comptroller.api.settings import RedisSettings
from comptroller.render.errors import RenderError
from comptroller.render.names import child_name
from comptroller.render.pool import pool_address
from comptroller.render.router.budgets import with_budgets
from comptroller.render.router.caches import backend_cache
from comptroller.render.router.evaluation import evaluator_of, everybody, shadow_of
from comptroller.render.router.limits import nowhere_else, planned_in_flight, pool_limits
from comptroller.render.router.plan import RouterBackend, RouterPlan, RouterRoute, RouterTenant, SecretMount
from comptroller.render.router.processes import processes_for, router_replicas

MILLION = Decimal(1_000_000)
THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """US dollars per million tokens, marginal basis. A local pool costs what its power adds, or nothing."""

    input: Decimal = Decimal(0)
    cached_input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)
    cache_write_5m: Decimal | None = None  # None: as input
    cache_write_1h: Decimal | None = None


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
    redis: RedisSettings | None = None,
    cache_lives: Mapping[tuple[str, str], str] | None = None,
    router_cores: Mapping[str, float] | None = None,
) -> tuple[RouterPlan, ...]:
    """One plan for the open router and one for the restricted router, each only when it has a route.

    `pools` and `states` are keyed namespace/name, `routes` (of the decision) namespace/policy/route,
    `current_replicas` by the name of the router Deployment, for hysteresis; `redis` is where open routers share
    what they spend; `cache_lives` has what pays of prompt caches: (namespace/policy/route, pool) -> 5m, 1h or none;
    `router_cores` is how many cores the processes of a router Deployment use together, where that is measured. A route
    without a `RoutePlan` (first start) goes to all its permitted local pools in equal shares, hosted ones in reserve.
    Pools that are unknown or without a state are left out.
    """
    builder = _Builder(namespace, f"{namespace}/{name}", pools, states, cache_lives or {})
    names = {False: router_name(name), True: router_name(name, restricted=True)}
    by_kind = {kind: [one for one in spec.routes if is_restricted(one) is kind] for kind in (False, True)}
    planned = planned_in_flight(routes)
    for one in spec.routes:
        if f"{namespace}/{name}/{one.name}" not in routes:
            planned |= {(f"{namespace}/{name}/{one.name}", pool): part for pool, part in builder.first(one).items()}
    staying = nowhere_else(routes, {key for key, pool in pools.items() if pool.hosted is not None})
    plans = []
    for kind, members in by_kind.items():
        if not members:
            continue
        decided = {one.name: routes.get(f"{namespace}/{name}/{one.name}") for one in members}
        load = sum(plan.requests_per_second or 0.0 for plan in decided.values() if plan)
        processes = processes_for(load, (router_cores or {}).get(names[kind]))
        replicas = router_replicas(
            processes, (current_replicas or {}).get(names[kind]), spec.router.replicas.min, spec.router.replicas.max
        )
        if any(plan is not None and plan.requests_per_second is None for plan in decided.values()):
            replicas = max(replicas, min((current_replicas or {}).get(names[kind], 0), spec.router.replicas.max))
        built = tuple(builder.route(one, decided[one.name], restricted=kind, routers=replicas) for one in members)
        places = builder.places()
        plans.append(
            RouterPlan(
                name=names[kind],
                namespace=namespace,
                policy=name,
                kind="restricted" if kind else "open",
                routes=built,
                tenants=tuple(
                    RouterTenant(one.name, one.keys_secret_ref.name, tuple(one.routes)) for one in spec.tenants
                ),
                timeout_seconds=spec.router.timeout_seconds,
                replicas=replicas,
                elsewhere=tuple(
                    (one.name, router_address(names[not kind], namespace, spec.router.port))
                    for one in by_kind[not kind]
                ),
                keys=() if kind else builder.keys(members),
                inside_pools=builder.inside_pools(members),
                limits=pool_limits(f"{namespace}/{name}", built, planned, places, replicas, staying, restricted=kind),
            )
        )
    return with_budgets(plans, spec, redis)


def is_restricted(route: Route) -> bool:
    """True when the route's data may reach no pool outside at all, whichever pools there are: then it has a router of
    its own, without a hosted backend, without a key, without a path out.

    >>> from comptroller.api.routingpolicy import Backend, DataRules
    >>> is_restricted(Route(name="a", backends=[Backend(pool="p")], data=DataRules(perimeters=["onPremises"])))
    True
    >>> is_restricted(Route(name="a", backends=[Backend(pool="p")], data=DataRules(jurisdictions=["EU"])))
    False

    Rules on jurisdictions alone leave hosted APIs possible; such a route stays on the open router, with only the
    permitted backends in its configuration.
    """
    return route.data is not None and bool(route.data.perimeters) and Perimeter.EXTERNAL not in route.data.perimeters


def permits(route: Route, pool: ModelPoolSpec) -> bool:
    """Whether the route's data may go to this pool. Asked again here although the allocator has asked: belt and
    braces."""
    if route.data is None:
        return True
    if route.data.jurisdictions and pool.location.jurisdiction not in route.data.jurisdictions:
        return False
    return not route.data.perimeters or pool.location.perimeter in route.data.perimeters


def unreachable_backends(
    spec: RoutingPolicySpec, namespace: str, pools: Mapping[str, ModelPoolSpec]
) -> tuple[str, ...]:
    """One sentence for each permitted backend that a restricted router still has no path to: a hosted pool inside the
    perimeter. A router without keys and without a way out cannot ask it."""
    problems = []
    for index, route in enumerate(spec.routes):
        for position, backend in enumerate(route.backends):
            pool = pools.get(f"{namespace}/{backend.pool}")
            if is_restricted(route) and pool is not None and pool.hosted is not None and permits(route, pool):
                problems.append(
                    f"spec.routes[{index}].backends[{position}]: {backend.pool} is hosted, and route {route.name} may "
                    "not leave the perimeter: its router has no path to hosted APIs. Name a local pool"
                )
    return tuple(problems)


def router_name(policy: str, *, restricted: bool = False) -> str:
    """The name of a policy's router: of its Deployment, Service and everything else."""
    return child_name(policy, "-router-restricted" if restricted else "-router")


def router_address(router: str, namespace: str, port: int) -> str:
    """Where clients reach a router."""
    return f"http://{router}.{namespace}.svc.cluster.local:{port}/v1"


@dataclass(frozen=True, slots=True)
class _Builder:
    namespace: str
    policy: str  # namespace/name
    pools: Mapping[str, ModelPoolSpec]
    states: Mapping[str, BackendState]
    lives: Mapping[tuple[str, str], str]

    def route(self, route: Route, plan: RoutePlan | None, *, restricted: bool, routers: int) -> RouterRoute:
        usable = self._usable_backends(route, restricted=restricted)
        shares = {pool: share for pool, share in (plan.shares if plan else {}).items() if pool in usable and share > 0}
        if plan is None:
            shares = self.first(route)
        weights = thousandths(shares)
        reserve = self._reserve(route, plan, usable, weights)
        backends = [
            self._backend(route, pool, usable[pool], weight, 1, routers)
            for pool, weight in sorted(weights.items(), key=lambda item: (-item[1], item[0]))
        ]
        backends += [
            self._backend(route, pool, usable[pool], 0, order, routers) for order, pool in enumerate(reserve, 2)
        ]
        return RouterRoute(
            name=route.name,
            backends=tuple(backends),
            workflow=route.workflow,
            step=route.step,
            shed_ratio=round(plan.shed_ratio, 3) if plan else 0.0,
            waits=route.on_overload == "queue"
            or (route.on_overload == "spill" and bool(backends) and all(one.inside for one in backends)),
            evaluator=evaluator_of(route, plan, self._watching(route, restricted, routers)),
            shadow=shadow_of(route, self._watching(route, restricted, routers)),
        )

    def first(self, route: Route) -> dict[str, float]:
        """Shares before the first decision: equal parts of all local pools that are permitted."""
        usable = self._usable_backends(route, restricted=True)
        inside = sorted(pool for pool in usable if self.pools[pool].local is not None)
        return {pool: 1 / len(inside) for pool in inside}

    def places(self) -> dict[str, int]:
        """Local pools -> how many requests they may have in flight, where that is known."""
        return {
            pool: state.max_concurrency * max(1, state.serving)
            for pool, state in self.states.items()
            if state.max_concurrency is not None and pool in self.pools and self.pools[pool].local is not None
        }

    def inside_pools(self, routes: Sequence[Route]) -> tuple[tuple[str, int], ...]:
        """Every local pool that a route may use, also while it has no replica: the network policy must not lag
        behind."""
        found = set()
        for route in routes:
            for backend in everybody(route):
                pool = self.pools.get(f"{self.namespace}/{backend.pool}")
                if pool is not None and pool.local is not None and permits(route, pool):
                    found.add((backend.pool, pool.local.engine.port))
        return tuple(sorted(found))

    def keys(self, routes: Sequence[Route]) -> tuple[SecretMount, ...]:
        """Keys of all hosted pools that the routes may use: they follow the spec, not the plan, so that a new split
        never changes the router's pods."""
        names = {
            backend.pool
            for route in routes
            for backend in everybody(route)
            if self._usable(route, backend, restricted=False)
        }
        found = (_key(name, self.pools[f"{self.namespace}/{name}"]) for name in sorted(names))
        return tuple(key for key in found if key is not None)

    def _usable_backends(self, route: Route, *, restricted: bool) -> dict[str, Backend]:
        return {
            f"{self.namespace}/{backend.pool}": backend
            for backend in reversed(route.backends)  # of two entries for one pool the first one counts
            if self._usable(route, backend, restricted=restricted)
        }

    def _usable(self, route: Route, backend: Backend, *, restricted: bool) -> bool:
        key = f"{self.namespace}/{backend.pool}"
        pool = self.pools.get(key)
        if pool is None or key not in self.states or not permits(route, pool):
            return False
        return not (restricted and pool.hosted is not None)

    def _watching(self, route: Route, restricted: bool, routers: int) -> Callable[[str], RouterBackend | None]:
        """Gives a pool that judges or shadows the route; None where it may not, or has no replica."""

        def given(name: str) -> RouterBackend | None:
            key, backend = f"{self.namespace}/{name}", Backend(pool=name)
            usable = self._usable(route, backend, restricted=restricted)
            if not usable or (self.pools[key].local is not None and not self.states[key].serving):
                return None
            return self._backend(route, key, backend, THOUSAND, 1, routers)

        return given

    def _reserve(
        self, route: Route, plan: RoutePlan | None, usable: Mapping[str, Backend], weights: Mapping[str, int]
    ) -> list[str]:
        """Pools that are tried when the planned ones are full or failing, in the decision's order. Local pools
        without a replica are not tried. A route that queues or rejects under load has no hosted reserve."""
        order = list(plan.spill_order) if plan else sorted(usable)
        reserve = []
        for pool in dict.fromkeys(order):
            if pool not in usable or pool in weights:
                continue
            hosted = self.pools[pool].hosted is not None
            if (hosted and route.on_overload == "spill") or (not hosted and self.states[pool].serving > 0):
                reserve.append(pool)
        return reserve

    def _backend(
        self, route: Route, key: str, backend: Backend, weight: int, order: int, routers: int
    ) -> RouterBackend:
        pool, state = self.pools[key], self.states[key]
        local, hosted = pool.local, pool.hosted
        adapter = backend.adapter if local is not None else None
        address = pool_address(backend.pool, self.namespace, local.engine.port) if local is not None else None
        return RouterBackend(
            pool=key,
            model=adapter or pool.model.name,
            inside=local is not None,
            provider=hosted.provider if hosted is not None else None,
            address=address if hosted is None else hosted.base_url,
            key=_key(backend.pool, pool),
            weight=weight,
            order=order,
            max_concurrency=self._limit(key, routers),
            input_usd_per_token=per_token(state.prices.input),
            cached_input_usd_per_token=per_token(state.prices.cached_input),
            cache_write_5m_usd_per_token=per_token(_or(state.prices.cache_write_5m, state.prices.input)),
            cache_write_1h_usd_per_token=per_token(_or(state.prices.cache_write_1h, state.prices.input)),
            output_usd_per_token=per_token(state.prices.output),
            cache=backend_cache(self.policy, route, pool, self.lives.get((f"{self.policy}/{route.name}", key))),
        )

    def _limit(self, key: str, routers: int) -> int | None:
        """Requests that one route in one process may have in flight at a hosted pool: an equal part of the API's limit
        for each process. It may have to carry everything, and says itself when it is too much. Local pools are limited
        for all routes together."""
        limit = self.states[key].max_concurrency
        if limit is None or self.pools[key].local is not None:
            return None
        return max(1, math.ceil(limit / routers))


def _key(name: str, pool: ModelPoolSpec) -> SecretMount | None:
    if pool.hosted is None or pool.hosted.api_key_secret_ref is None:
        return None
    reference = pool.hosted.api_key_secret_ref
    return SecretMount(key_variable(name), reference.name, reference.key)


def thousandths(shares: Mapping[str, float]) -> dict[str, int]:
    """Shares as whole thousandths that sum to 1000 (largest remainder); none of them rounds to zero. What a plan sheds
    is not part of the weights: they divide what is answered.

    >>> thousandths({"a": 2 / 3, "b": 1 / 3})
    {'a': 667, 'b': 333}
    """
    total = sum(shares.values())
    if total <= 0:
        return {}
    exact = {pool: THOUSAND * share / total for pool, share in shares.items()}
    weights = {pool: max(1, math.floor(value)) for pool, value in exact.items()}
    by_remainder = sorted(exact, key=lambda pool: (math.floor(exact[pool]) - exact[pool], pool))
    for pool in by_remainder[: max(0, THOUSAND - sum(weights.values()))]:
        weights[pool] += 1
    return weights


def _or(price: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if price is None else price


def per_token(usd_per_million_tokens: Decimal) -> str:
    """US dollars per token as an exact decimal string.

    >>> per_token(Decimal("3"))
    '0.000003'
    """
    if usd_per_million_tokens < 0:
        raise RenderError("prices", f"must not be negative (given: {usd_per_million_tokens})")
    return f"{(usd_per_million_tokens / MILLION).normalize():f}"


def key_variable(pool: str) -> str:
    """The environment variable that carries the key of a hosted pool: readable, and different for every pool."""
    digest = hashlib.sha256(pool.encode()).hexdigest()[:6]
    return f"API_KEY_{re.sub(r'[^A-Z0-9]', '_', pool.upper())[:40]}_{digest}"
