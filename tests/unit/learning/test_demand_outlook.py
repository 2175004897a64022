"""What the fleet may be asked: a few joint scenarios, from its own log."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from comptroller.allocation.snapshot import Outlook
from comptroller.learning.demand import DemandLearner

LEAD, SPAN = 240.0, 600.0
DAY = 1440


def wave(minute: int, mean: float, phase: float = 0.0) -> float:
    """A day's wave with some unrest that repeats every 37 minutes."""
    return mean * (1.0 + 0.6 * math.sin(2 * math.pi * minute / DAY + phase) + 0.1 * ((minute * 7) % 37 - 18) / 18)


def history(minutes: int, **means: float) -> dict[str, list[tuple[float, float]]]:
    return {name: [(60.0 * m, wave(m, mean)) for m in range(minutes)] for name, mean in means.items()}


def learner(minutes: int = 2 * DAY, **means: float) -> DemandLearner:
    result = DemandLearner()
    result.load_history(history(minutes, **(means or {"a": 10.0, "b": 2.0})))
    return result


def outlook(one: DemandLearner, now: Mapping[str, float], minute: int = 2 * DAY, count: int = 8) -> Outlook:
    return one.outlook(60.0 * minute, now, LEAD, SPAN, count)


def test_scenarios_are_equally_likely_and_never_negative() -> None:
    found = outlook(learner(), {"a": 10.0, "b": 0.0})

    assert sum(found.probabilities) == pytest.approx(1.0)
    assert set(found.requests_per_second) == {"a", "b"}
    for row in found.requests_per_second.values():
        assert len(row) == len(found.probabilities) == 8
        assert all(math.isfinite(one) and one >= 0.0 for one in row)


def test_without_enough_history_there_is_no_outlook() -> None:
    assert outlook(DemandLearner(), {"a": 1.0}) == Outlook()
    assert outlook(learner(180), {"a": 1.0}, minute=180) == Outlook()


def test_a_route_that_is_new_or_unknown_has_no_outlook_while_the_others_do() -> None:
    assert set(outlook(learner(), {"a": 10.0, "new": 3.0, "b": math.nan}).requests_per_second) == {"a"}


def test_the_order_of_routes_does_not_matter() -> None:
    now = {"a": 9.0, "b": 2.0}
    other = DemandLearner()
    other.load_history(dict(reversed(history(2 * DAY, a=10.0, b=2.0).items())))

    assert outlook(other, dict(reversed(now.items()))) == outlook(learner(), now)


def test_an_idle_route_may_wake_up() -> None:
    one = DemandLearner()
    one.load_history({"a": [(60.0 * m, 30.0 if m % 97 < 30 else 0.0) for m in range(3 * DAY)]})

    found = outlook(one, {"a": 0.0}, minute=3 * DAY).requests_per_second["a"]

    assert min(found) == 0.0
    assert max(found) > 5.0


def test_demand_beyond_anything_seen_stays_believed() -> None:
    found = outlook(learner(), {"a": 500.0, "b": 2.0}).requests_per_second["a"]

    assert min(found) > 300.0


def test_worth_decides_which_total_is_represented() -> None:
    one = learner(a=10.0, b=2.0, c=5.0)
    now = {"a": 10.0, "b": 2.0, "c": 5.0}

    found = one.outlook(60.0 * 2 * DAY, now, LEAD, SPAN, 8, {"a": 1.0, "b": math.nan, "c": -1.0})

    assert {key: sorted(row) for key, row in found.requests_per_second.items()} == {
        key: sorted(row) for key, row in outlook(one, now).requests_per_second.items()
    }


def test_the_times_that_were_not_asked_for_longest_are_forgotten() -> None:
    one = learner()
    for lead in (60.0, 120.0, 180.0, 240.0, 300.0):
        one.outlook(60.0 * 2 * DAY, {"a": 10.0}, lead, SPAN)

    assert list(one._learned) == [(3, 10), (4, 10), (5, 10)]


@example(60.0 * 2 * DAY, {"a": 1.0, "b": 1.0}, 180.0, 600.0, 8, {"a": 2e306, "b": 1.0})
@given(
    st.floats(),
    st.dictionaries(st.sampled_from(["a", "b", "new"]), st.floats()),
    st.floats(),
    st.floats(),
    st.integers(-3, 200),
    st.dictionaries(st.sampled_from(["a", "b"]), st.floats()),
)
def test_whatever_is_asked_rates_are_rates(
    at: float, now: dict[str, float], lead: float, span: float, count: int, worth: dict[str, float]
) -> None:
    found = LEARNED.outlook(at, now, lead, span, count, worth)

    assert not found.requests_per_second or sum(found.probabilities) == pytest.approx(1.0)
    for row in found.requests_per_second.values():
        assert len(row) == len(found.probabilities)
        assert all(math.isfinite(one) and 0.0 <= one <= 2e6 for one in row)


LEARNED = learner(DAY)


@settings(max_examples=30)
@given(st.lists(st.one_of(st.none(), st.floats(0, 100), st.floats()), min_size=1, max_size=40), st.integers(0, 10**6))
def test_whatever_was_recorded_rates_are_rates(told: list[float | None], start: int) -> None:
    one = DemandLearner()
    for number, rate in enumerate(told * 15):
        one.record(60.0 * (start + number), {"a": rate, "b": 1.0})

    found = one.outlook(60.0 * (start + 15 * len(told)), {"a": 1.0, "b": 1.0}, LEAD, SPAN)

    for row in found.requests_per_second.values():
        assert all(math.isfinite(each) and 0.0 <= each <= 2e6 for each in row)
