"""More tasks than budget: frontier tokens go where a dollar of them is worth most, down to the last dollar."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.allocation.decide import decide
from comptroller.allocation.snapshot import BackendRule, Snapshot
from tests.unit.allocation.build import budget, hosted, route, snapshot

CHEAP, FRONTIER = "ai/cheap", "ai/frontier"
CHEAP_USD, FRONTIER_USD = 0.000675, 0.00675  # of one default request


@dataclass(frozen=True)
class Task:
    """A kind of task: how often it is asked, what a solved one is worth, how often each model solves it."""

    rps: float
    usd: float
    cheap: float
    frontier: float


def world(tasks: list[Task], usd_per_hour: float) -> Snapshot:
    """Tasks with a budget that an even pace lets be spent at so many dollars an hour."""
    pools = (
        hosted("cheap", input_usd_per_million_tokens=0.3, output_usd_per_million_tokens=1.5),
        hosted("frontier"),
    )
    routes = [
        route(
            f"task-{number}", "cheap", "frontier", rps=one.rps, usd_per_solved_task=one.usd,
            backends=(BackendRule(CHEAP, one.cheap), BackendRule(FRONTIER, one.frontier)),
        )
        for number, one in enumerate(tasks)
    ]  # fmt: skip
    names = [one.name for one in routes]
    return snapshot(*pools, *routes, budgets=(budget(usd_per_hour / 1.25, 1.0, *names),))


def most_worth(tasks: list[Task], usd_per_hour: float) -> float:
    """The known optimum, in US dollars per second: steps from nobody to the cheap model and on to the frontier model,
    taken in the order of what a dollar brings until the budget is spent. A step that brings more per dollar than the
    one before it is taken together with that."""
    steps = []
    for one in tasks:
        first = (one.usd * one.cheap - CHEAP_USD, CHEAP_USD)
        second = (one.usd * (one.frontier - one.cheap) - (FRONTIER_USD - CHEAP_USD), FRONTIER_USD - CHEAP_USD)
        both = [first, second]
        if second[0] / second[1] > first[0] / first[1]:
            both = [(first[0] + second[0], first[1] + second[1])]
        steps += [(gain * one.rps, usd * one.rps) for gain, usd in both if gain > 0.0]
    left, worth = usd_per_hour / 3600.0, 0.0
    for gain, usd in sorted(steps, key=lambda step: -step[0] / step[1]):
        part = min(1.0, left / usd)
        left, worth = left - part * usd, worth + part * gain
    return worth


def told(tasks: list[Task], usd_per_hour: float) -> dict[int, float]:
    """The share of each task that the frontier model answers."""
    decision = decide(world(tasks, usd_per_hour))
    return {
        number: decision.routes[f"ai/policy/task-{number}"].shares.get(FRONTIER, 0.0) for number in range(len(tasks))
    }


def test_the_task_that_is_worth_most_gets_the_frontier_model_and_the_least_goes_without() -> None:
    tasks = [Task(1.0, 0.05, 0.6, 0.95), Task(1.0, 0.50, 0.6, 0.95), Task(1.0, 0.10, 0.6, 0.95)]
    every = 3 * CHEAP_USD * 3600.0
    one = (FRONTIER_USD - CHEAP_USD) * 3600.0
    assert told(tasks, every + 1.5 * one) == pytest.approx({0: 0.0, 1: 1.0, 2: 0.5}, abs=1e-3)


def test_a_task_that_the_cheap_model_solves_too_gets_no_frontier_tokens_however_much_it_is_worth() -> None:
    tasks = [Task(1.0, 5.0, 0.95, 0.95), Task(1.0, 0.10, 0.6, 0.95)]
    assert told(tasks, 100.0) == pytest.approx({0: 0.0, 1: 1.0}, abs=1e-3)


def test_what_is_not_worth_its_price_is_not_bought_though_money_is_left() -> None:
    assert told([Task(1.0, 0.01, 0.6, 0.95)], 1000.0) == pytest.approx({0: 0.0}, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(Task, st.floats(0.2, 5), st.floats(0.02, 1), st.floats(0.3, 0.7), st.floats(0.75, 0.99)),
        min_size=2,
        max_size=6,
    ),
    st.floats(0.05, 0.95),
)
def test_it_is_the_optimum_by_value_per_dollar(tasks: list[Task], part: float) -> None:
    least = sum(one.rps for one in tasks) * CHEAP_USD * 3600.0
    most = sum(one.rps for one in tasks) * FRONTIER_USD * 3600.0
    usd_per_hour = least + part * (most - least)
    decision = decide(world(tasks, usd_per_hour))
    worth = 0.0
    for number, one in enumerate(tasks):
        plan = decision.routes[f"ai/policy/task-{number}"]
        answered = one.rps * (1.0 - plan.shed_ratio)
        for pool, rate, usd in ((CHEAP, one.cheap, CHEAP_USD), (FRONTIER, one.frontier, FRONTIER_USD)):
            worth += answered * plan.shares.get(pool, 0.0) * (one.usd * rate - usd)
    assert worth == pytest.approx(most_worth(tasks, usd_per_hour), rel=0.01)
