"""Which life prefixes get at each hosted pool of each route, round by round, and what the decision reckons with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from comptroller.allocation.problem import SMALLEST_SHARE
from comptroller.allocation.snapshot import CacheTerms, HostedPool, Route, Snapshot
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import Route as RouteSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.economics.prompt_cache import NONE, SECONDS, Choice, Gaps, Terms, choose, poisson_gap_seconds
from comptroller.kube.resources import ROUTING_POLICY
from comptroller.kube.store import ClusterStore
from comptroller.observe.measurements import Measurements
from comptroller.observe.prefixes import prefix_gaps, prefix_ratio, routers_counted
from comptroller.render.router.caches import lives_of, marked, mode_of
from comptroller.runtime.state import Specs

Choices = Mapping[tuple[str, str], Choice]
"""(namespace/policy/route, pool) -> the life in force."""


def choices_after(
    before: Choices,
    store: ClusterStore,
    specs: Specs,
    policies: Mapping[str, RoutingPolicySpec],
    measured: Measurements,
    shares: Mapping[str, Mapping[str, float]],
) -> dict[tuple[str, str], Choice]:
    """The lives after this round. What was chosen before stays unless another is clearly cheaper; a new process learns
    from the status what its predecessor chose."""
    found: dict[tuple[str, str], Choice] = {}
    for policy, spec in policies.items():
        for route in spec.routes:
            key = f"{policy}/{route.name}"
            gaps, routers = prefix_gaps(measured, policy, route.name), routers_counted(measured, policy, route.name)
            for pool, terms in _asked(policy, route, specs):
                last = before.get((key, pool))
                life = last.life if last is not None else _remembered(store, policy, route.name, pool)
                density = routers * max(shares.get(key, {}).get(pool, 1.0), SMALLEST_SHARE)
                made = choose(terms, gaps, density, life)
                found[key, pool] = _as_asked(route, made, terms)
    return found


def _asked(policy: str, route: RouteSpec, specs: Specs) -> Iterator[tuple[str, Terms]]:
    """The pools at which the route has the router mark prefixes, with what that costs."""
    if route.prompt_cache is None:
        return
    for one in route.backends:
        pool = f"{policy.split('/', 1)[0]}/{one.pool}"
        spec, price = specs.pools.get(pool), specs.prices.get(pool)
        if spec is not None and price is not None and marked(spec):
            write = {"5m": price.cache_write, "1h": price.cache_write_1h}
            yield pool, Terms(price.input, price.cached_input, {life: write[life] for life in lives_of(spec)})


def _as_asked(route: RouteSpec, made: Choice, terms: Terms) -> Choice:
    """A life that the user asks for is not a choice."""
    asked = None if route.prompt_cache is None else route.prompt_cache.ttl
    if asked is None or asked == "auto":
        return made
    return replace(made, life=asked if asked in terms.write else next(iter(terms.write), NONE))


def _remembered(store: ClusterStore, policy: str, route: str, pool: str) -> str | None:
    namespace, name = policy.split("/", 1)
    status = (store.get(ROUTING_POLICY, (namespace, name)) or {}).get("status") or {}
    for one in status.get("routes") or ():
        if one.get("name") == route:
            for cache in one.get("promptCaches") or ():
                if f"{namespace}/{cache.get('pool')}" == pool:
                    return str(cache.get("ttl"))
    return None


def with_caches(snapshot: Snapshot, specs: Specs, choices: Choices, measured: Measurements) -> Snapshot:
    """The snapshot with what caching hosted prompts costs and saves, wherever it is measured how often prefixes come
    again; as it was elsewhere."""
    hosted = {pool.key: pool for pool in snapshot.hosted_pools}
    return replace(
        snapshot,
        hosted_pools=tuple(_pool(pool, specs.pools[pool.key]) for pool in snapshot.hosted_pools),
        routes=tuple(_route(route, hosted, specs, choices, measured) for route in snapshot.routes),
    )


def _pool(pool: HostedPool, spec: ModelPoolSpec) -> HostedPool:
    """By the pool's own rules; `Route.caches` has what routes choose."""
    if mode_of(spec) == "none":
        return replace(pool, cached_input_usd_per_million_tokens=pool.input_usd_per_million_tokens)
    return replace(pool, cache_ttl_seconds=SECONDS["5m"])


def _route(
    route: Route, hosted: Mapping[str, HostedPool], specs: Specs, choices: Choices, measured: Measurements
) -> Route:
    gaps, routers = prefix_gaps(measured, route.policy, route.name), routers_counted(measured, route.policy, route.name)
    mine = [rule.pool for rule in route.backends if rule.pool in hosted]
    ratio = prefix_ratio(measured, route.policy, route.name, [pool for pool in mine if marked(specs.pools[pool])])
    if gaps is None or ratio is None or not mine:
        return route
    demand = replace(
        route.demand,
        cached_ratio=ratio,
        prefix_gap_seconds=poisson_gap_seconds(gaps.ratio(SECONDS["5m"] * routers), SECONDS["5m"]),
    )
    chosen = {pool: choices.get((route.key, pool)) for pool in mine if marked(specs.pools[pool])}
    caches = {pool: _terms(made, gaps, routers, specs, pool) for pool, made in chosen.items()}
    return replace(route, demand=demand, caches=caches)


def _terms(made: Choice | None, gaps: Gaps, routers: float, specs: Specs, pool: str) -> CacheTerms:
    """Where the router marks nothing, nothing is kept and nothing written."""
    price = specs.prices[pool]
    if made is None or made.life == NONE:
        return CacheTerms(0.0, float(price.input), 1.0)
    seconds = SECONDS[made.life]
    write = price.cache_write_1h if made.life == "1h" else price.cache_write
    return CacheTerms(seconds, float(write), poisson_gap_seconds(gaps.ratio(seconds * routers), seconds))
