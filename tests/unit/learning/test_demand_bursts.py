"""How bursty a route is, told from its own minutes; and the outlook that goes into the snapshot with it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.snapshot import Demand, Outlook, Route, Sample, Unknown
from comptroller.learning.demand import DemandLearner
from comptroller.learning.demand_bursts import FEWEST_DIFFERENCES, MOST, WINDOW_MINUTES, dispersions
from comptroller.learning.demand_log import DemandLog
from comptroller.learning.outlook import foreseen, outlook_of
from tests.unit.allocation.build import demand, hosted, local, route, snapshot

CHAT = "ai/policy/chat"


def log_of(rates: Iterable[float | None], name: str = CHAT) -> DemandLog:
    """A log of one rate a minute; None is a minute that nobody measured. The last minute is still under way."""
    log = DemandLog()
    for minute, rate in enumerate([*rates, 0.0]):
        log.record(60.0 * minute, {name: rate})
    return log


def told(rates: Iterable[float | None]) -> float | None:
    return dispersions(log_of(rates), [CHAT]).get(CHAT)


def poisson(mean: float, minutes: int = WINDOW_MINUTES, seed: int = 1) -> list[float]:
    return [float(count) / 60.0 for count in np.random.default_rng(seed).poisson(60.0 * mean, minutes)]


def crowds(mean: float, size: int, seed: int = 1) -> list[float]:
    """Poisson arrivals of crowds of so many: their dispersion is their size."""
    return [size * rate for rate in poisson(mean / size, seed=seed)]


@pytest.mark.parametrize("mean", [0.2, 2.0, 50.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_poisson_arrivals_have_about_one(mean: float, seed: int) -> None:
    assert told(poisson(mean, seed=seed)) == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize("size", [4, 20, 100])
def test_crowds_have_about_their_size(size: int) -> None:
    found = [told(crowds(200.0, size, seed)) for seed in range(8)]
    assert np.mean([one for one in found if one is not None]) == pytest.approx(size, rel=0.1)


def test_the_docstrings_number() -> None:
    """Minutes of 600 requests that differ by 49 in the mean square: half of 2400 over 600 is 2. Of normal differences
    the largest tenth is 0.44 of the sum; what is left is reckoned back."""
    minutes = 600.0 + np.random.default_rng(1).normal(0.0, np.sqrt(1200.0), WINDOW_MINUTES)
    assert np.mean(np.diff(minutes) ** 2) == pytest.approx(49**2, rel=0.2)
    assert told((minutes / 60.0).tolist()) == pytest.approx(2.0, rel=0.3)


def test_a_jump_of_the_level_is_no_burst() -> None:
    assert told([*poisson(10.0, 60), *poisson(50.0, 60, 2), *poisson(10.0, 60, 3)]) == pytest.approx(1.0, abs=0.4)


def test_a_slow_wave_is_no_burst() -> None:
    wave = 10.0 * (1.0 + 0.6 * np.sin(2 * np.pi * np.arange(WINDOW_MINUTES) / 1440))
    counts = np.random.default_rng(1).poisson(60.0 * wave)
    assert told((counts / 60.0).tolist()) == pytest.approx(1.0, abs=0.35)


def test_minutes_that_nobody_measured_are_left_out() -> None:
    rates: list[float | None] = list(poisson(10.0))
    for minute in range(0, WINDOW_MINUTES, 5):
        rates[minute] = None
    assert told(rates) == pytest.approx(1.0, abs=0.4)


def test_across_a_gap_there_is_no_difference() -> None:
    """Every second minute is unknown: no minute has a known one beside it."""
    assert told([rate if minute % 2 else None for minute, rate in enumerate(poisson(10.0))]) is None


@pytest.mark.parametrize(("minutes", "known"), [(FEWEST_DIFFERENCES, False), (FEWEST_DIFFERENCES + 1, True)])
def test_too_little_of_a_log_tells_nothing(minutes: int, known: bool) -> None:
    assert (told(poisson(10.0, minutes)) is not None) is known


def test_the_minute_that_is_under_way_does_not_count() -> None:
    log = log_of(poisson(10.0))
    log.record(60.0 * WINDOW_MINUTES + 30, {CHAT: 1e4})
    assert dispersions(log, [CHAT])[CHAT] == told(poisson(10.0))


def test_what_is_older_than_three_hours_is_forgotten() -> None:
    assert told([*crowds(200.0, 100), *poisson(200.0)]) == told(poisson(200.0))


def test_silence_and_unknown_routes_are_left_out() -> None:
    assert told([0.0] * WINDOW_MINUTES) is None
    assert dispersions(log_of(poisson(1.0)), ["ai/policy/other"]) == {}
    assert dispersions(DemandLog(), [CHAT]) == {}
    assert dispersions(log_of(poisson(1.0)), []) == {}


def test_it_lies_between_poisson_and_what_is_believed() -> None:
    assert told([10.0] * WINDOW_MINUTES) == 1.0
    assert told([2000.0 * (minute % 2) for minute in range(WINDOW_MINUTES)]) == MOST


def test_each_route_is_told_for_itself_in_whatever_order_they_are_named() -> None:
    log = DemandLog()
    for minute, rates in enumerate(zip(poisson(10.0), crowds(200.0, 20), strict=True)):
        log.record(60.0 * minute, dict(zip(("a", "b"), rates, strict=True)))
    log.record(60.0 * WINDOW_MINUTES, {"a": 0.0, "b": 0.0})

    found = dispersions(log, ["b", "a", "new"])
    assert found == dispersions(log, ["a", "new", "b"])
    assert found == {"a": told(poisson(10.0)), "b": told(crowds(200.0, 20))}


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=60))
def test_whatever_was_measured_it_is_a_number_that_can_be(rates: list[float | None]) -> None:
    found = told(rates)
    assert found is None or 1.0 <= found <= MOST


class TestWhatIsForeseen:
    """The snapshot with its outlook and its dispersions: what the operator and the simulator decide from."""

    def learner(self, rates: list[float]) -> DemandLearner:
        learner = DemandLearner()
        learner.load_history({CHAT: [(60.0 * minute, rate) for minute, rate in enumerate(rates)]})
        return learner

    def asked(self, *routes: Route, minute: int) -> tuple[Demand, ...]:
        world = snapshot(local(), hosted(), *routes, at_seconds=60.0 * minute)
        found = foreseen(self.learner(crowds(20.0, 20) * 16), world)
        return tuple(one.demand for one in found.routes)

    def test_bursts_and_outlook_are_taken_in_and_nothing_else_changes(self) -> None:
        rates = crowds(20.0, 20) * 16  # two days
        learner = self.learner(rates)
        world = snapshot(local(), hosted(), route(rps=20.0), at_seconds=60.0 * len(rates))
        found = foreseen(learner, world)

        (chat,) = found.routes
        assert chat.demand.dispersion == dispersions(learner.log, [CHAT])[CHAT] > 10.0
        assert found.outlook == outlook_of(learner, world) != Outlook()
        assert set(found.outlook.requests_per_second) == {CHAT}
        plain = snapshot(local(), hosted(), route(demand=demand(20.0, dispersion=chat.demand.dispersion)))
        assert found.routes == plain.routes
        assert (found.local_pools, found.rules, found.memory) == (world.local_pools, world.rules, world.memory)

    def test_a_route_that_is_new_keeps_what_it_came_with(self) -> None:
        new = route("new", demand=demand(5.0, dispersion=3.0))
        known, unknown = self.asked(route(rps=20.0), new, minute=16 * WINDOW_MINUTES)
        assert known.dispersion > 10.0
        assert unknown == new.demand

    def test_bursts_are_told_while_nobody_knows_what_is_asked_now(self) -> None:
        (asked,) = self.asked(route(rps=Unknown("stale")), minute=16 * WINDOW_MINUTES)
        assert isinstance(asked.requests_per_second, Unknown)
        assert asked.dispersion > 10.0

    def test_without_a_log_nothing_is_foreseen(self) -> None:
        world = snapshot(local(), hosted(), route(rps=Sample(20.0)))
        assert foreseen(DemandLearner(), world) == world
