"""The demand log: a number a minute, and nothing that a clock or a counter says by mistake."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.learning.demand_log import DAY_MINUTES, KEPT_MINUTES, MOST_ROUTES, DemandLog, Rate


def rates(log: DemandLog, route: str, first: int, last: int) -> list[float]:
    """What is known of each minute from the first to the last; NaN where nothing is."""
    return [float(one) for one in log.means(np.arange(first, last + 1), 1, log.columns([route]))[:, 0]]


def same(found: list[float], wanted: list[float]) -> bool:
    return bool(np.allclose(found, wanted, equal_nan=True))


def test_what_is_measured_within_a_minute_is_averaged() -> None:
    log = DemandLog()
    for second, rate in ((0, 1.0), (15, 2.0), (45, 6.0), (60, 5.0)):
        log.record(600.0 + second, {"a": rate})

    assert same(rates(log, "a", 10, 11), [3.0, 5.0])


def test_a_minute_without_a_measurement_is_unknown_and_not_silence() -> None:
    log = DemandLog()
    log.record(600.0, {"a": 1.0, "b": Sample(2.0)})
    log.record(660.0, {"a": Unknown("no scrape"), "b": None})
    log.record(780.0, {"a": 0.0})

    assert same(rates(log, "a", 10, 13), [1.0, math.nan, math.nan, 0.0])
    assert same(rates(log, "b", 10, 13), [2.0, math.nan, math.nan, math.nan])


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -1.0, 1e12, "12x", Sample(math.nan), object()])
def test_what_is_no_rate_is_not_recorded(garbage: Any) -> None:
    log = DemandLog()
    log.record(600.0, {"a": 1.0})
    log.record(610.0, {"a": garbage})

    assert same(rates(log, "a", 10, 10), [1.0])


def test_one_wrong_reading_of_the_clock_wipes_out_nothing() -> None:
    log = DemandLog()
    for minute in range(100):
        log.record(60.0 * minute, {"a": 1.0})
    log.record(60.0 * (100 + 3 * DAY_MINUTES), {"a": 7.0})
    log.record(60.0 * 100, {"a": 1.0})
    log.record(60.0 * 40, {"a": 7.0})
    log.record(60.0 * 101, {"a": 1.0})

    assert log.newest_minute == 101
    assert same(rates(log, "a", 0, 101), [1.0] * 102)


def test_a_pause_is_believed_when_the_second_measurement_agrees() -> None:
    log = DemandLog()
    log.record(0.0, {"a": 1.0})
    log.record(60.0 * 300, {"a": 2.0})
    log.record(60.0 * 301, {"a": 3.0})

    assert log.newest_minute == 301
    assert same(rates(log, "a", 299, 301), [math.nan, math.nan, 3.0])
    assert same(rates(log, "a", 0, 0), [1.0])


def test_when_the_clock_was_ahead_what_it_dated_later_is_forgotten() -> None:
    log = DemandLog()
    for minute in range(100):
        log.record(60.0 * minute, {"a": 1.0})
    for minute in range(50, 60):
        log.record(60.0 * minute, {"a": 2.0})

    assert log.newest_minute == 59
    assert same(rates(log, "a", 48, 60), [1.0, 1.0, 1.0] + [2.0] * 9 + [math.nan])


def test_the_oldest_minutes_make_room() -> None:
    log = DemandLog(kept_minutes=100)
    for minute in range(250):
        log.record(60.0 * minute, {"a": float(minute)})

    assert same(rates(log, "a", 149, 151), [math.nan, 150.0, 151.0])


def test_a_mean_needs_half_of_its_minutes() -> None:
    log = DemandLog()
    for minute in (0, 1, 10):
        log.record(60.0 * minute, {"a": 4.0})

    found = log.means(np.array([0, 1, 10]), 4, log.columns(["a", "nobody"]))
    assert same(found[:, 0].tolist(), [4.0, math.nan, math.nan])
    assert np.isnan(found[:, 1]).all()


def test_history_fills_what_was_not_recorded() -> None:
    log = DemandLog()
    log.record(60.0 * 12, {"a": 9.0})
    log.load_history({"a": [(60.0 * minute, 1.0) for minute in range(10, 20)], "b": [(660.0, 2.0), (690.0, 4.0)]})

    assert same(rates(log, "a", 9, 13), [math.nan, 1.0, 1.0, 9.0, math.nan])
    assert same(rates(log, "b", 10, 12), [math.nan, 3.0, math.nan])


def test_samples_of_a_coarser_step_stand_for_all_of_its_minutes() -> None:
    log = DemandLog()
    log.load_history({"a": [(600.0, 1.0), (900.0, 2.0), (1500.0, 4.0)]}, step_seconds=300.0)

    assert same(rates(log, "a", 5, 16), [math.nan] + [1.0] * 5 + [2.0] * 5 + [math.nan])
    assert same(rates(log, "a", 20, 25), [math.nan] + [4.0] * 5)


def test_history_later_than_now_is_left_out() -> None:
    log = DemandLog()
    log.load_history({"a": [(600.0, 1.0), (1e9, 2.0), (math.nan, 3.0), (660.0, math.nan)]}, until_seconds=700.0)

    assert log.newest_minute == 11
    assert same(rates(log, "a", 10, 11), [1.0, math.nan])


def test_500_routes_need_less_than_40_megabytes() -> None:
    log = DemandLog()
    log.record(0.0, {f"route-{number}": 1.0 for number in range(500)})

    assert log.size_bytes < 40e6


def test_routes_beyond_the_most_are_not_logged_and_silent_ones_make_room() -> None:
    log = DemandLog(kept_minutes=10)
    log.record(0.0, {f"{number:04d}": 1.0 for number in range(MOST_ROUTES + 5)})
    assert len(log.routes) == MOST_ROUTES

    for minute in range(1, 12):
        log.record(60.0 * minute, {"0001": 1.0})
    log.record(60.0 * 12, {"new": 2.0, "0001": 1.0})
    assert log.routes == ("0001", "new")
    assert same(rates(log, "new", 11, 12), [math.nan, 2.0])


ANY_RATE: st.SearchStrategy[Rate] = st.one_of(
    st.none(), st.floats(), st.floats().map(Sample), st.just(Unknown("why")), st.floats(0, 100)
)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(), st.integers(0, 10**6).map(float)), st.dictionaries(st.sampled_from("abc"), ANY_RATE)
        ),
        max_size=30,
    )
)
def test_whatever_is_recorded_the_log_holds_rates_or_nothing(told: list[tuple[float, dict[str, Rate]]]) -> None:
    log = DemandLog(kept_minutes=200)
    for at_seconds, found in told:
        log.record(at_seconds, found)

    if log.newest_minute is not None:
        for route in log.routes:
            known = [one for one in rates(log, route, log.newest_minute - 250, log.newest_minute + 5) if one == one]
            assert all(0.0 <= one <= 1e6 for one in known)


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=20), st.floats())
def test_whatever_a_history_says_the_log_holds_rates_or_nothing(
    rows: list[tuple[float, float]], step_seconds: float
) -> None:
    log = DemandLog(kept_minutes=200)
    log.load_history({"a": rows}, step_seconds=step_seconds, until_seconds=1e6)

    if log.newest_minute is not None:
        assert log.newest_minute <= 1e6 / 60
        assert all(0.0 <= one <= 1e6 for one in rates(log, "a", 0, log.newest_minute) if one == one)


def test_the_default_holds_what_the_origins_need() -> None:
    assert KEPT_MINUTES >= 4 * DAY_MINUTES + 8 * 60


def test_a_log_that_began_at_the_first_minute_takes_in_nothing_later() -> None:
    log = DemandLog()
    log.record(0.0, {"a": 1.0})
    log.load_history({"a": [(6000.0, 5.0)]})
    log.record(60.0 * 30, {"a": 2.0})

    assert log.newest_minute == 30
    assert np.isnan(rates(log, "a", 100, 100)).all()
