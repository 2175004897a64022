"""Pass rates out of verdicts: declared first, measured then, forgotten in the end; and a route that follows them."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.decide import decide
from comptroller.allocation.snapshot import BackendRule, Snapshot
from comptroller.learning.pass_rates import HALF_LIFE_SECONDS, PRIOR_ANSWERS, Evidence, after, pass_rate
from tests.unit.allocation.build import hosted, local, planned_state, route, snapshot

rates = st.floats(0, 1)
counts = st.floats(0, 1e6)


def test_what_is_declared_stands_until_something_is_judged() -> None:
    for declared in (0.0, 0.5, 0.97, 1.0):
        assert pass_rate(declared, Evidence()) == declared


def test_the_worked_number() -> None:
    assert pass_rate(0.97, Evidence(18, 2)) == pytest.approx(0.9196, abs=1e-4)
    assert after(Evidence(), 0.25, 0.0, 1e9).answers == pytest.approx(0.25 * 600 / math.log(2))


@given(rates, counts, counts)
def test_it_is_a_share_below_what_was_declared_or_seen_at_best(declared: float, passed: float, failed: float) -> None:
    found = pass_rate(declared, Evidence(passed, failed))
    seen = passed / (passed + failed) if passed + failed > 0 else declared
    assert 0.0 <= found <= max(declared, seen) + 1e-12


@given(rates, st.floats(0.0, 1e4), st.floats(0.0, 1e4), st.floats(0.1, 100))
def test_another_answer_that_passes_never_does_harm_once_it_is_grown_up(
    declared: float, passed: float, failed: float, more: float
) -> None:
    before = Evidence(passed + 100.0, failed)
    assert pass_rate(declared, replace(before, passed=before.passed + more)) >= pass_rate(declared, before) - 1e-12


@given(st.floats(0, 5), st.floats(0, 5), st.floats(1, 1e5), st.floats(0, 1))
def test_two_steps_are_one(passed: float, failed: float, seconds: float, part: float) -> None:
    start = Evidence(10.0, 3.0, 50.0)
    once = after(start, passed, failed, 50.0 + seconds)
    twice = after(after(start, passed, failed, 50.0 + part * seconds), passed, failed, 50.0 + seconds)
    assert (twice.passed, twice.failed) == pytest.approx((once.passed, once.failed), rel=1e-6, abs=1e-9)


@given(counts, counts, rates)
def test_without_verdicts_what_was_declared_returns(passed: float, failed: float, declared: float) -> None:
    forgotten = after(Evidence(passed, failed), 0.0, 0.0, 40 * HALF_LIFE_SECONDS)
    assert pass_rate(declared, forgotten) == pytest.approx(declared, abs=1e-4)


def test_the_newest_answers_lower_the_rate_and_never_raise_it() -> None:
    long = Evidence(9_500.0, 500.0)
    assert pass_rate(0.95, long) == pytest.approx(0.95)
    assert pass_rate(0.95, replace(long, recent_passed=51.0, recent_failed=9.0)) == pytest.approx(0.89)
    assert pass_rate(0.95, replace(long, recent_passed=60.0)) == pytest.approx(0.95)


def test_with_many_verdicts_a_pool_that_decays_is_known_within_ten_minutes() -> None:
    steady = after(Evidence(), 0.97 * 5.0, 0.03 * 5.0, 86_400.0)
    assert pass_rate(0.97, steady) == pytest.approx(0.97, abs=1e-3)
    decayed = after(steady, 0.85 * 5.0, 0.15 * 5.0, 86_400.0 + 600.0)
    assert 0.85 < pass_rate(0.97, decayed) < 0.87


def test_a_few_lucky_answers_do_not_make_a_bad_pool_good() -> None:
    assert pass_rate(0.8, Evidence(5, 0)) < 0.85
    assert pass_rate(0.8, Evidence(400, 4)) > 0.97


def test_evidence_never_grows_with_a_clock_that_goes_back() -> None:
    assert after(Evidence(5.0, 1.0, 100.0), 1.0, 1.0, 40.0) == Evidence(5.0, 1.0, 100.0)


TICK, RPS, SAMPLE = 30.0, 5.0, 0.05
OWN, API, CHAT = "ai/own", "ai/api", "ai/policy/chat"


class Judged:
    """A route whose answers are judged: a cheap pool that is declared to solve 97 %, an API that solves 99 %."""

    def __init__(self, seed: int) -> None:
        self.random, self.now = random.Random(seed), 1000.0
        self.evidence = {OWN: Evidence(at_seconds=1000.0), API: Evidence(at_seconds=1000.0)}
        chat = route(rps=RPS, minimum_pass_rate=0.95)
        self.world: Snapshot = snapshot(local(minimum=1, serving=1, previous=1), hosted(), chat)
        self.share = 1.0

    def run(self, seconds: float, own: float) -> list[float]:
        """Lets time pass while the cheap pool solves this share. The cheap pool's share of the route, tick by tick."""
        found = []
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            for pool, share, truth in ((OWN, self.share, own), (API, 1.0 - self.share, 0.99)):
                drawn = sum(self.random.random() < SAMPLE * share for _ in range(round(RPS * TICK)))
                passed = sum(self.random.random() < truth for _ in range(drawn))
                rates = passed / TICK, (drawn - passed) / TICK
                self.evidence[pool] = after(self.evidence[pool], *rates, self.now)
            rules = tuple(
                BackendRule(pool, pass_rate(declared, self.evidence[pool]), self.evidence[pool].answers)
                for pool, declared in ((OWN, 0.97), (API, 0.99))
            )
            chat = replace(self.world.routes[0], backends=rules)
            self.world = replace(self.world, routes=(chat,), at_seconds=self.now)
            decision = decide(self.world)
            self.world = planned_state(self.world, decision, ready=True)
            self.share = decision.routes[CHAT].shares.get(OWN, 0.0)
            found.append(self.share)
        return found


def test_a_route_leaves_a_pool_that_decays_within_ten_minutes_and_comes_back_when_it_recovers() -> None:
    worlds = [Judged(seed) for seed in range(4)]
    for world in worlds:
        good = world.run(2400, own=0.97)
        assert fmean(good[-40:]) > 0.9  # steady verdicts move next to nothing
    after_ten_minutes = [world.run(600, own=0.85)[-1] for world in worlds]
    assert fmean(after_ten_minutes) < 0.5  # by 150 verdicts, where 29 % would be right
    assert max(after_ten_minutes) < 0.6
    for world in worlds:
        bad = world.run(1800, own=0.85)
        assert fmean(share * 0.85 + (1.0 - share) * 0.99 for share in bad[-30:]) > 0.91  # 0.95 is asked for
        recovered = world.run(3600, own=0.97)
        assert fmean(recovered[-40:]) > 0.95


def test_a_pool_that_gets_no_requests_is_tried_again_and_left_again_when_it_is_still_bad() -> None:
    """Its evidence fades, so what is declared returns; a few answers later it is known to be bad again."""
    bad = after(Evidence(170.0, 80.0), 0.0, 0.0, 0.0)
    assert pass_rate(0.97, bad) < 0.75
    seconds = 0.0
    while pass_rate(0.97, after(bad, 0.0, 0.0, seconds)) < 0.95:
        seconds += 60.0
    assert 1800.0 < seconds < 2 * 3600.0
    tried = after(bad, 0.0, 0.0, seconds)
    verdicts = 0
    while pass_rate(0.97, tried) >= 0.95:
        tried = replace(tried, passed=tried.passed + 0.68, failed=tried.failed + 0.32)
        verdicts += 1
    assert verdicts <= 5
    assert PRIOR_ANSWERS == 20.0
