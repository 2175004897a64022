"""Curves fitted to measured silicon, and to what nobody should trust."""

from __future__ import annotations

from functools import cache
from statistics import mean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.capacity import capacity_requests_per_second
from comptroller.learning.speed_fit import SpeedPoint, fit, leave_one_out, merged
from tests.unit.learning.silicon import Group, is_dense_on_hopper, measured_groups


@cache
def groups() -> dict[Group, list[SpeedPoint]]:
    return measured_groups()


@pytest.fixture(scope="module")
def errors() -> dict[Group, float]:
    """Mean relative error of each group, every point being foretold from the others."""
    return {group: mean(leave_one_out(points)) for group, points in groups().items()}


def test_the_median_group_of_measured_silicon_is_foretold_within_twelve_percent(errors: dict[Group, float]) -> None:
    assert len(errors) == 151
    assert median(errors.values()) <= 0.12  # the goal
    assert median(errors.values()) == pytest.approx(0.041, abs=0.005)  # what it is


def test_dense_models_on_h100_and_h200_are_foretold_within_six_percent(errors: dict[Group, float]) -> None:
    dense = [error for group, error in errors.items() if is_dense_on_hopper(group)]
    assert len(dense) == 30
    assert median(dense) <= 0.06  # the goal
    assert median(dense) == pytest.approx(0.042, abs=0.005)  # what it is


def test_the_largest_batch_is_foretold_from_the_smaller_ones() -> None:
    off = []
    for points in groups().values():
        largest = max(one.batch for one in points)
        known = [one for one in points if one.batch < largest]
        if len(known) < 5:
            continue
        curve = fit(known)
        off += [
            abs(curve.per_token_ms(one.batch, one.input_tokens, one.output_tokens) / one.per_token_ms - 1)
            for one in points
            if one.batch == largest
        ]
    assert median(off) < 0.09


def test_points_choose_the_curve_and_not_the_models_name() -> None:
    bent = {group: fit(points).root_ms > 0 for group, points in groups().items()}
    experts = [is_bent for group, is_bent in bent.items() if not is_dense_on_hopper(group)]
    dense = [is_bent for group, is_bent in bent.items() if is_dense_on_hopper(group)]
    assert mean(experts) > 0.75
    assert mean(dense) < 0.5


def straight(batch: float, tokens_in: float, tokens_out: float) -> SpeedPoint:
    slope = 0.04 * (tokens_in + tokens_out) / (tokens_out + 1) + 0.00016 * (tokens_in + tokens_out / 2)
    return SpeedPoint(batch, tokens_in, tokens_out, 5.5 + slope * batch)


SHAPES = [(batch, *tokens) for batch in (1, 2, 4, 8, 16, 32, 64) for tokens in ((1000, 250), (4000, 200), (300, 900))]


def test_a_straight_curve_is_found_again_to_the_digit() -> None:
    found = fit([straight(*shape) for shape in SHAPES])
    assert (found.alpha_ms, found.beta_ms, found.gamma_ms, found.root_ms) == pytest.approx((5.5, 0.04, 0.00016, 0.0))
    assert found.foretold_error_ratio < 1e-6
    profile = found.profile(max_concurrency=64)
    assert capacity_requests_per_second(profile, 1000, 250, 800, 30, 0.95) == pytest.approx(7.91, rel=0.005)
    assert (profile.source, profile.samples) == ("learned", 21)


def test_a_concave_curve_is_found_again() -> None:
    points = [SpeedPoint(b, i, o, straight(b, i, o).per_token_ms + 1.6 * b**0.5) for b, i, o in SHAPES]
    found = fit(points)
    assert (found.alpha_ms, found.beta_ms, found.gamma_ms, found.root_ms) == pytest.approx((5.5, 0.04, 0.00016, 1.6))


def test_noise_does_not_bend_a_straight_curve() -> None:
    noisy = [
        SpeedPoint(b, i, o, straight(b, i, o).per_token_ms * (1.03 if number % 2 else 0.97))
        for number, (b, i, o) in enumerate(SHAPES)
    ]
    found = fit(noisy)
    assert found.root_ms == 0.0
    assert found.per_token_ms(64, 1000, 250) == pytest.approx(straight(64, 1000, 250).per_token_ms, rel=0.03)


def test_one_point_gives_a_curve_that_nobody_vouches_for() -> None:
    found = fit([straight(8, 1000, 250)])
    assert found.per_token_ms(8, 1000, 250) == pytest.approx(straight(8, 1000, 250).per_token_ms)
    assert found.foretold_error_ratio == 1.0


def test_equal_conditions_count_once_with_their_median() -> None:
    assert merged([SpeedPoint(1, 2, 3, value) for value in (4, 40, 5)]) == [SpeedPoint(1, 2, 3, 5.0)]


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_positive_number_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="points: every batch"):
        fit([straight(8, 1000, 250), SpeedPoint(8, 1000, 250, wrong)])


def test_no_points_are_refused() -> None:
    with pytest.raises(ValueError, match="points"):
        fit([])


positive = st.floats(1e-3, 1e6)


@given(st.lists(st.builds(SpeedPoint, positive, positive, positive, positive), min_size=1, max_size=12))
def test_no_curve_has_a_negative_coefficient_and_more_never_takes_less(points: list[SpeedPoint]) -> None:
    found = fit(points)
    assert min(found.alpha_ms, found.beta_ms, found.gamma_ms, found.root_ms) >= 0
    assert 0 <= found.foretold_error_ratio <= 1
    assert found.per_token_ms(1, 100, 100) <= found.per_token_ms(2, 100, 100) <= found.per_token_ms(2, 200, 100) + 1e-9
