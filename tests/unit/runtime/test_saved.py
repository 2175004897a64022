"""What the plan saves against the declared baseline."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.allocation.decide import decide
from comptroller.allocation.snapshot import BackendRule, Demand, HostedPool, Route, Sample, Snapshot
from comptroller.observe.measurements import Measurements
from comptroller.runtime.reconcile.policy_status import saved
from comptroller.runtime.state import Picture, Specs

CHEAP = HostedPool("ai/cheap", "m", "EU", "external", 1.0, 1.0, 2.0)
DEAR = HostedPool("ai/dear", "m", "US", "external", 4.0, 4.0, 8.0)
ELSEWHERE = HostedPool("other/dearest", "m", "US", "external", 40.0, 40.0, 80.0)
ROUTE = Route(
    "ai/research/chat", "chat", "ai/research", (BackendRule("ai/cheap"), BackendRule("ai/dear")),
    Demand(Sample(10.0), input_tokens=1000.0, output_tokens=500.0), 2000.0, 100.0,
)  # fmt: skip


def saving(route: Route, baseline_pool: str | None = None) -> str | None:
    snapshot = Snapshot(0.0, (), (CHEAP, DEAR, ELSEWHERE), (route,), {})
    return saved("ai/research", Picture(0.0, Specs(), Measurements(), {}, snapshot, decide(snapshot)), baseline_pool)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        pytest.param(None, "75%", id="the dearest that the route permits, not one of somebody else"),
        pytest.param("ai/cheap", "0%", id="the declared one, though the plan costs as much"),
        pytest.param("other/dearest", "98%", id="the declared one, wherever it is"),
        pytest.param("ai/gone", None, id="a declared one that is not there"),
    ],
)
def test_the_plan_is_held_against_the_baseline(pool: str | None, expected: str | None) -> None:
    assert saving(ROUTE, pool) == expected


def test_what_a_route_does_not_permit_is_no_baseline() -> None:
    assert saving(replace(ROUTE, jurisdictions=("EU",))) == "0%"
    assert saving(replace(ROUTE, perimeters=("onPremises",))) is None
