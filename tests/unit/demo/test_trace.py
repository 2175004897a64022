"""The trace becomes a schedule: compressed, scaled, split over routes, and the same every time."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from e2e.demo import scenario
from e2e.demo.trace import (
    MAXIMUM_CV,
    ClientWindow,
    RouteShape,
    Stretch,
    arrivals,
    load_step,
    read_windows,
    scaled_rates,
    schedule,
    total_rates,
)

STEADY = RouteShape("steady", (1,), 100, 40)
REST = RouteShape("rest", None, 100, 40)
STRETCH = Stretch(first_window=10, windows=3, window_seconds=10.0, peak_requests_per_second=6.0)


def windows(rates: dict[int, list[float]], cv: float = 1.0) -> list[ClientWindow]:
    return [
        ClientWindow(client, 10 + index, rate, cv)
        for client, per_window in rates.items()
        for index, rate in enumerate(per_window)
    ]


def test_the_busiest_window_has_the_rate_asked_for() -> None:
    rates = scaled_rates(windows({1: [10, 10, 10], 2: [5, 20, 5]}), STRETCH, [STEADY, REST])
    assert rates["steady"][1][0] + rates["rest"][1][0] == pytest.approx(6.0)


def test_proportions_between_clients_and_over_time_stay() -> None:
    rates = scaled_rates(windows({1: [10, 10, 10], 2: [5, 20, 5]}), STRETCH, [STEADY, REST])
    assert [rate for rate, _ in rates["steady"]] == pytest.approx([2.0, 2.0, 2.0])
    assert [rate for rate, _ in rates["rest"]] == pytest.approx([1.0, 4.0, 1.0])


def test_clients_that_no_route_names_are_left_out_unless_a_route_takes_the_rest() -> None:
    rates = scaled_rates(windows({1: [10, 10, 10], 2: [10, 10, 10]}), STRETCH, [STEADY])
    assert sum(rate for rate, _ in rates["steady"]) == pytest.approx(9.0)


def test_a_client_in_two_routes_is_refused() -> None:
    with pytest.raises(ValueError, match="client 1 is in route steady and in route other"):
        scaled_rates(windows({1: [1, 1, 1]}), STRETCH, [STEADY, RouteShape("other", (1,), 1, 1)])


def test_a_recording_gap_is_refused() -> None:
    with pytest.raises(ValueError, match="window 11: a recording gap"):
        total_rates([ClientWindow(1, 10, 5.0, 1.0), ClientWindow(1, 12, 5.0, 1.0)], STRETCH)


def test_the_cv_of_a_route_is_weighted_by_rate_and_limited() -> None:
    calm, wild = ClientWindow(1, 10, 9.0, 1.0), ClientWindow(2, 10, 1.0, 2.0)
    stretch = Stretch(10, 1, 10.0, 5.0)
    assert scaled_rates([calm, wild], stretch, [REST])["rest"][0][1] == pytest.approx(1.1)
    assert scaled_rates([ClientWindow(1, 10, 1.0, 99.0)], stretch, [REST])["rest"][0][1] == MAXIMUM_CV


@pytest.mark.parametrize("cv", [0.1, 1.0, 3.0])
def test_each_window_has_as_many_arrivals_as_its_rate_says_whatever_the_burstiness(cv: float) -> None:
    times = arrivals([(2.0, cv), (0.5, cv), (4.0, cv)], 10.0, random.Random(1))
    counts = Counter(int(at // 10) for at in times)
    assert [counts[index] for index in range(3)] in ([20, 5, 40], [20, 5, 41], [21, 5, 40], [20, 6, 40])
    assert times == sorted(times)


def test_fractions_of_requests_are_carried_over() -> None:
    assert len(arrivals([(0.05, 1.0)] * 40, 10.0, random.Random(1))) in (20, 21)


def test_a_higher_cv_makes_less_even_gaps() -> None:
    def spread(cv: float) -> float:
        times = arrivals([(20.0, cv)], 100.0, random.Random(3))
        gaps = [b - a for a, b in pairwise(times)]
        mean = sum(gaps) / len(gaps)
        return float((sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / mean)

    assert spread(0.3) < 0.4 < 0.85 < spread(1.0) < 1.2 < 2.0 < spread(2.5)


def test_the_load_step_is_where_the_largest_rise_begins() -> None:
    rates = scaled_rates(windows({1: [10, 10, 40]}), STRETCH, [REST])
    assert load_step(rates, 10.0) == 20.0


def test_the_same_seed_gives_the_same_schedule_and_another_one_another() -> None:
    data = windows({1: [10, 10, 10], 2: [5, 20, 5]})
    one, again = (schedule(data, STRETCH, [STEADY, REST]) for _ in range(2))
    other = schedule(data, Stretch(10, 3, 10.0, 6.0, seed=2), [STEADY, REST])
    assert one == again != other


def test_the_demos_stretch_has_one_clear_load_step_and_ends_low() -> None:
    data, stretch = read_windows(Path(scenario.TRACE)), scenario.STRETCH
    rates = scaled_rates(data, stretch, scenario.ROUTES)
    totals = [sum(route[index][0] for route in rates.values()) for index in range(stretch.windows)]
    step = int(load_step(rates, stretch.window_seconds) / stretch.window_seconds)
    assert max(totals) == pytest.approx(stretch.peak_requests_per_second)
    assert max(totals[:step]) < totals[step] / 2
    assert max(totals[-4:]) < max(totals) / 2
    assert stretch.seconds <= 210


def test_the_demos_schedule_is_in_order_numbered_and_has_all_routes() -> None:
    requests = schedule(read_windows(Path(scenario.TRACE)), scenario.STRETCH, scenario.ROUTES)
    assert [one.number for one in requests] == list(range(len(requests)))
    assert [one.at for one in requests] == sorted(one.at for one in requests)
    assert min(Counter(one.route for one in requests).values()) >= 40
    assert requests[0].at >= 0
    assert requests[-1].at < scenario.STRETCH.seconds
