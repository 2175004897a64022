"""How many processes a router gets: by its load, by what it is seen to use, and without coming and going."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.render.router.build import build_plans, router_name
from comptroller.render.router.processes import processes_for, router_replicas
from tests.golden.cases import DECIDED, KEYED, POLICY, STATES


@pytest.mark.parametrize(
    ("load", "current", "expected"),
    [(0, None, 1), (20, None, 1), (21, None, 2), (45, 4, 4), (35, 4, 3), (1000, 2, 4), (0, 4, 1)],
)
def test_processes_follow_the_load_with_hysteresis(load: float, current: int | None, expected: int) -> None:
    assert router_replicas(processes_for(load), current, 1, 4) == expected


def test_long_streams_need_more_than_their_requests_tell() -> None:
    assert processes_for(10.0) == 0.5
    assert processes_for(10.0, 1.3) == pytest.approx(1.857, abs=0.001)
    assert processes_for(10.0, 0.1) == 0.5


@given(st.floats(0, 1e4), st.none() | st.floats(0, 100), st.none() | st.integers(1, 64), st.integers(0, 8))
def test_within_the_bounds_and_enough(load: float, cores: float | None, current: int | None, minimum: int) -> None:
    processes = processes_for(load, cores)
    found = router_replicas(processes, current, minimum, 64)
    assert max(1, minimum) <= found <= 64
    assert found >= min(processes, 64)


def test_a_router_that_is_seen_to_be_busy_gets_more() -> None:
    def replicas(cores: dict[str, float]) -> dict[str, int]:
        plans = build_plans("research", "inference", POLICY, KEYED, STATES, DECIDED, router_cores=cores)
        return {plan.name: plan.replicas for plan in plans}

    calm, name = replicas({}), router_name("research")
    busy = replicas({name: 0.7 * (calm[name] + 1)})
    assert busy[name] == min(calm[name] + 1, POLICY.router.replicas.max)
    assert {key: one for key, one in busy.items() if key != name} == {k: v for k, v in calm.items() if k != name}
