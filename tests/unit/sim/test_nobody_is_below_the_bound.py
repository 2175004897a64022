"""The bounds against real runs: no baseline, no fixed fleet however full it is kept, is ever below them."""

from __future__ import annotations

import pytest

from comptroller.sim.baselines.registry import BASELINES
from comptroller.sim.bound import hindsight_bound, startup_bound
from comptroller.sim.policy import Policy
from comptroller.sim.replay import Replay, epochs
from tests.unit.sim.arena_build import Fixed, demand, stage

RATES = {"full": (28.0, 14.0, 10.0, 6.0), "short": (60.0, 40.0, 30.0, 10.0)}


def over_bound(policy: Policy, rates: tuple[float, ...], rules: str = "{}") -> float:
    """The objective over the higher of the two bounds."""
    of = stage(*rates, rules=rules)
    asked = demand(of, hours=0.5)
    bound = max(hindsight_bound(epochs(of, asked)).usd, startup_bound(epochs(of, asked, 60.0)).usd)
    return Replay(of, asked, policy, 60.0).run().objective_usd / bound


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
def test_no_baseline_is_below_the_bound(name: str, rates: tuple[float, ...]) -> None:
    assert over_bound(BASELINES[name].policy(), rates, rules="{onPremisesOnly: 0.1, euOnly: 0.3}") >= 1.0


@pytest.mark.parametrize("limit", [40, 58, 62, 64, None])
def test_no_fixed_fleet_is_below_the_bound_however_full_it_is_kept(limit: int | None) -> None:
    """The bound is one of means: which requests end in a step is drawn, and a thousandth is that luck."""
    assert over_bound(Fixed(8, {"ai/own": 1.0}, limit=limit), RATES["short"]) >= 0.999


def test_the_bound_is_near_for_a_fleet_that_is_just_full() -> None:
    """Eight replicas that are kept full, the rest at the API: hardly anything is left to gain."""
    assert over_bound(Fixed(8, {"ai/own": 1.0}, limit=62), RATES["short"]) <= 1.15
