"""Puts a scenario and a demand file together: routes with their clients, scaled to the load, and what is true.

Which clients become routes, what the load is, and who has data rules follows from the whole file and not from the days
that are run, so that day 7 is the same alone as beside day 8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from comptroller.allocation.capacity import replica_capacity
from comptroller.allocation.declared import objective_of, pass_rate_of, profile_of
from comptroller.api.modelpool import ModelPoolSpec, Perimeter
from comptroller.api.routingpolicy import DataRules, Route, RoutingPolicySpec
from comptroller.api.settings import Settings
from comptroller.economics.ownership import running_cost_of
from comptroller.sim.scenario import Scenario, ScenarioError, Tier
from comptroller.sim.trace import ClientTrace, Trace
from comptroller.sim.world import (
    BLOCKED_FACTOR,
    MISSED_FACTOR,
    GpuGroup,
    TrueHostedPool,
    TrueLocalPool,
    TrueRoute,
    World,
)

UNCACHED_SECONDS = 0.0
LIFETIME_SECONDS = {"5m": 300.0, "1h": 3600.0}


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks a route: a client of the trace, and by which factor its recorded rates are scaled."""

    client: ClientTrace
    factor: float


@dataclass(frozen=True, slots=True)
class Stage:
    """A scenario that can be run. `asked` has one entry for each of `world.routes`, in that order."""

    scenario: Scenario
    trace: Trace
    policies: Mapping[str, RoutingPolicySpec]  # with the routes that were copied from templates
    world: World
    asked: tuple[Asked, ...]

    @property
    def settings(self) -> Settings:
        return self.scenario.spec.settings

    @property
    def pools(self) -> Mapping[str, ModelPoolSpec]:
        return self.scenario.pools


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A route before it is scaled."""

    policy: str
    route: Route
    tier: str
    client: ClientTrace
    factor: float = 1.0


def build_stage(scenario: Scenario, trace: Trace, load: float | None = None) -> Stage:
    """Raises `ScenarioError` where the file has not what the scenario asks for. `load` overrides the scenario's."""
    demand = scenario.spec.demand
    everywhere = [(key, route) for key, policy in scenario.policies.items() for route in policy.routes]
    templates = {route.name: (key, route) for key, route in everywhere}
    templates |= {f"{key}/{route.name}": (key, route) for key, route in everywhere}
    chosen: list[_Chosen] = []
    for index, tier in enumerate(demand.tiers):
        policy, template = templates[tier.template]
        clients = _clients(scenario, trace, index, template)
        made = [_Chosen(policy, _copy(template, one), tier.template, one) for one in clients]
        made = _with_data_rules(scenario, made)
        chosen += _scaled(scenario, tier, made, load if load is not None else demand.load)
    for name, given in demand.routes.items():
        policy, route = templates[name]
        chosen.append(_Chosen(policy, route, name, _named(trace, name, given.trace, given.client)))
    chosen.sort(key=lambda one: (one.policy, one.route.name))
    return Stage(
        scenario,
        trace,
        _policies(scenario, chosen),
        _world(scenario, chosen),
        tuple(Asked(one.client, one.factor) for one in chosen),
    )


def pseudo_clients(scenario: Scenario) -> int:
    """Into how many clients a file without clients is split."""
    return sum(tier.clients for tier in scenario.spec.demand.tiers) + len(scenario.spec.demand.routes)


def _clients(scenario: Scenario, trace: Trace, index: int, template: Route) -> list[ClientTrace]:
    """The clients of a tier: of its model, those with the most work; of a file with one stream only, every k-th."""
    tiers = scenario.spec.demand.tiers
    tier, models = tiers[index], sorted({one.trace for one in trace.clients})
    if tier.trace in models:
        mine = [one for one in trace.clients if one.trace == tier.trace]
    elif len(models) == 1:
        mine = [one for number, one in enumerate(trace.clients) if number % len(tiers) == index]
    else:
        raise ScenarioError(
            f"demand.tiers[{index}].trace: the demand file has no {tier.trace} (it has: {', '.join(models)})"
        )
    work = {one.client: float(one.requests_per_second.mean()) * _gpus_each(scenario, template, one) for one in mine}
    busy = [one for one in mine if work[one.client] > 0]
    if not busy:
        raise ScenarioError(f"demand.tiers[{index}]: no client of {tier.trace} asks for anything in the demand file")
    return sorted(busy, key=lambda one: (-work[one.client], one.client))[: tier.clients]


def _named(trace: Trace, name: str, model: str, client: str) -> ClientTrace:
    for one in trace.clients:
        if (one.trace, one.client) == (model, client):
            return one
    raise ScenarioError(
        f"demand.routes.{name}: the demand file has no client {client} of {model} with token counts. Choose another"
    )


def _copy(template: Route, client: ClientTrace) -> Route:
    suffix = client.client.zfill(3) if client.client.isdigit() else client.client.lower()
    return template.model_copy(update={"name": f"{template.name}-{suffix}"})


def _gpus_each(scenario: Scenario, route: Route, client: ClientTrace) -> float:
    """GPUs that one request/s takes in the best pool of the load's class that the template names; 1 without any."""
    wanted, gpu_classes = scenario.spec.demand.load_class, scenario.spec.settings.gpu_classes
    best: list[float] = []
    for backend in route.backends:
        pool = next((one for key, one in scenario.pools.items() if key.endswith(f"/{backend.pool}")), None)
        if pool is None or pool.local is None or pool.local.accelerator.class_ != wanted:
            continue
        first_ms, each_ms, percentile = objective_of(route, scenario.spec.settings.defaults)
        profile = profile_of(pool, gpu_classes[wanted])
        found = replica_capacity(
            profile, client.input_tokens, client.output_tokens, first_ms, each_ms, percentile
        ).requests_per_second
        best.append(max(1, pool.local.accelerator.count) / found)
    return min(best, default=1.0)


def _with_data_rules(scenario: Scenario, chosen: list[_Chosen]) -> list[_Chosen]:
    """Gives clients data rules until the asked parts of the tier's work have them: in the order of a hash of their
    names, each only if that brings the part closer. Templates with rules of their own keep these."""
    shares = scenario.spec.demand.data_rules
    work = {one.route.name: _work(scenario, one) for one in chosen}
    total = sum(work.values())
    order = sorted(chosen, key=lambda one: hashlib.sha256(one.client.client.encode()).hexdigest())
    rules: dict[str, DataRules] = {}
    for wanted, rule in (
        (shares.on_premises_only, DataRules(perimeters=[Perimeter.ON_PREMISES])),
        (shares.eu_only, DataRules(jurisdictions=["EU"])),
    ):
        got = 0.0
        for one in order:
            part = work[one.route.name] / total
            if one.route.name not in rules and abs(got + part - wanted) < abs(got - wanted):
                rules[one.route.name], got = rule, got + part
    return [
        replace(one, route=one.route.model_copy(update={"data": rules[one.route.name]}))
        if one.route.name in rules and one.route.data is None
        else one
        for one in chosen
    ]


def _work(scenario: Scenario, one: _Chosen) -> float:
    """Mean GPUs that a client's recorded demand needs."""
    return float(one.client.requests_per_second.mean()) * _gpus_each(scenario, one.route, one.client)


def _scaled(scenario: Scenario, tier: Tier, chosen: list[_Chosen], load: float | None) -> list[_Chosen]:
    """One factor for the tier: the sum of mean rate times GPUs per request/s becomes its part of load times GPUs."""
    if load is None:
        return chosen
    demand = scenario.spec.demand
    gpus = sum(one.count for one in scenario.spec.gpus if one.class_ == demand.load_class)
    needs = sum(_work(scenario, one) for one in chosen)
    return [replace(one, factor=tier.share_of_load * load * gpus / needs) for one in chosen]


def _policies(scenario: Scenario, chosen: Sequence[_Chosen]) -> dict[str, RoutingPolicySpec]:
    found: dict[str, RoutingPolicySpec] = {}
    for key, policy in scenario.policies.items():
        routes = [one.route for one in chosen if one.policy == key]
        if routes:
            found[key] = policy.model_copy(update={"routes": routes})
    return found


def _world(scenario: Scenario, chosen: Sequence[_Chosen]) -> World:
    spec = scenario.spec
    local = [_local(key, one, spec.settings) for key, one in sorted(scenario.pools.items()) if one.local is not None]
    hosted = [_hosted(key, one, scenario) for key, one in sorted(scenario.pools.items()) if one.hosted is not None]
    return World(
        gpus=tuple(GpuGroup(one.class_, one.site, one.count, one.per_node) for one in spec.gpus),
        local=tuple(local),
        hosted=tuple(hosted),
        routes=tuple(_route(one, scenario, local, hosted) for one in chosen),
    )


def _local(key: str, spec: ModelPoolSpec, settings: Settings) -> TrueLocalPool:
    local = spec.local
    assert local is not None  # noqa: S101 - the caller chose the pool by it
    gpu, power = settings.gpu_classes[local.accelerator.class_], running_cost_of(local, settings)
    return TrueLocalPool(
        key=key,
        model=spec.model.name,
        gpu_class=local.accelerator.class_,
        site="",
        gpus_per_replica=local.accelerator.count if gpu.resource_name else 0,
        jurisdiction=spec.location.jurisdiction,
        perimeter=spec.location.perimeter.value,
        minimum=local.replicas.min,
        maximum=local.replicas.max,
        profile=profile_of(spec, gpu),
        startup_seconds=float(local.startup_seconds),
        idle_usd_per_replica_hour=float(power.idle_usd_per_hour),
        busy_extra_usd_per_replica_hour=float(power.busy_extra_usd_per_hour),
    )


def _hosted(key: str, spec: ModelPoolSpec, scenario: Scenario) -> TrueHostedPool:
    hosted, price, speed = spec.hosted, scenario.prices[key], scenario.spec.hosted
    assert hosted is not None  # noqa: S101 - the caller chose the pool by it
    cache = hosted.prompt_cache
    lifetime = 300.0
    if cache is not None and cache.mode == "none":
        lifetime = UNCACHED_SECONDS
    elif cache is not None and cache.ttls:
        lifetime = min(LIFETIME_SECONDS[one] for one in cache.ttls)
    return TrueHostedPool(
        key=key,
        model=spec.model.name,
        jurisdiction=spec.location.jurisdiction,
        perimeter=spec.location.perimeter.value,
        input_usd_per_million_tokens=float(price.input),
        cached_input_usd_per_million_tokens=float(price.cached_input),
        output_usd_per_million_tokens=float(price.output),
        requests_per_minute=hosted.limits.requests_per_minute,
        tokens_per_minute=hosted.limits.tokens_per_minute,
        max_concurrency=hosted.limits.max_concurrency,
        first_token_ms=speed.first_token_ms,
        per_output_token_ms=speed.per_output_token_ms,
        cache_ttl_seconds=lifetime,
        cache_minimum_tokens=float(cache.minimum_tokens) if cache else 1024.0,
    )


def _route(
    one: _Chosen, scenario: Scenario, local: Sequence[TrueLocalPool], hosted: Sequence[TrueHostedPool]
) -> TrueRoute:
    namespace, route, client = one.policy.split("/", 1)[0], one.route, one.client
    named = {f"{namespace}/{backend.pool}": pass_rate_of(backend) for backend in reversed(route.backends)}
    inside = [pool for pool in local if pool.key in named and _allowed(route, pool.jurisdiction, pool.perimeter)]
    leaves = route.data is None or not route.data.perimeters or Perimeter.EXTERNAL in route.data.perimeters
    outside = [
        pool for pool in hosted if leaves and pool.key in named and _allowed(route, pool.jurisdiction, pool.perimeter)
    ]
    of_tier = [pool for pool in hosted if pool.key in named]
    first_ms, each_ms, percentile = objective_of(route, scenario.spec.settings.defaults)
    reference, cheapest = _prices(outside, of_tier, client)
    return TrueRoute(
        key=f"{one.policy}/{route.name}",
        name=route.name,
        policy=one.policy,
        tier=one.tier,
        permitted=tuple(
            pool.key for pool in (*inside, *(outside if route.on_overload == "spill" or not inside else ()))
        ),
        pass_rates=named,
        input_tokens=client.input_tokens,
        output_tokens=client.output_tokens,
        time_to_first_token_ms=first_ms,
        time_per_output_token_ms=each_ms,
        percentile=percentile,
        blocked_usd=BLOCKED_FACTOR * reference,
        missed_usd=MISSED_FACTOR * cheapest,
        best_cached_ratio=client.reuse(86400.0, 1.0) if client.reuse else 0.0,
    )


def _allowed(route: Route, jurisdiction: str, perimeter: str) -> bool:
    data = route.data
    if data is None:
        return True
    return (not data.jurisdictions or jurisdiction in data.jurisdictions) and (
        not data.perimeters or perimeter in {one.value for one in data.perimeters}
    )


def _prices(
    permitted: Sequence[TrueHostedPool], of_tier: Sequence[TrueHostedPool], client: ClientTrace
) -> tuple[float, float]:
    """The reference price of one request, and that of its cheapest permitted hosted answer, in US dollars.

    The reference is the dearest permitted hosted price; where none is permitted, that of the tier's pool in the US
    (of the dearest, where there is none there).
    """

    def usd(pool: TrueHostedPool) -> float:
        return pool.usd_per_request(client.input_tokens, client.output_tokens)

    if permitted:
        return max(usd(one) for one in permitted), min(usd(one) for one in permitted)
    american = [usd(one) for one in of_tier if one.jurisdiction == "US"]
    reference = max(american or [usd(one) for one in of_tier] or [0.0])
    return reference, reference
