"""How many requests of a mix may be in flight in a replica, reckoned by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.capacity import Shape, largest_batch, max_concurrency_at
from comptroller.allocation.snapshot import Profile
from tests.unit.allocation.build import H100

CHAT = Shape(1.0, 1000.0, 250.0, 800.0, 20.0)
LONG = Shape(1.0, 4000.0, 100.0, 2000.0, 20.0)


def test_two_kinds_by_hand() -> None:
    """An iteration grows by 0.3792 ms for each chat request and by 2.2718 ms for each long one. In 20 ms iterations a
    chat request stays 250 x 20 + 40 = 5040 ms, a long one 100 x 20 + 161 = 2161 ms: 70 % of those in flight are chat,
    the mean slope is 0.947 ms, and (20 - 5.5) / 0.947 = 15.3."""
    chat = 0.04 * 1250 / 251 + 0.00016 * 1125
    long = 0.04 * 4100 / 101 + 0.00016 * 4050
    stay_chat, stay_long = 250 * 20 + (0.04 + 0.00016) * 1000, 100 * 20 + (0.04 + 0.00016) * 4000
    slope = (chat * stay_chat + long * stay_long) / (stay_chat + stay_long)
    assert (20 - 5.5) / slope == pytest.approx(15.31, abs=0.01)
    assert largest_batch(H100, [CHAT, LONG]) == 15


def test_the_strictest_objective_counts_for_all() -> None:
    """At 15 ms, with three chat requests for each long one, the mean slope is 0.6204 ms: 9.5 / 0.6204 = 15.3."""
    assert (
        largest_batch(H100, [replace(CHAT, requests_per_second=3.0), replace(LONG, time_per_output_token_ms=15.0)])
        == 15
    )


def test_a_concave_curve_by_hand() -> None:
    """The same with a root of 1 ms: 0.6204 x^2 + x = 9.5 has x = 3.189, and 3.189^2 = 10.2."""
    mixture = [replace(CHAT, requests_per_second=3.0), replace(LONG, time_per_output_token_ms=15.0)]
    assert largest_batch(replace(H100, root_ms=1.0), mixture) == 10


def test_a_first_token_that_is_tighter_than_the_next_ones_is_the_limit() -> None:
    """60 ms less 40 ms for the own prompt leave iterations of 19.8 ms: (19.84 - 5.5) / 0.3792 = 37.8."""
    assert largest_batch(H100, [replace(CHAT, time_to_first_token_ms=60.0, time_per_output_token_ms=30.0)]) == 37


@pytest.mark.parametrize("per_token_ms", [10.0, 20.0, 30.0])
def test_one_kind_alone_is_what_the_plan_of_a_single_route_says(per_token_ms: float) -> None:
    one = replace(CHAT, time_per_output_token_ms=per_token_ms)
    assert largest_batch(H100, [one]) == max_concurrency_at(H100, 1000, 250, 800, per_token_ms, 0.95)


def test_a_kind_that_misses_its_objective_even_alone_does_not_bind_the_others() -> None:
    hopeless = replace(LONG, time_per_output_token_ms=5.0)
    assert largest_batch(H100, [CHAT, hopeless]) == largest_batch(H100, [CHAT])
    assert largest_batch(H100, [hopeless]) == H100.max_concurrency


def test_a_kind_that_nobody_asks_for_hardly_counts() -> None:
    assert largest_batch(H100, [CHAT, replace(LONG, requests_per_second=0.0)]) == largest_batch(H100, [CHAT])


shapes = st.builds(
    Shape,
    requests_per_second=st.floats(0, 100),
    input_tokens=st.floats(0, 20_000),
    output_tokens=st.floats(0, 5_000),
    time_to_first_token_ms=st.floats(1, 10_000),
    time_per_output_token_ms=st.floats(1, 200),
)
profiles = st.builds(
    Profile,
    alpha_ms=st.floats(0.1, 50),
    beta_ms=st.floats(0, 1),
    gamma_ms=st.floats(0, 0.01),
    max_concurrency=st.integers(1, 256),
    root_ms=st.floats(0, 5),
)


def iteration_ms(profile: Profile, slope_ms: float, batch: float) -> float:
    return profile.alpha_ms + profile.root_ms * math.sqrt(batch) + slope_ms * batch


@given(profiles, st.lists(shapes, min_size=1, max_size=4))
def test_it_is_a_batch_that_exists_and_lists_have_no_order(profile: Profile, mix: list[Shape]) -> None:
    batch = largest_batch(profile, mix)
    assert 1 <= batch <= profile.max_concurrency
    assert abs(largest_batch(profile, mix[::-1]) - batch) <= 1  # a sum in another order rounds elsewhere


@given(profiles, shapes)
def test_a_batch_of_one_kind_keeps_the_objective_and_one_more_would_not(profile: Profile, one: Shape) -> None:
    into, out = float(f"{one.input_tokens:.2e}"), float(f"{max(one.output_tokens, 1.0):.2e}")
    slope = profile.beta_ms * (into + out) / (out + 1) + profile.gamma_ms * (into + out / 2)
    limit = min(one.time_per_output_token_ms, one.time_to_first_token_ms - (profile.beta_ms + profile.gamma_ms) * into)
    batch = largest_batch(profile, [one])
    if iteration_ms(profile, slope, 1.0) <= limit * (1 - 1e-6):
        assert iteration_ms(profile, slope, batch) <= limit * (1 + 1e-6)
        assert batch == profile.max_concurrency or iteration_ms(profile, slope, batch + 1) >= limit * (1 - 1e-6)
