"""What an engine's measurements teach: the truth is found, garbage is not learned, and nothing flaps."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.capacity import replica_capacity
from comptroller.allocation.snapshot import Profile
from comptroller.learning.speed import (
    ENOUGH_CONFIDENCE,
    FEWEST_SAMPLES,
    HIGHEST_FACTOR,
    LOWEST_FACTOR,
    ROOT_OF_ALPHA,
    Speed,
    SpeedSample,
    begin,
    learn,
    mean_shape,
)
from e2e.engines.request_events import EngineSpeed, Load, simulate

WINDOW = 60.0
DECLARED = Profile(alpha_ms=5.5, beta_ms=0.04, gamma_ms=0.00016, max_concurrency=64, source="declared")
Curve = Callable[[float], float]


def iteration_ms(profile: Profile, batch: float, tokens_in: float = 1000, tokens_out: float = 250) -> float:
    per_request = profile.beta_ms * (tokens_in + tokens_out) / (tokens_out + 1)
    per_request += profile.gamma_ms * (tokens_in + tokens_out / 2)
    return profile.alpha_ms + profile.root_ms * math.sqrt(batch) + batch * per_request


def slower(factor: float) -> Curve:
    return lambda batch: factor * iteration_ms(DECLARED, batch)


def taught(speed: Speed, curve: Curve, batches: Iterable[float], start: float = 0.0) -> Speed:
    for number, batch in enumerate(batches):
        speed = learn(speed, SpeedSample(start + WINDOW * number, batch, curve(batch), 1000, 250), WINDOW)
    return speed


def test_the_docstrings_numbers_hold() -> None:
    once = taught(begin("vllm", DECLARED), slower(1.3), [20])
    assert iteration_ms(once.estimate, 64) / iteration_ms(DECLARED, 64) == pytest.approx(1.27, abs=0.005)
    assert once.confidence == pytest.approx(0.74, abs=0.01)
    ten = taught(begin("vllm", DECLARED), slower(1.3), [20, 40] * 5)
    assert iteration_ms(ten.estimate, 64) / iteration_ms(DECLARED, 64) == pytest.approx(1.29, abs=0.005)
    assert ten.confidence == pytest.approx(0.885, abs=0.01)


@pytest.mark.parametrize("factor", [0.4, 0.6, 0.8, 1.2, 1.5, 2.5])
def test_an_hour_of_samples_finds_an_engine_that_is_slower_or_faster_than_declared(factor: float) -> None:
    draw = random.Random(7)
    noisy: Curve = lambda batch: slower(factor)(batch) * draw.gauss(1.0, 0.04)  # noqa: E731
    speed = taught(begin("vllm", DECLARED), noisy, [draw.uniform(8, 50) for _ in range(60)])
    for batch in (10, 30, 64):
        assert iteration_ms(speed.used, batch) == pytest.approx(slower(factor)(batch), rel=0.08)
    assert speed.used.source == "learned"
    assert speed.confidence > 0.8


def test_a_mixture_of_experts_declared_as_a_straight_line_gets_its_bend() -> None:
    truth = replace(DECLARED, root_ms=1.6)
    speed = taught(begin("vllm", DECLARED), lambda batch: iteration_ms(truth, batch), [2, 8, 20, 50, 60, 30] * 10)
    assert speed.estimate.root_ms > 0.8
    for batch in (2, 10, 30, 64):
        assert iteration_ms(speed.used, batch) == pytest.approx(iteration_ms(truth, batch), rel=0.06)


def test_the_capacity_of_a_learned_profile_is_that_of_the_simulated_engine() -> None:
    """The engine is 1.25 times slower than declared and its answers vary; what it shows is what it would export."""
    truth = EngineSpeed(1.25 * 5.5, 1.25 * 0.04, 1.25 * 0.00016, 64)
    speed, moment = begin("vllm", DECLARED), 0.0
    for seed, rate in enumerate([2.0, 3.0, 4.0, 5.0, 2.5, 3.5, 4.5, 3.0, 4.0, 5.0]):
        met = simulate(truth, Load(rate, 1000, 250, input_cv=0.5, output_cv=1.0), requests=1500, seed=seed)
        sample = SpeedSample(moment, rate * float(met.latency_seconds.mean()), met.mean_per_token_ms, 1000, 250)
        speed, moment = learn(speed, sample, WINDOW), moment + WINDOW
    assert speed.used.source == "learned"
    capacity = replica_capacity(speed.used, 1000, 250, 800, 25, 0.95).requests_per_second
    declared = replica_capacity(DECLARED, 1000, 250, 800, 25, 0.95).requests_per_second
    assert capacity < 0.85 * declared

    def pace(rate: float) -> float:
        load = Load(rate, 1000, 250, input_cv=0.5, output_cv=1.0)
        return simulate(truth, load, requests=15000).mean_per_token_ms

    assert pace(0.93 * capacity) < 25 < pace(1.06 * capacity)


def test_one_wild_sample_teaches_nothing_and_costs_trust() -> None:
    speed = taught(begin("vllm", DECLARED), slower(1.0), [20, 40] * 10)
    wild = learn(speed, SpeedSample(1e4, 30, 3 * slower(1.0)(30), 1000, 250), WINDOW)
    assert (wild.factors, wild.used.alpha_ms) == (speed.factors, speed.used.alpha_ms)
    assert wild.confidence < speed.confidence


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_a_thousandfold_error_is_never_believed_however_often_it_comes(factor: float) -> None:
    speed = taught(begin("vllm", DECLARED), slower(factor), [20] * 100)
    assert speed.samples == 0
    assert speed.used == replace(DECLARED, confidence=0.0)


def test_an_engine_that_became_slower_is_believed_after_six_refusals() -> None:
    known = taught(begin("vllm", DECLARED), slower(1.0), [20, 40] * 30)
    five = taught(known, slower(2.0), [30] * 5, start=1e4)
    assert five.used.alpha_ms == known.used.alpha_ms
    more = taught(known, slower(2.0), [20, 40] * 8, start=1e4)
    assert iteration_ms(more.used, 30) == pytest.approx(slower(2.0)(30), rel=0.06)


def test_refusals_on_both_sides_are_noise_and_not_a_new_truth() -> None:
    known = taught(begin("vllm", DECLARED), slower(1.0), [20, 40] * 30)
    for number in range(40):
        factor = 3.0 if number % 2 else 0.3
        known = learn(known, SpeedSample(1e4 + WINDOW * number, 30, slower(factor)(30), 1000, 250), WINDOW)
    assert iteration_ms(known.used, 30) == pytest.approx(slower(1.0)(30), rel=0.05)
    assert known.confidence < 0.1


def test_samples_of_one_window_count_once() -> None:
    speed = begin("vllm", DECLARED)
    for second in range(60):
        speed = learn(speed, SpeedSample(float(second), 20, slower(1.3)(20), 1000, 250), WINDOW)
    assert speed.samples == 1


def test_a_clock_that_went_back_does_not_end_learning() -> None:
    speed = taught(begin("vllm", DECLARED), slower(1.3), [20, 40] * 5, start=1e9)
    later = taught(speed, slower(1.3), [20, 40] * 5, start=0.0)
    assert later.samples == 20


def test_the_used_profile_stays_while_the_curve_moves_by_less_than_five_percent() -> None:
    draw = random.Random(3)
    speed = taught(begin("vllm", DECLARED), slower(1.2), [20, 40] * 10)
    used = []
    for number in range(300):
        factor = 1.2 * draw.gauss(1.0, 0.04)
        sample = SpeedSample(2e4 + WINDOW * number, draw.uniform(10, 50), 0.0, 1000, 250)
        speed = learn(speed, replace(sample, per_token_ms=slower(factor)(sample.batch)), WINDOW)
        used.append(replace(speed.used, samples=0, confidence=0.0))
    changes = sum(before != after for before, after in pairwise(used))
    assert changes <= 3  # in five hours


def test_the_declared_profile_is_used_until_five_samples_were_foretold() -> None:
    speed = begin("vllm", DECLARED)
    for number in range(FEWEST_SAMPLES):
        assert (speed.used.source, speed.used.alpha_ms) == ("declared", 5.5)
        speed = learn(speed, SpeedSample(WINDOW * number, 30, slower(1.3)(30), 1000, 250), WINDOW)
    assert speed.used.source == "learned"
    assert speed.used.samples == FEWEST_SAMPLES


def test_samples_at_a_small_batch_say_less_about_a_full_one() -> None:
    small, large = (taught(begin("vllm", DECLARED), slower(1.0), [batch] * 20) for batch in (1.5, 50))
    assert 0.2 < small.confidence < large.confidence - 0.15


def test_without_samples_confidence_fades_and_the_used_profile_stays() -> None:
    speed = taught(begin("vllm", DECLARED), slower(1.3), [20, 40] * 10)
    day_later = learn(speed, SpeedSample(86400.0 + 1200, 30, slower(1.3)(30), 1000, 250), WINDOW)
    assert day_later.used.alpha_ms == speed.used.alpha_ms


def test_a_restart_goes_on_where_the_predecessor_was() -> None:
    before = taught(begin("vllm", DECLARED), slower(1.3), [20, 40] * 10)
    after = begin("vllm", DECLARED, remembered=before.used)
    for name in ("alpha_ms", "beta_ms", "gamma_ms", "root_ms"):
        assert getattr(after.used, name) == pytest.approx(getattr(before.used, name))
    assert (after.used.source, after.used.samples) == ("learned", 20)
    assert after.confidence == pytest.approx(before.confidence, abs=0.05)
    steady = taught(after, slower(1.3), [20, 40] * 5)
    assert steady.used.alpha_ms == after.used.alpha_ms


@pytest.mark.parametrize(
    "remembered",
    [
        replace(DECLARED, alpha_ms=50.0),
        replace(DECLARED, source="learned", alpha_ms=float("nan")),
        replace(DECLARED, source="learned", beta_ms=-1.0),
    ],
    ids=["declared then", "not a number", "negative"],
)
def test_what_was_not_learned_or_is_no_number_is_not_remembered(remembered: Profile) -> None:
    assert begin("vllm", DECLARED, remembered).used == DECLARED


def test_what_was_learned_stays_within_the_bounds_of_a_newly_declared_profile() -> None:
    remembered = replace(DECLARED, alpha_ms=100.0, source="learned", samples=9, confidence=0.9)
    assert begin("vllm", DECLARED, remembered).used.alpha_ms == pytest.approx(3 * 5.5)


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 0.0}, {"batch": 0.4}, {"batch": float("nan")}, {"per_token_ms": 0.0}, {"per_token_ms": float("inf")},
        {"per_token_ms": -3.0}, {"input_tokens": 0.0}, {"output_tokens": 1.0}, {"at_seconds": float("nan")},
    ],
    ids=str,
)  # fmt: skip
def test_idle_and_impossible_samples_teach_nothing(change: dict[str, float]) -> None:
    speed = taught(begin("vllm", DECLARED), slower(1.0), [20, 40])
    sample = replace(SpeedSample(1e4, 30, slower(1.0)(30), 1000, 250), **change)
    assert learn(speed, sample, WINDOW) == speed


anything = st.floats(allow_nan=True, allow_infinity=True)
ordinary = st.floats(0.1, 1e4)
samples = st.builds(
    SpeedSample, st.floats(0, 1e6) | anything, ordinary | anything, ordinary | anything, ordinary | anything,
    ordinary | anything,
)  # fmt: skip
coefficient = st.floats(0, 1e3) | anything


@given(
    st.builds(Profile, coefficient, coefficient, coefficient, st.integers(1, 4096)),
    coefficient,
    st.lists(samples, max_size=25),
)
def test_no_samples_whatever_leave_a_third_to_three_times_the_prior(
    prior: Profile, root: float, some: list[SpeedSample]
) -> None:
    speed = begin("vllm", replace(prior, root_ms=root))
    start = speed.prior
    for sample in some:
        speed = learn(speed, sample, WINDOW)
        for profile in (speed.used, speed.estimate):
            for name in ("alpha_ms", "beta_ms", "gamma_ms", "root_ms"):
                known, was = getattr(profile, name), getattr(start, name)
                if name == "root_ms" and was == 0:
                    assert 0 <= known <= ROOT_OF_ALPHA * start.alpha_ms * (1 + 1e-9)
                else:
                    assert LOWEST_FACTOR * was * (1 - 1e-9) <= known <= HIGHEST_FACTOR * was * (1 + 1e-9)
        assert 0 <= speed.confidence <= 1
        assert speed.used.source != "learned" or speed.samples >= FEWEST_SAMPLES


@given(st.lists(samples, max_size=25), st.integers(0, 25))
def test_equal_samples_give_equal_knowledge_and_one_more_never_takes_less_time(
    some: list[SpeedSample], at: int
) -> None:
    once, again = begin("vllm", DECLARED), begin("vllm", DECLARED)
    for sample in some:
        once, again = learn(once, sample, WINDOW), learn(again, sample, WINDOW)
    assert once == again
    assert iteration_ms(once.used, at) <= iteration_ms(once.used, at + 1)
    assert once.confidence < ENOUGH_CONFIDENCE or once.samples > 0


def test_a_mix_loads_an_iteration_as_its_mean_shape_does() -> None:
    parts = [(1.0, 4000.0, 100.0), (3.0, 100.0, 900.0), (0.5, 1000.0, 1.0)]
    shape = mean_shape(parts)
    assert shape is not None
    assert shape[0] >= 0
    flights = [rate * tokens_out for rate, _, tokens_out in parts]
    one_by_one = sum(
        flight * (iteration_ms(DECLARED, 1, tokens_in, tokens_out) - 5.5)
        for flight, (_, tokens_in, tokens_out) in zip(flights, parts, strict=True)
    )
    assert iteration_ms(DECLARED, 1, *shape) - 5.5 == pytest.approx(one_by_one / sum(flights))


def test_one_kind_of_request_is_its_own_mean_shape_and_none_has_none() -> None:
    assert mean_shape([(2.0, 1000.0, 250.0)]) == pytest.approx((1000.0, 250.0))
    assert mean_shape([]) is None
    assert mean_shape([(0.0, 1000.0, 250.0), (1.0, float("nan"), 2.0), (1.0, 5.0, 0.0)]) is None
