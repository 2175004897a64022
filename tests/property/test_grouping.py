"""Grouped routes against the same routes planned one by one: the same permission, the same limits, nearly the cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.decision_fleets import fleet
from comptroller.allocation import grouping
from comptroller.allocation.cases import Case
from comptroller.allocation.decide import decide
from comptroller.allocation.limits import Bounds
from comptroller.allocation.measured import cleaned
from comptroller.allocation.problem import Pair, Problem, by_pool, prepare
from comptroller.allocation.snapshot import Sample, Snapshot, Unknown
from comptroller.allocation.solve import Fleet, routed_plan, sized_plan
from comptroller.allocation.stabilise import firm_holds, within_inventory
from comptroller.allocation.validate import flaws
from tests.property.test_contracts import promises
from tests.property.worlds import worlds

SIZES = ("6x24 in 2", "10x40 in 2", "16x60 in 3")
few = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

GAP = 1e-3  # of the cost: the solver's tolerance, and penalties that follow the dearest pair

# size, seed and load of a fleet
chosen_fleets = st.tuples(st.sampled_from(SIZES), st.integers(0, 10_000), st.sampled_from([0.3, 0.6, 1.0, 1.5]))


@contextmanager
def widths(*chosen: float) -> Iterator[None]:
    """Every fleet is grouped, by these widths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouping, "MOST_PAIRS", 0)
        patch.setattr(grouping, "WIDTHS", chosen)
        grouping._alike.cache_clear()
        yield
    grouping._alike.cache_clear()


def valued(world: Snapshot) -> Snapshot:
    """Every answer has a price that does not depend on the fleet, no quality is asked for, and no API has a limit."""
    return replace(
        world,
        routes=tuple(replace(one, usd_per_solved_task=1.0, minimum_pass_rate=0.0) for one in world.routes),
        hosted_pools=tuple(replace(one, requests_per_minute=None) for one in world.hosted_pools),
    )


def prepared(world: Snapshot) -> tuple[Snapshot, Problem, dict[str, Bounds]]:
    world, _ = cleaned(world)
    problem = prepare(world)
    holds = within_inventory(world, problem, firm_holds(world, problem))
    return world, problem, {key: hold.bounds for key, hold in holds.items()}


def routed_usd(world: Snapshot, problem: Problem, bounds: Mapping[str, Bounds], replicas: int) -> float:
    """The objective of the best routing to so many replicas in each pool; no flaw is left in it."""
    chosen = {key: min(max(replicas, bound.low), bound.high) for key, bound in bounds.items()}
    fixed = {key: Bounds(count, count, bounds[key].base) for key, count in chosen.items()}
    plan = routed_plan(problem, problem.rates, chosen, fixed, world.gpus, world.rules)
    assert plan.rung == "routing-lp"
    assert flaws(problem, problem.rates, fixed, world.gpus, plan) == []
    return plan.objective


def larger(problem: Problem, factor: float) -> Problem:
    """The same problem whose requests are that many times as large."""

    def grown(pair: Pair) -> Pair:
        return replace(
            pair,
            usd=factor * pair.usd,
            regret_usd=factor * pair.regret_usd,
            replicas=factor * pair.replicas,
            places=factor * pair.places,
        )

    pairs = {key: tuple(grown(pair) for pair in found) for key, found in problem.pairs.items()}
    return replace(problem, pairs=pairs, by_pool=by_pool(pairs, list(problem.by_pool)))


@given(chosen_fleets, st.sampled_from([0.1, 0.8]))
@settings(few, max_examples=15)
def test_a_grouped_decision_keeps_what_every_decision_keeps(chosen: tuple[str, int, float], width: float) -> None:
    with widths(width):
        world = fleet(*chosen)
        decision = decide(world)
    promises(world, decision)
    assert decision.rung == "milp"


@given(worlds())
@settings(few, max_examples=40)
def test_grouping_keeps_the_promises_in_odd_worlds(world: Snapshot) -> None:
    """Unknown demand, numbers that cannot be true, budgets, routes that would rather queue."""
    twins = tuple(replace(one, key=f"{one.key}-twin", name=f"{one.name}-twin") for one in world.routes)
    world = replace(world, routes=(*world.routes, *twins))
    with widths(0.1):
        promises(world, decide(world))


@given(chosen_fleets, st.sampled_from([0.1, 0.8]))
@settings(few, max_examples=25)
def test_members_may_go_to_the_same_pools_for_the_same_reasons(chosen: tuple[str, int, float], width: float) -> None:
    _, problem, _ = prepared(fleet(*chosen))
    with widths(width):
        groups = grouping.grouped(problem, problem.rates)
    assert groups.members is not None
    named = [one for members in groups.members.values() for one in members]
    assert sorted(named) == sorted(problem.routes)
    for key, members in groups.members.items():
        for one in members:
            mine, first = problem.routes[one], problem.routes[key]
            assert [pair.pool for pair in problem.pairs[one]] == [pair.pool for pair in groups.problem.pairs[key]]
            assert (mine.jurisdictions, mine.perimeters) == (first.jurisdictions, first.perimeters)
            assert (mine.priority, mine.minimum_pass_rate) == (first.priority, first.minimum_pass_rate)


@given(chosen_fleets, st.sampled_from([0.1, 0.4]), st.integers(0, 3))
@settings(few, max_examples=25)
def test_groups_cost_no_more_than_larger_requests(chosen: tuple[str, int, float], width: float, replicas: int) -> None:
    """And no less than the routes one by one: a plan of groups is one of theirs."""
    world, problem, bounds = prepared(valued(fleet(*chosen)))
    best = routed_usd(world, problem, bounds, replicas)
    bound = routed_usd(world, larger(problem, math.exp(width)), bounds, replicas)
    with widths(width):
        found = routed_usd(world, problem, bounds, replicas)
    assert best - GAP * abs(best) <= found <= bound + GAP * abs(bound)


@given(chosen_fleets, st.lists(st.floats(0.1, 3.0), min_size=2, max_size=4))
@settings(few, max_examples=15)
def test_requests_equal_up_to_their_rate_lose_nothing(chosen: tuple[str, int, float], parts: list[float]) -> None:
    """Each route comes several times: the groups find the plan that the routes one by one have."""
    world = valued(fleet(*chosen))
    small = replace(world, routes=world.routes[:8])
    copies = tuple(
        replace(
            one,
            key=f"{one.key}-{number}",
            demand=replace(one.demand, requests_per_second=Sample(part * one.demand.requests_per_second.value)),
        )
        for one in small.routes
        if not isinstance(one.demand.requests_per_second, Unknown)
        for number, part in enumerate(parts)
    )
    world, problem, bounds = prepared(replace(small, routes=copies))
    if sum(bound.low < bound.high for bound in bounds.values()) > 12:
        bounds = {key: replace(one, high=min(one.high, one.low + 1)) for key, one in bounds.items()}
    apart = sized_usd(world, problem, problem.rates, bounds)
    with widths(1e-6):
        groups = grouping.grouped(problem, problem.rates)
    assert len(groups.problem.routes) <= 8
    together = sized_usd(world, groups.problem, groups.rates(problem.rates), bounds)
    assert math.isclose(apart, together, rel_tol=GAP, abs_tol=GAP)


def sized_usd(world: Snapshot, problem: Problem, rates: Mapping[str, float], bounds: Mapping[str, Bounds]) -> float:
    whole = Fleet(problem, world.gpus, replace(world.rules, solver_time_limit_seconds=60.0), rates, (Case(1.0, rates),))
    plan = sized_plan(whole, bounds, absolute_gap_usd=0.0)
    assert plan.rung == "milp"
    return plan.objective


def test_a_fleet_that_is_small_enough_is_not_grouped() -> None:
    _, problem, _ = prepared(fleet("20x80 in 4", 1, 1.0))
    groups = grouping.grouped(problem, problem.rates)
    assert groups.problem is problem
    assert groups.rates(problem.rates) is problem.rates
