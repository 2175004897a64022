"""What the fleet may be asked: a few joint scenarios, from its own log."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

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
