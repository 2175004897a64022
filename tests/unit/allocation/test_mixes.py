"""What a replica holds of a mix of requests, and which part of it one of them takes, reckoned by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.capacity import (
    FULLNESS,
    FullBatch,
    Shape,
    full_batch,
    largest_batch,
    max_concurrency_at,
    replica_capacity,
)
from comptroller.allocation.snapshot import Profile
from tests.unit.allocation.build import H100

CHAT = Shape(1.0, 1000.0, 250.0, 800.0, 20.0)
LONG = Shape(1.0, 4000.0, 100.0, 2000.0, 20.0)
CHAT_SLOPE = 0.04 * 1250 / 251 + 0.00016 * 1125  # 0.3792 ms for each chat request in flight
LONG_SLOPE = 0.04 * 4100 / 101 + 0.00016 * 4050  # 2.2718 ms
MIXTURE = [replace(CHAT, requests_per_second=3.0), replace(LONG, time_per_output_token_ms=15.0)]


class TestTheFullBatch:
    def test_two_kinds_by_hand(self) -> None:
        """In 20 ms iterations a chat request stays 250 x 20 + 40 = 5040 ms, a long one 100 x 20 + 161 = 2161 ms: 70 %
        of those in flight are chat, the mean slope is 0.947 ms, and (20 - 5.5) / 0.947 = 15.31."""
        stay_chat, stay_long = 250 * 20 + (0.04 + 0.00016) * 1000, 100 * 20 + (0.04 + 0.00016) * 4000
        slope = (CHAT_SLOPE * stay_chat + LONG_SLOPE * stay_long) / (stay_chat + stay_long)
        full = full_batch(H100, [CHAT, LONG])
        found = (full.iteration_ms, full.batch, full.slope_ms)
        assert found == pytest.approx((20.0, (20 - 5.5) / slope, slope))
        assert full.batch == pytest.approx(15.31, abs=0.005)

    def test_the_strictest_objective_counts_for_all(self) -> None:
        """At 15 ms, with three chat requests for each long one, the mean slope is 0.6204 ms: 9.5 / 0.6204 = 15.31."""
        full = full_batch(H100, MIXTURE)
        assert (full.iteration_ms, full.slope_ms) == pytest.approx((15.0, 0.6204), abs=5e-5)
        assert full.batch == pytest.approx(15.31, abs=0.005)

    def test_a_concave_curve_by_hand(self) -> None:
        """The same with a root of 1 ms: 0.6204 x^2 + x = 9.5 has x = 3.189, and 3.189^2 = 10.17."""
        assert full_batch(replace(H100, root_ms=1.0), MIXTURE).batch == pytest.approx(10.17, abs=0.005)

    def test_a_first_token_that_is_tighter_than_the_next_ones_is_the_limit(self) -> None:
        """60 ms less 40 ms for the own prompt leave iterations of 19.84 ms: (19.84 - 5.5) / 0.3792 = 37.8."""
        full = full_batch(H100, [replace(CHAT, time_to_first_token_ms=60.0, time_per_output_token_ms=30.0)])
        assert (full.iteration_ms, full.batch) == pytest.approx((19.84, 37.8), abs=0.05)

    def test_where_places_run_out_first_iterations_are_shorter_than_the_objective(self) -> None:
        """64 chat requests: 5.5 + 64 x 0.3792 = 29.77 ms of 30."""
        full = full_batch(H100, [replace(CHAT, time_per_output_token_ms=30.0)])
        assert (full.iteration_ms, full.batch) == pytest.approx((29.77, 64.0), abs=0.005)

    @pytest.mark.parametrize("per_token_ms", [10.0, 20.0, 30.0])
    def test_one_kind_alone_is_what_the_plan_of_a_single_route_says(self, per_token_ms: float) -> None:
        full = full_batch(H100, [replace(CHAT, time_per_output_token_ms=per_token_ms)])
        assert math.floor(full.batch) == max_concurrency_at(H100, 1000, 250, 800, per_token_ms, 0.95)

    def test_a_kind_that_misses_its_objective_even_alone_does_not_bind_the_others(self) -> None:
        hopeless = replace(LONG, time_per_output_token_ms=5.0)
        assert full_batch(H100, [CHAT, hopeless]) == full_batch(H100, [CHAT])
        assert full_batch(H100, [hopeless]).batch == H100.max_concurrency

    def test_a_kind_that_nobody_asks_for_hardly_counts(self) -> None:
        alone = full_batch(H100, [CHAT])
        assert full_batch(H100, [CHAT, replace(LONG, requests_per_second=0.0)]).batch == pytest.approx(alone.batch)


class TestTheRoutersLimit:
    """A little less than the full batch, to the nearest whole request that keeps the objective; where places run out
    first, all of them and a few who wait."""

    def test_by_hand(self) -> None:
        """38.24 chat requests keep 20 ms. 11.87 keep 10 ms: 12 would not. 64.46 keep 30 ms, of 64 places."""
        assert 0.9 < FULLNESS < 1.0
        limits = {ms: largest_batch(H100, [replace(CHAT, time_per_output_token_ms=ms)]) for ms in (10.0, 20.0, 30.0)}
        assert limits == {10.0: 11, 20.0: round(FULLNESS * 38.24), 30.0: round(FULLNESS * 64)}

    def test_where_places_run_out_first_some_wait_for_half_of_what_their_first_token_leaves(self) -> None:
        """At 40 ms 64 places are held for 7.48 s each, 8.55 become free in a second; 800 - 40 - 30 ms leave 0.73 s."""
        easy = replace(CHAT, time_per_output_token_ms=40.0)
        assert largest_batch(H100, [easy]) == 64 + 3
        assert largest_batch(H100, [replace(easy, time_to_first_token_ms=8000.0)]) == 64 + 33
        assert largest_batch(H100, [easy, replace(easy, time_to_first_token_ms=8000.0)]) == 64 + 3  # the strictest

    @pytest.mark.parametrize("places", [1, 2, 4])
    def test_an_engine_of_few_places_keeps_them_all(self, places: int) -> None:
        """One place less would be half of an engine of two."""
        easy = replace(CHAT, time_to_first_token_ms=100.0, time_per_output_token_ms=1e5)
        assert largest_batch(replace(H100, max_concurrency=places), [easy]) == places

    def test_where_even_one_is_too_slow_it_may_still_have_one(self) -> None:
        assert largest_batch(replace(H100, max_concurrency=1), [CHAT]) == 1


class TestSharesOfAFullReplica:
    def test_the_docstrings_number(self) -> None:
        """250 x 30 + 40 = 7540 ms in 64 places: 0.118 of both."""
        full = FullBatch(H100, iteration_ms=30.0, batch=64.0, slope_ms=CHAT_SLOPE)
        assert full.shares(CHAT) == pytest.approx((7.54016 / 64, 7.54016 / 64))
        assert full.shares(CHAT) == pytest.approx((0.118, 0.118), abs=0.0005)

    def test_two_kinds_by_hand(self) -> None:
        """15.31 in flight slow each other down by 0.947 ms each. A chat request stays 5.04 s and does 0.40 of a mean
        one's harm: 5.04 x 0.40 / 15.31 = 0.132 of the time; it holds 5.04 / 64 = 0.079 of the places. A long one stays
        2.16 s and does 2.40 times as much: 0.339 of the time, 0.034 of the places."""
        full = full_batch(H100, [CHAT, LONG])
        assert full.shares(CHAT) == pytest.approx((0.132, 0.079), abs=0.0005)
        assert full.shares(LONG) == pytest.approx((0.339, 0.034), abs=0.0005)

    def test_long_answers_hold_places_and_long_prompts_take_time(self) -> None:
        answers, prompts = Shape(1.0, 100.0, 1000.0, 5000.0, 20.0), Shape(20.0, 2000.0, 20.0, 5000.0, 20.0)
        full = full_batch(H100, [answers, prompts])
        assert full.shares(answers)[0] < full.shares(answers)[1]
        assert full.shares(prompts)[0] > full.shares(prompts)[1]

    @pytest.mark.parametrize("mix", [[CHAT], [CHAT, LONG], MIXTURE], ids=["one kind", "two", "two rates"])
    def test_a_full_replica_is_full(self, mix: list[Shape]) -> None:
        """At the rates at which the parts of its time add up to one, a full batch is in flight."""
        full = full_batch(H100, mix)
        scale = 1.0 / sum(one.requests_per_second * full.shares(one)[0] for one in mix)
        held = sum(scale * one.requests_per_second * full.shares(one)[1] for one in mix)
        assert held * H100.max_concurrency == pytest.approx(full.batch)

    @pytest.mark.parametrize("per_token_ms", [10.0, 20.0, 30.0])
    def test_one_kind_alone_fills_it_at_the_rate_that_its_capacity_tells(self, per_token_ms: float) -> None:
        one = replace(CHAT, time_per_output_token_ms=per_token_ms)
        told = replica_capacity(H100, 1000, 250, 800, per_token_ms, 0.95).full_requests_per_second
        assert 1.0 / max(full_batch(H100, [one]).shares(one)) == pytest.approx(told)

    def test_where_nothing_slows_down_time_is_shared_like_places(self) -> None:
        """beta and gamma 0: every request stays out x 5.5 ms, however full the replica is."""
        flat = replace(H100, beta_ms=0.0, gamma_ms=0.0)
        full = full_batch(flat, [CHAT])
        assert full.shares(CHAT) == pytest.approx((250 * 0.0055 / 64, 250 * 0.0055 / 64))


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
    assert batch >= 1
    if batch > profile.max_concurrency:  # some wait, and still begin in time
        full, shares = full_batch(profile, mix), sum(one.requests_per_second for one in mix)
        stay = sum(one.requests_per_second * full.shares(one)[1] for one in mix) / shares * profile.max_concurrency
        wait_ms = 1000.0 * (batch - profile.max_concurrency) * stay / profile.max_concurrency
        assert wait_ms + full.iteration_ms <= min(one.time_to_first_token_ms for one in mix) * (1 + 1e-6)
    assert abs(largest_batch(profile, mix[::-1]) - batch) <= 1  # a sum in another order rounds elsewhere


@given(profiles, shapes)
def test_a_full_batch_of_one_kind_keeps_the_objective_and_one_more_would_not(profile: Profile, one: Shape) -> None:
    into, out = float(f"{one.input_tokens:.2e}"), float(f"{max(one.output_tokens, 1.0):.2e}")
    slope = profile.beta_ms * (into + out) / (out + 1) + profile.gamma_ms * (into + out / 2)
    limit = min(one.time_per_output_token_ms, one.time_to_first_token_ms - (profile.beta_ms + profile.gamma_ms) * into)
    full, batch = full_batch(profile, [one]), largest_batch(profile, [one])
    if iteration_ms(profile, slope, 1.0) <= limit * (1 - 1e-6):
        in_engine = min(batch, profile.max_concurrency)
        assert iteration_ms(profile, slope, in_engine) <= limit * (1 + 1e-6)
        assert FULLNESS * full.batch - 1.0 < in_engine <= max(1.0, full.batch + 1e-9)
        more = math.floor(full.batch) + 1
        assert full.batch == profile.max_concurrency or iteration_ms(profile, slope, more) >= limit * (1 - 1e-6)


@given(profiles, st.lists(shapes, min_size=1, max_size=4), shapes)
def test_every_request_takes_a_part_of_the_places_and_never_less_than_none_of_the_time(
    profile: Profile, mix: list[Shape], other: Shape
) -> None:
    full = full_batch(profile, mix)
    for one in [*mix, other]:
        time, places = full.shares(one)
        assert time >= 0.0
        assert places > 0.0
        assert math.isfinite(time)
        assert math.isfinite(places)
