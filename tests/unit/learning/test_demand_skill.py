"""A method is trusted as far as it beats the last value on the route's own log."""

from __future__ import annotations

import numpy as np
import pytest

from comptroller.allocation.snapshot import Outlook
from comptroller.learning.demand import DemandLearner
from comptroller.learning.demand_log import DAY_MINUTES
from comptroller.learning.demand_methods import LAST_VALUE, METHODS, score
from comptroller.learning.demand_origins import Seen
from comptroller.learning.demand_skill import Skill

LEAD, SPAN = 240.0, 600.0


def nightly(minute: int) -> float:
    """A job that runs from two to three every night."""
    return 50.0 if 120 <= minute % DAY_MINUTES < 180 else 0.0


def steady(minute: int) -> float:
    """No pattern in time: what changes, changes by chance, the same in every run."""
    return 10.0 + float(np.random.default_rng(minute).normal())


def learner(minutes: int) -> DemandLearner:
    result = DemandLearner()
    result.load_history(
        {
            "nightly": [(60.0 * minute, nightly(minute)) for minute in range(minutes + 1)],
            "steady": [(60.0 * minute, steady(minute)) for minute in range(minutes + 1)],
        }
    )
    return result


def mean_ahead(one: DemandLearner, minute: int, route: str, now: float) -> float:
    outlook = one.outlook(60.0 * minute, {route: now}, LEAD, SPAN)
    return sum(p * rate for p, rate in zip(outlook.probabilities, outlook.requests_per_second[route], strict=True))


def test_the_worked_number_of_the_score() -> None:
    assert score(np.array([[10.0, 20.0]]), np.array([[0.5, 0.5]]), np.array([20.0])).tolist() == [2.5]


def test_one_number_scores_its_absolute_error() -> None:
    assert score(np.array([[7.0, 7.0]]), np.array([[0.3, 0.7]]), np.array([4.0])).tolist() == pytest.approx([3.0])


def test_the_last_value_is_mostly_now() -> None:
    seen = Seen(np.array([[20.0, 5.0]]), np.array([[10.0, np.nan]]), np.array([[0.0, 0.0]]))

    assert seen.last_value()[0].tolist() == pytest.approx([17.0, 5.0])


def test_a_job_of_every_night_is_expected_when_it_began_yesterday() -> None:
    before = 4 * DAY_MINUTES + 113  # it begins in seven minutes

    one = learner(before)

    assert mean_ahead(one, before, "nightly", 0.0) > 10.0
    assert one.skills()["nightly"].method != LAST_VALUE.name
    assert one.skills()["nightly"].skill > 0.2


def test_at_noon_the_job_of_the_night_is_not_expected() -> None:
    noon = 4 * DAY_MINUTES + 720

    assert mean_ahead(learner(noon), noon, "nightly", 0.0) < 1.0


def test_without_a_pattern_nothing_is_far_better_than_the_last_value() -> None:
    minute = 3 * DAY_MINUTES
    one = learner(minute)

    assert mean_ahead(one, minute, "steady", 10.0) == pytest.approx(10.0, abs=0.5)
    assert one.skills()["steady"].skill < 0.3


def test_until_something_is_scored_the_last_value_is_used() -> None:
    one = learner(230)
    one.outlook(60.0 * 230, {"nightly": 0.0}, LEAD, SPAN)

    assert one.skills()["nightly"] == Skill(LAST_VALUE.name, 0.0, 0)


def test_a_fleet_without_routes_has_no_skills() -> None:
    one = DemandLearner()
    for minute in range(300):
        one.record(60.0 * minute, {})

    assert one.outlook(60.0 * 300, {"a": 1.0}, LEAD, SPAN) == Outlook()
    assert one.skills() == {}


def test_nothing_is_known_of_the_skill_before_the_first_outlook() -> None:
    assert learner(300).skills() == {}
    assert DemandLearner().skills() == {}


def test_skills_are_told_for_every_route_with_their_samples() -> None:
    minute = 2 * DAY_MINUTES
    one = learner(minute)
    one.outlook(60.0 * minute, {"nightly": 0.0}, LEAD, SPAN)

    found = one.skills()
    assert set(found) == {"nightly", "steady"}
    for skill in found.values():
        assert skill.method in {method.name for method in METHODS}
        assert skill.samples > 20
        assert -1.0 <= skill.skill <= 1.0


def test_a_learner_that_goes_on_knows_as_much_as_one_that_loads_it_all() -> None:
    minute, later = 2 * DAY_MINUTES, 2 * DAY_MINUTES + 45
    one = learner(minute)
    for at in range(minute, later + 1):
        one.record(60.0 * at, {"nightly": nightly(at), "steady": steady(at)})
        one.outlook(60.0 * at, {"nightly": 0.0, "steady": 10.0}, LEAD, SPAN)

    other = learner(later)
    other.outlook(60.0 * later, {"steady": 10.0}, LEAD, SPAN)

    mine, others = (next(iter(each._learned.values())).origins for each in (one, other))
    assert (mine.minutes == others.minutes).all()
    assert np.allclose(mine.figures, others.figures, equal_nan=True)


def test_a_new_route_joins_without_forgetting_the_others() -> None:
    minute = 2 * DAY_MINUTES
    one = learner(minute)
    one.outlook(60.0 * minute, {"steady": 10.0}, LEAD, SPAN)
    before = one.skills()["steady"]

    one.record(60.0 * minute + 30.0, {"new": 3.0, "steady": 10.0})
    found = one.outlook(60.0 * minute + 30.0, {"steady": 10.0, "new": 3.0}, LEAD, SPAN)

    assert set(found.requests_per_second) == {"steady"}
    assert one.skills()["steady"].samples == before.samples > 0
    assert one.skills()["steady"].skill == pytest.approx(
        before.skill, abs=0.01
    )  # the mean of the fleet has a new member
    assert one.skills()["new"].samples == 0
