"""The capacity of a replica: worked numbers, monotony, and objectives that cannot be reached."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.capacity import capacity_requests_per_second, max_concurrency_at, replica_capacity
from comptroller.allocation.snapshot import Profile

H100 = Profile(alpha_ms=5.5, beta_ms=0.04, gamma_ms=0.00016, max_concurrency=64)


@pytest.mark.parametrize(
    ("first_token_ms", "per_token_ms", "expected"),
    [(800, 30, 7.91), (800, 20, 7.39), (800, 10, 4.28)],
    ids=["the docstring's first number", "a tighter time per token", "a tight one"],
)
def test_the_worked_numbers_hold(first_token_ms: float, per_token_ms: float, expected: float) -> None:
    rate = capacity_requests_per_second(H100, 1000, 250, first_token_ms, per_token_ms, 0.95)
    assert rate == pytest.approx(expected, rel=0.005)


def test_the_published_llama_8b_case_is_within_a_tenth() -> None:
    """BLIS, validated on silicon, gives about 25.5 requests/s for Llama 3.1 8B on one H100, 1024/256, 20 ms a token.

    alpha, beta and gamma are those that the queue needs for a light load of it; the point is the shape of the knee.
    """
    profile = Profile(alpha_ms=6.0, beta_ms=0.0105, gamma_ms=0.00006, max_concurrency=256)
    rate = capacity_requests_per_second(profile, 1024, 256, 1e6, 20, 0.95)
    full = 1000.0 / 256 / 20 * ((20 - 6.0) / (0.0105 * 1280 / 257 + 0.00006 * 1152))
    assert rate == pytest.approx(full, rel=0.1)


def test_a_wait_at_a_higher_percentile_leaves_less() -> None:
    rates = [capacity_requests_per_second(H100, 1000, 250, 300, 100, p) for p in (0.5, 0.9, 0.95, 0.99)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1]


@pytest.mark.parametrize("field", ["input", "output"])
def test_longer_requests_never_raise_it(field: str) -> None:
    sizes = [10, 50, 200, 500, 1000, 2000, 4000, 8000]
    shapes = [(size, 250) if field == "input" else (1000, size) for size in sizes]
    rates = [capacity_requests_per_second(H100, i, o, 2000, 100, 0.95) for i, o in shapes]
    assert all(after <= before * 1.001 for before, after in pairwise(rates))


def test_a_looser_objective_never_lowers_it() -> None:
    firsts = [60, 100, 200, 400, 800, 1600, 5000]
    rates = [capacity_requests_per_second(H100, 1000, 250, first, 100, 0.95) for first in firsts]
    assert all(after >= before * 0.999 for before, after in pairwise(rates))
    tokens = [6, 8, 10, 15, 20, 30, 100]
    rates = [capacity_requests_per_second(H100, 1000, 250, 800, token, 0.95) for token in tokens]
    assert all(after >= before * 0.999 for before, after in pairwise(rates))


def test_an_objective_that_one_request_alone_misses_gives_the_full_throughput_and_says_so() -> None:
    one = replica_capacity(H100, 1000, 250, 40, 30, 0.95)
    assert not one.reachable
    assert one.requests_per_second == pytest.approx(8.55, rel=0.01)
    assert one.max_concurrency == 64


@pytest.mark.parametrize("tokens", [(0, 0), (0, 1), (1, 1), (1e6, 1), (1, 1e6)], ids=str)
def test_extreme_shapes_have_a_positive_finite_capacity(tokens: tuple[float, float]) -> None:
    one = replica_capacity(H100, *tokens, 2000, 100, 0.95)
    assert 0 < one.requests_per_second < 1e9
    assert 1 <= one.max_concurrency <= 64
    assert one.latency_seconds > 0


def test_a_replica_that_takes_one_request_at_a_time_answers_one_at_a_time() -> None:
    profile = Profile(alpha_ms=10, beta_ms=0, gamma_ms=0, max_concurrency=1)
    one = replica_capacity(profile, 100, 100, 1e9, 1e9, 0.95)
    assert one.requests_per_second == pytest.approx(0.999, rel=0.01)
    assert one.max_concurrency == 1


def test_the_router_may_have_the_batch_and_a_margin_in_flight() -> None:
    one = replica_capacity(H100, 1000, 250, 800, 10, 0.95)
    assert one.batch < max_concurrency_at(H100, 1000, 250, 800, 10, 0.95) < 2 * one.batch


def test_a_concave_curve_costs_something_and_less_than_if_the_batch_were_always_full() -> None:
    curved = replace(H100, root_ms=1.6)
    always_full = replace(H100, alpha_ms=5.5 + 1.6 * 8)  # the root of 64 places
    for pace in (22, 26, 30):
        fast, between, late = (
            capacity_requests_per_second(one, 1000, 250, 3000, pace, 0.95) for one in (H100, curved, always_full)
        )
        assert late < between < fast


@given(st.floats(0, 20), st.floats(0, 20), st.floats(5, 60))
def test_a_larger_root_never_raises_it(one: float, other: float, pace: float) -> None:
    less, more = sorted((one, other))
    told = [replica_capacity(replace(H100, root_ms=root), 1000, 250, 2000, pace, 0.95) for root in (less, more)]
    if all(each.reachable for each in told):
        assert told[1].requests_per_second <= told[0].requests_per_second * 1.001


def test_a_new_shape_costs_less_than_two_milliseconds_and_a_known_one_nothing() -> None:
    shapes = [(1000.0 + 10 * i, 250.0) for i in range(50)]
    begun = time.perf_counter()
    for i, o in shapes:
        capacity_requests_per_second(H100, i, o, 811, 31, 0.95)
    assert (time.perf_counter() - begun) / len(shapes) < 0.002  # 0.2 ms where nothing else runs
