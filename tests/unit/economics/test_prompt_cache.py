"""Which life of a cached prefix pays, by the measured gaps between its requests."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.economics.prompt_cache import NONE, Choice, Gaps, Terms, choose, in_words, poisson_gap_seconds

ANTHROPIC = Terms(Decimal(3), Decimal("0.30"), {"5m": Decimal("3.75"), "1h": Decimal(6)})
BOUNDS = (30.0, 60.0, 150.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0)


def every(seconds: float, total: float = 100.0) -> Gaps:
    """Gaps that are all alike."""
    return Gaps(BOUNDS, tuple(total if seconds <= bound else 0.0 for bound in BOUNDS), total)


def poisson(mean_seconds: float, total: float = 100.0) -> Gaps:
    return Gaps(BOUNDS, tuple(total * (1 - math.exp(-bound / mean_seconds)) for bound in BOUNDS), total)


@pytest.mark.parametrize(
    ("gaps", "life"),
    [
        (every(20), "5m"),  # always found: the cheaper write
        (every(1200), "1h"),  # never within five minutes, always within the hour
        (every(7000), NONE),
        (poisson(40), "5m"),  # 99.9 %: the same to the cent
        (poisson(60), "1h"),  # 99.3 % at 5m: $0.32 against $0.30
        (poisson(900), "1h"),  # found 28 % at 5m: $2.77; 98 % at 1h: $0.40
        (poisson(40_000), NONE),  # 0.7 %, 8.6 %: both dearer than $3
    ],
)
def test_the_cheapest_life_is_chosen(gaps: Gaps, life: str) -> None:
    assert choose(ANTHROPIC, gaps).life == life


def test_the_worked_figures() -> None:
    assert ANTHROPIC.usd("5m", 0.6) == pytest.approx(1.68)
    assert ANTHROPIC.usd(NONE, 0.6) == 3.0
    assert choose(ANTHROPIC, every(1200)).usd == pytest.approx({NONE: 3.0, "5m": 3.75, "1h": 0.30})
    assert poisson_gap_seconds(1 - math.exp(-1), 300.0) == pytest.approx(300.0)
    assert Gaps((150.0, 300.0), (60.0, 80.0), 100.0).ratio(212.13) == pytest.approx(0.70, abs=1e-3)


def test_unknown_arrivals_begin_with_the_shortest_and_keep_what_is() -> None:
    assert choose(ANTHROPIC, None).life == "5m"
    assert choose(ANTHROPIC, every(1200, total=3.0)).life == "5m"
    assert choose(ANTHROPIC, None, before="1h").life == "1h"
    assert choose(ANTHROPIC, None, before=NONE).life == NONE
    assert not choose(ANTHROPIC, None).known


def test_a_life_that_is_not_offered_is_not_chosen() -> None:
    only = Terms(Decimal(3), Decimal("0.3"), {"5m": Decimal("3.75")})

    assert choose(only, every(1200)).life == NONE
    assert choose(only, None, before="1h").life == "5m"
    assert choose(Terms(Decimal(3), Decimal(3), {}), every(20)).life == NONE


def test_what_is_a_little_cheaper_does_not_change_what_is_in_force() -> None:
    """At a gap of 55 s an hour is 4.7 % cheaper than five minutes: not enough."""
    assert choose(ANTHROPIC, poisson(55)).life == "1h"
    assert choose(ANTHROPIC, poisson(55), before="5m").life == "5m"
    assert choose(ANTHROPIC, poisson(900), before="5m").life == "1h"


def test_several_routers_and_a_small_share_shift_the_gaps() -> None:
    """Two routers each see every second request, a pool with a tenth of a route each tenth."""
    assert choose(ANTHROPIC, every(500)).life == "1h"
    assert choose(ANTHROPIC, every(500), density=2.0).life == "5m"
    assert choose(ANTHROPIC, every(20), density=0.02).life == "1h"


@settings(deadline=None)
@given(st.floats(1, 1e5), st.floats(0.01, 8), st.sampled_from([None, "5m", "1h", NONE, "7d"]))
def test_never_dearer_than_the_best_by_more_than_the_hysteresis(
    mean: float, density: float, before: str | None
) -> None:
    made = choose(ANTHROPIC, poisson(mean), density, before)

    assert made.usd[made.life] <= min(made.usd.values()) / (1 - 0.05) + 0.011
    again = choose(ANTHROPIC, poisson(mean), density, made.life)
    assert again.life == made.life


@settings(deadline=None)
@given(st.lists(st.floats(0, 50), min_size=9, max_size=9), st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_ratio_rises_with_time_and_stays_a_share(counts: list[float], one: float, other: float) -> None:
    within = [sum(counts[: index + 1]) for index in range(9)]
    gaps = Gaps(BOUNDS, tuple(within), within[-1] + 1.0)

    assert 0.0 <= gaps.ratio(min(one, other)) <= gaps.ratio(max(one, other)) + 1e-12 <= 1.0 + 1e-9


def test_the_sums_are_told() -> None:
    words = in_words(choose(ANTHROPIC, every(1200)), "claude", "auto", ["5m", "1h"])

    assert words == (
        "claude keeps prefixes 1h; per million prefix tokens of a request: none $3.00, 5m $3.75 (found 0%), "
        "1h $0.30 (found 100%)"
    )
    assert in_words(Choice("1h", {}, {}), "claude", "1h", ["5m", "1h"]) == "claude keeps prefixes 1h, as asked"
