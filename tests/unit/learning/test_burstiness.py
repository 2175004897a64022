"""Bursts are told from trends and from chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.learning.burstiness import Burstiness, after, together

WINDOW = 60.0


def learned(rates: list[float]) -> Burstiness:
    known = Burstiness()
    for number, rate in enumerate(rates):
        known = after(known, rate, WINDOW * (number + 1), WINDOW)
    return known


def counted(cv: float, requests_per_second: float, windows: int, seed: int, growth: float = 0.0) -> list[float]:
    """Rates of windows of a renewal process with gamma gaps, whose rate grows by a share per window."""
    draw = np.random.default_rng(seed)
    rates = []
    for number in range(windows):
        mean = 1.0 / (requests_per_second * (1 + growth * number))
        gaps = draw.gamma(1 / cv**2, mean * cv**2, int(4 * WINDOW / mean) + 50)
        start = draw.uniform(0, WINDOW)  # not at an arrival
        times = np.cumsum(gaps) - start
        rates.append(float(((times > 0) & (times <= WINDOW)).sum()) / WINDOW)
    return rates


@pytest.mark.parametrize("cv", [1.0, 2.0, 3.0])
def test_the_coefficient_of_variation_is_found_on_average(cv: float) -> None:
    found = [learned(counted(cv, 5.0, 60, seed)).dispersion for seed in range(40)]
    assert math.sqrt(np.mean(found)) == pytest.approx(cv, rel=0.15)


def test_a_trend_is_no_burst() -> None:
    found = [learned(counted(1.0, 5.0, 60, seed, growth=0.02)).dispersion for seed in range(20)]
    assert np.mean(found) < 1.4


def test_the_docstrings_example_holds() -> None:
    assert learned([2.0, 3.0, 2.2]).dispersion == pytest.approx((12 + 7.385) / 2, rel=0.001)


def test_before_ten_windows_arrivals_count_as_poisson() -> None:
    assert learned([1.0, 5.0] * 5).arrival_cv == 1.0
    assert learned([1.0, 5.0] * 6).arrival_cv > 2.0


def test_overlapping_windows_and_gaps_teach_nothing() -> None:
    known = learned([2.0, 3.0])
    assert after(known, 9.0, 130.0, WINDOW) == known
    later = after(known, 9.0, 1200.0, WINDOW)
    assert later.dispersion == known.dispersion
    assert after(later, 9.0, 1260.0, WINDOW).differences == 2


def test_an_unknown_window_ends_the_pair() -> None:
    known = after(learned([2.0, 3.0]), float("nan"), 180.0, WINDOW)
    assert after(known, 9.0, 240.0, WINDOW).differences == 1


def test_a_route_that_is_silent_stays_what_it_was() -> None:
    assert learned([0.0] * 30).dispersion == 1.0


def test_streams_together_are_smoother_than_the_wildest() -> None:
    assert together([(1, 3), (9, 1)]) == pytest.approx(1.342, abs=0.001)
    assert together([]) == 1.0
    assert together([(float("nan"), 3), (1, 2)]) == 2.0


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=40))
def test_no_windows_whatever_make_it_less_than_poisson_or_more_than_wild(windows: list[tuple[float, float]]) -> None:
    known = Burstiness()
    for rate, moment in windows:
        known = after(known, rate, moment, WINDOW)
        assert 1.0 <= known.arrival_cv <= math.sqrt(50) + 1e-9
        assert 0.0 <= known.dispersion <= 50.0
