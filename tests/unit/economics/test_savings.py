"""Savings: the worked numbers, and the three levers that multiply to the total."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.economics.prices import HostedPrice
from comptroller.economics.savings import TokenCounts, Use, cached_usd, savings, uncached_usd


def price(usual: str, cached: str, write: str, output: str) -> HostedPrice:
    return HostedPrice(Decimal(usual), Decimal(cached), Decimal(write), Decimal(output), "test")


SONNET = price("3", "0.30", "3.75", "15")
QWEN = price("0.15", "0.075", "0.15", "0.60")
TOKENS = TokenCounts(Decimal(900_000), Decimal(600_000), output=Decimal(100_000))


def test_the_worked_numbers() -> None:
    assert uncached_usd(TOKENS, SONNET) == Decimal("4.20")
    written = TokenCounts(Decimal(900_000), Decimal(600_000), Decimal(100_000), output=Decimal(100_000))
    assert cached_usd(written, SONNET) == Decimal("2.655")
    found = savings([Use(TOKENS, Decimal("0.02"), QWEN)], SONNET)
    assert (found.baseline_usd, found.routed_usd, found.cached_usd) == (
        Decimal("4.20"),
        Decimal("0.195"),
        Decimal("0.15"),
    )
    assert float(found.ratio or 0) == pytest.approx(0.995, abs=0.0005)


def test_a_write_that_lives_an_hour_has_its_own_price() -> None:
    hour = TokenCounts(Decimal(1_000_000), cache_write_1h=Decimal(1_000_000))
    assert cached_usd(hour, SONNET) == SONNET.cache_write_1h > SONNET.cache_write


def test_a_model_that_nobody_sells_saves_by_serving_alone() -> None:
    found = savings([Use(TokenCounts(input=Decimal(1000)), Decimal("0.001"), None)], SONNET)
    assert found.levers["routing"] == 1
    assert found.levers["serving"] == found.spent_usd / found.baseline_usd


def test_nothing_answered_saves_nothing_and_says_so() -> None:
    found = savings([], SONNET)
    assert found.ratio is None
    assert set(found.levers.values()) == {None}


def test_dearer_than_the_baseline_is_shown_as_a_loss() -> None:
    found = savings([Use(TokenCounts(input=Decimal(1000)), Decimal(1), QWEN)], SONNET)
    assert found.ratio is not None
    assert found.ratio < 0


MONEY = st.decimals(Decimal("0.001"), Decimal(100), places=3)
COUNT = st.integers(1, 10**9).map(Decimal)


@st.composite
def uses(draw: st.DrawFn) -> Use:
    parts = draw(st.tuples(COUNT, COUNT, COUNT, COUNT))
    tokens = TokenCounts(parts[0] + parts[1] + parts[2], parts[1], parts[2], output=parts[3])
    bought = draw(st.none() | st.tuples(MONEY, MONEY, MONEY, MONEY))
    return Use(tokens, draw(MONEY), None if bought is None else HostedPrice(*bought, "any"))


@given(st.lists(uses(), min_size=1, max_size=8), st.tuples(MONEY, MONEY, MONEY, MONEY))
def test_the_levers_multiply_to_the_total(many: list[Use], asked: tuple[Decimal, Decimal, Decimal, Decimal]) -> None:
    found = savings(many, HostedPrice(*asked, "baseline"))
    product = Decimal(1)
    for lever in found.levers.values():
        assert lever is not None
        assert lever > 0
        product *= lever
    assert found.ratio is not None
    assert float(product) == pytest.approx(float(1 - found.ratio), rel=1e-12)


@given(st.lists(uses(), min_size=1, max_size=8))
def test_windows_add_up(many: list[Use]) -> None:
    whole = savings(many, SONNET)
    parts = [savings([one], SONNET) for one in many]
    assert whole.spent_usd == sum(one.spent_usd for one in parts)
    assert float(whole.routed_usd) == pytest.approx(float(sum(one.routed_usd for one in parts)))
