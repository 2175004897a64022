"""Seeded fleets to decide about: the one of the demo, and random ones of a given size."""

from __future__ import annotations

import random
from dataclasses import replace

from comptroller.allocation.measured import cleaned
from comptroller.allocation.problem import prepare
from comptroller.allocation.snapshot import BackendRule, HostedPool, LocalPool, Profile, Route, Sample, Snapshot
from tests.unit.allocation.build import demand, hosted, local, route, snapshot

LOADS = (0.6, 1.0, 1.5)  # GPUs that the demand would need over the GPUs that there are
GPU_CLASSES = 4
GPUS_PER_POOL = 2.0
KINDS_PER_POLICY = 6


def fleet(size: str, seed: int, load: float) -> Snapshot:
    """`demo`, `POOLSxROUTES`, or `POOLSxROUTES in POLICIES`: a tenth of the pools, at least two, are hosted. Equal
    arguments, equal fleet. Without policies every route names pools of its own choice."""
    draw = random.Random(f"{size}/{seed}")  # noqa: S311 - wanted: the same numbers every time
    if size == "demo":
        return _loaded(_demo(draw), load)
    counts, _, policies = size.partition(" in ")
    pools, routes = (int(one) for one in counts.split("x"))
    return _loaded(_in_policies(draw, pools, routes, int(policies)) if policies else _random(draw, pools, routes), load)


def drifted(world: Snapshot, seed: int, *, shapes: bool) -> Snapshot:
    """The demand a tick later: rates up to 5 % off, and with `shapes` also tokens per request up to 2 %."""
    draw = random.Random(f"drift/{seed}/{shapes}")  # noqa: S311

    def changed(one: Route) -> Route:
        asked = one.demand
        assert isinstance(asked.requests_per_second, Sample)  # noqa: S101 - made here
        rate = asked.requests_per_second.value * draw.uniform(0.95, 1.05)
        factor = draw.uniform(0.98, 1.02) if shapes else 1.0
        new = demand(
            rate,
            1.2 * rate,
            input_tokens=asked.input_tokens * factor,
            output_tokens=asked.output_tokens * factor,
            cached_ratio=asked.cached_ratio,
        )
        return replace(one, demand=new)

    return replace(world, routes=tuple(changed(one) for one in world.routes))


def _demo(draw: random.Random) -> Snapshot:
    """Pools, prices and routes of examples/quickstart with the demo's CPU pool; only the mix of demand is drawn."""
    small = local(
        "qwen3-8b", gpu_class="rtx4090", minimum=1, maximum=4, serving=1, profile=Profile(17.0, 0.09, 0.0006, 64)
    )
    large = local("qwen3-32b", minimum=1, serving=1, profile=Profile(6.1, 0.05, 0.0004, 128))
    tiny = local("tiny-cpu", gpu_class="cpu", gpus_per_replica=0, minimum=1, maximum=1, serving=1,
                 profile=Profile(60.0, 20.0, 0.02, 4), idle_usd_per_replica_hour=0.003)  # fmt: skip
    sonnet = hosted("claude-sonnet", requests_per_minute=1000.0, tokens_per_minute=400000.0)
    mini = hosted("gpt-5-mini", input_usd_per_million_tokens=0.25, cached_input_usd_per_million_tokens=0.025,
                  output_usd_per_million_tokens=2.0, requests_per_minute=5000.0, tokens_per_minute=2e6)  # fmt: skip
    slow = {"time_per_output_token_ms": 100.0, "percentile": 0.9}
    routes = (
        _asked(draw, "extraction", {"qwen3-8b": 0.94, "qwen3-32b": 0.97, "gpt-5-mini": 0.96, "claude-sonnet": 0.99},
               time_to_first_token_ms=2500.0, minimum_pass_rate=0.93, **slow),
        _asked(draw, "planning", {"qwen3-32b": 0.96, "claude-sonnet": 0.99},
               time_to_first_token_ms=3000.0, minimum_pass_rate=0.95, usd_per_solved_task=0.02, **slow),
        _asked(draw, "deal-review", {"qwen3-32b": 0.96, "qwen3-8b": 0.92}, time_to_first_token_ms=4000.0,
               minimum_pass_rate=0.95, perimeters=("onPremises",), priority=200, on_overload="queue", **slow),
        _asked(draw, "formatting", {"tiny-cpu": 0.90, "gpt-5-mini": 0.96}, time_to_first_token_ms=4000.0, **slow),
    )  # fmt: skip
    world = snapshot(small, large, tiny, sonnet, mini, *routes)
    return replace(world, gpus={("rtx4090", ""): Sample(4.0), ("h100", ""): Sample(8.0)})


def _asked(draw: random.Random, name: str, pools: dict[str, float], **changes: object) -> Route:
    tokens = {"input_tokens": draw.uniform(300, 1500), "output_tokens": draw.uniform(50, 300)}
    asked = demand(draw.lognormvariate(0, 0.7), **tokens)
    backends = tuple(BackendRule(f"ai/{pool}", rate) for pool, rate in pools.items())
    return replace(route(name, *pools), demand=asked, backends=backends, **changes)  # type: ignore[arg-type]


def _random(draw: random.Random, pools: int, routes: int) -> Snapshot:
    outside = max(2, pools // 10)
    own = [_own(draw, number) for number in range(pools - outside)]
    apis = [_api(draw, number) for number in range(outside)]
    return _with_gpus(own, apis, [_random_route(draw, number, own, apis) for number in range(routes)])


def _in_policies(draw: random.Random, pools: int, routes: int, policies: int) -> Snapshot:
    """Each policy has pools of its own, two APIs, and a few kinds of routes whose requests differ in length by some
    tens of per cent; one kind in three may also use a pool that several policies share. Nodes hold eight GPUs."""
    outside = max(2, pools // 10)
    own = [_own(draw, number) for number in range(pools - outside)]
    apis = [_api(draw, number) for number in range(outside)]
    shared, owned = own[: max(1, len(own) // 50)], own[max(1, len(own) // 50) :]
    asked = []
    for policy in range(policies):
        mine = owned[policy::policies]
        out = draw.sample(apis, 2)
        kinds = []
        for _ in range(KINDS_PER_POLICY):
            some = draw.sample(mine, min(len(mine), draw.randint(2, 4)))
            some += [draw.choice(shared)] if draw.random() < 1 / 3 else []
            kinds.append(_random_route(draw, 0, some, out))
        asked += [_of_kind(draw, draw.choice(kinds), f"p{policy:03}", n) for n in range(routes // policies)]
    world = _with_gpus(own, apis, asked)
    return replace(world, gpus_per_node=dict.fromkeys(world.gpus, 8.0))


def _of_kind(draw: random.Random, kind: Route, policy: str, number: int) -> Route:
    tokens = {
        "input_tokens": kind.demand.input_tokens * draw.lognormvariate(0, 0.3),
        "output_tokens": kind.demand.output_tokens * draw.lognormvariate(0, 0.3),
    }
    asked = demand(draw.lognormvariate(0, 1), **tokens)
    name = f"r{number:03}"
    return replace(kind, key=f"ai/{policy}/{name}", name=name, policy=f"ai/{policy}", demand=asked)


def _with_gpus(own: list[LocalPool], apis: list[HostedPool], asked: list[Route]) -> Snapshot:
    world = snapshot(*own, *apis, *asked)
    taken = dict.fromkeys(world.gpus, 0.0)
    for pool in own:
        taken[pool.gpu_class, pool.site] += GPUS_PER_POOL * pool.gpus_per_replica
    return replace(world, gpus={group: Sample(count) for group, count in taken.items()})


def _own(draw: random.Random, number: int) -> LocalPool:
    """Four in five on owned GPUs, which cost their power; one in five rented."""
    gpus = draw.choice([1, 1, 2, 4])
    idle = gpus * (draw.uniform(0.02, 0.04) if draw.random() < 0.8 else draw.uniform(1.5, 4.0))
    return local(
        f"p{number:03}",
        gpu_class=f"class{draw.randrange(GPU_CLASSES)}",
        gpus_per_replica=gpus,
        maximum=draw.choice([4, 8, 16]),
        serving=draw.randint(0, 2),
        idle_usd_per_replica_hour=idle,
        busy_extra_usd_per_replica_hour=0.1 * gpus,
        profile=Profile(draw.uniform(4, 20), draw.uniform(0.03, 0.1), draw.uniform(0.0001, 0.0005), 64),
    )


def _api(draw: random.Random, number: int) -> HostedPool:
    output = draw.choice([0.4, 2.0, 4.0, 15.0])
    return hosted(
        f"api{number:02}",
        input_usd_per_million_tokens=output / 5,
        cached_input_usd_per_million_tokens=output / 50,
        output_usd_per_million_tokens=output,
        requests_per_minute=draw.choice([None, 3000.0]),
    )


def _random_route(draw: random.Random, number: int, own: list[LocalPool], apis: list[HostedPool]) -> Route:
    """Sparse: at most five pools inside and two outside. Three in ten may not leave the premises."""
    names = [one.model for one in draw.sample(own, min(len(own), draw.randint(2, 5)))]
    names += [one.model for one in draw.sample(apis, draw.randint(1, 2))]
    tokens = {"input_tokens": draw.lognormvariate(6.5, 0.8), "output_tokens": draw.lognormvariate(5.0, 0.6)}
    asked = demand(draw.lognormvariate(0, 1), **tokens)
    return replace(
        route(f"r{number:03}"),
        demand=asked,
        backends=tuple(BackendRule(f"ai/{one}", draw.choice([0.9, 0.95, 0.98])) for one in names),
        time_to_first_token_ms=draw.choice([800.0, 2000.0, 4000.0]),
        time_per_output_token_ms=draw.choice([30.0, 50.0, 100.0]),
        minimum_pass_rate=draw.choice([0.0, 0.0, 0.93]),
        perimeters=("onPremises",) if draw.random() < 0.3 else (),
        priority=draw.choice([50, 100, 200]),
    )


def _loaded(world: Snapshot, load: float) -> Snapshot:
    """The same fleet with all rates multiplied so that the cheapest pools inside would need `load` of the GPUs."""
    problem = prepare(cleaned(world)[0])
    needed = 0.0
    for key in problem.routes:
        gpus = [p.replicas * problem.local[p.pool].gpus_per_replica for p in problem.pairs[key] if p.inside]
        needed += problem.rates[key] * min(gpus, default=0.0)
    there = sum(one.value for one in world.gpus.values() if isinstance(one, Sample))
    factor = load * there / needed if needed else 1.0
    return replace(
        world,
        routes=tuple(
            replace(one, demand=replace(
                one.demand,
                requests_per_second=Sample(problem.rates[one.key] * factor),
                peak_requests_per_second=Sample(1.2 * problem.rates[one.key] * factor),
            ))
            for one in world.routes
        ),
    )  # fmt: skip
