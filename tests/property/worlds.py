"""Random fleets with everything that a snapshot can hold, whether it can be true or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from comptroller.allocation.snapshot import (
    BackendRule,
    Budget,
    HostedPool,
    LocalPool,
    Measurement,
    Memory,
    Outlook,
    Profile,
    Route,
    Rules,
    Sample,
    Snapshot,
    Unknown,
)
from tests.unit.allocation.build import demand, hosted, local, route

PERIMETERS = ("onPremises", "privateCloud", "external")
JURISDICTIONS = ("EU", "US")
CLASSES = ("h100", "rtx4090")

odd = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e300, -0.0])
rates = st.floats(0, 60).map(lambda value: Sample(round(value, 2)))
odd_numbers: st.SearchStrategy[Measurement] = odd.map(Sample)
unknown = st.just(Unknown("stale"))
measurements: st.SearchStrategy[Measurement] = st.one_of(rates, rates, rates, unknown, odd_numbers)


@st.composite
def local_pools(draw: st.DrawFn, name: str) -> LocalPool:
    minimum = draw(st.integers(0, 2))
    return local(
        name,
        gpu_class=draw(st.sampled_from(CLASSES)),
        gpus_per_replica=draw(st.sampled_from([0, 1, 2, 4])),
        jurisdiction=draw(st.sampled_from(JURISDICTIONS)),
        perimeter=draw(st.sampled_from(PERIMETERS[:2])),
        minimum=minimum,
        maximum=minimum + draw(st.integers(0, 8)),
        serving=draw(st.integers(0, 6)),
        starting=draw(st.integers(0, 3)),
        previous=draw(st.one_of(st.none(), st.integers(0, 10))),
        profile=Profile(
            draw(st.floats(2, 40)), draw(st.floats(0, 0.2)), draw(st.floats(0, 0.001)), 32,
            root_ms=draw(st.sampled_from([0.0, 0.0, 1.5])),
        ),
        startup_seconds=draw(st.sampled_from([0.0, 60.0, 180.0, 2000.0])),
        idle_usd_per_replica_hour=draw(st.sampled_from([0.0, 0.03, 4.0, 40.0])),
        busy_extra_usd_per_replica_hour=draw(st.sampled_from([0.0, 0.13])),
        paused=draw(st.integers(0, 9)) == 0,
        held_at=draw(st.integers(0, 12)) if draw(st.integers(0, 9)) == 0 else None,
    )  # fmt: skip


@st.composite
def hosted_pools(draw: st.DrawFn, name: str) -> HostedPool:
    return hosted(
        name,
        jurisdiction=draw(st.sampled_from(JURISDICTIONS)),
        perimeter=draw(st.sampled_from(PERIMETERS)),
        output_usd_per_million_tokens=draw(st.sampled_from([0.0, 0.4, 15.0])),
        requests_per_minute=draw(st.sampled_from([None, 60.0, 600.0])),
        max_concurrency=draw(st.sampled_from([None, 4])),
        cache_write_usd_per_million_tokens=draw(st.sampled_from([None, 3.75])),
        cache_ttl_seconds=draw(st.sampled_from([None, 300.0])),
        available=draw(st.integers(0, 5)) > 0,
        paused=draw(st.integers(0, 9)) == 0,
    )


@st.composite
def routes(draw: st.DrawFn, name: str, pools: Sequence[str], rate: st.SearchStrategy[Measurement]) -> Route:
    names = draw(st.lists(st.sampled_from(pools), min_size=1, max_size=4, unique=True))
    return route(
        name,
        demand=demand(
            draw(rate),
            draw(measurements),
            input_tokens=draw(st.sampled_from([100.0, 1000.0, 4000.0])),
            output_tokens=draw(st.sampled_from([1.0, 250.0])),
            cached_ratio=draw(st.sampled_from([0.0, 0.8])),
            prefix_gap_seconds=draw(st.sampled_from([None, 60.0])),
            dispersion=draw(st.sampled_from([1.0, 1.0, 3.0, 60.0])),
        ),
        backends=tuple(BackendRule(f"ai/{one}", draw(st.sampled_from([0.7, 0.95, 1.0]))) for one in names),
        time_to_first_token_ms=draw(st.sampled_from([20.0, 500.0, 2000.0])),
        minimum_pass_rate=draw(st.sampled_from([0.0, 0.0, 0.9])),
        usd_per_solved_task=draw(st.sampled_from([None, None, 0.5])),
        jurisdictions=draw(st.sampled_from([(), (), ("EU",)])),
        perimeters=draw(st.sampled_from([(), (), ("onPremises",), ("onPremises", "external")])),
        priority=draw(st.sampled_from([50, 100])),
        on_overload=draw(st.sampled_from(["spill", "spill", "queue", "reject"])),
        judged_ratio=draw(st.sampled_from([0.0, 0.0, 0.3])),
    )


@st.composite
def outlooks(draw: st.DrawFn, asked: Sequence[Route]) -> Outlook:
    """None, or up to four joint scenarios for some of the routes."""
    count = draw(st.integers(0, 4))
    if count == 0:
        return Outlook()
    parts = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    row = st.lists(st.integers(0, 60).map(float), min_size=count, max_size=count).map(tuple)
    known = [one.key for one in asked if draw(st.booleans())]
    return Outlook(tuple(part / sum(parts) for part in parts), {key: draw(row) for key in known})


@st.composite
def budgets(draw: st.DrawFn, asked: Sequence[Route]) -> tuple[Budget, ...]:
    """The budget of the policy perhaps, and of a tenant of it."""
    left = st.one_of(st.sampled_from([0.0, 1.0, 60.0, 1e4]).map(Sample), unknown)
    hours = st.sampled_from([0.001, 1.0, 700.0])
    found = []
    for name, part in (("ai/policy", 1.0), ("ai/policy/team", 0.3)):
        if draw(st.booleans()):
            parts = {one.key: part for one in asked}
            found.append(Budget(name, parts, draw(left), 3600.0 * draw(hours), binding=draw(st.booleans())))
    return tuple(found)


@st.composite
def worlds(
    draw: st.DrawFn, rate: st.SearchStrategy[Measurement] = measurements, rules: Rules | None = None
) -> Snapshot:
    """A fleet of up to three local pools, two hosted ones and three routes."""
    own = [draw(local_pools(f"own{i}")) for i in range(draw(st.integers(0, 3)))]
    apis = [draw(hosted_pools(f"api{i}")) for i in range(draw(st.integers(0, 2)))]
    names = [*(one.model for one in own), *(one.model for one in apis), "missing"]
    asked = [draw(routes(f"route{i}", names, rate)) for i in range(draw(st.integers(1, 3)))]
    shares = {
        one.key: {f"ai/{name}": 1.0 / len(names) for name in names} for one in asked if draw(st.integers(0, 2)) == 0
    }
    gpus = {
        (name, ""): draw(st.one_of(st.integers(0, 20).map(lambda n: Sample(float(n))), unknown)) for name in CLASSES
    }
    return Snapshot(
        at_seconds=1000.0,
        local_pools=tuple(own),
        hosted_pools=tuple(apis),
        routes=tuple(asked),
        gpus=gpus,
        rules=replace(rules or Rules(), holding_after_restart=draw(st.booleans())),
        memory=Memory(
            shares=shares,
            requests_per_second=dict.fromkeys(shares, 3.0),
            budget_usd_per_hour=draw(st.sampled_from([{}, {"ai/policy": 20.0}])),
        ),
        outlook=draw(outlooks(asked)),
        budgets=draw(budgets(asked)),
        gpus_per_node={(name, ""): draw(st.sampled_from([1.0, 8.0])) for name in CLASSES if draw(st.booleans())},
    )


def permitted(one: Route, pool: LocalPool | HostedPool) -> bool:
    """The rules in other words than the allocator's."""
    if one.jurisdictions and pool.jurisdiction not in one.jurisdictions:
        return False
    if isinstance(pool, HostedPool) and one.perimeters and "external" not in one.perimeters:
        return False
    return not (one.perimeters and pool.perimeter not in one.perimeters)


def pinned(pool: LocalPool) -> bool:
    """Whether a person said how many replicas it has."""
    return pool.paused or pool.held_at is not None


def last_target(pool: LocalPool) -> int:
    """What was wanted last; before the first decision, what exists."""
    return pool.existing if pool.previous is None else pool.previous
