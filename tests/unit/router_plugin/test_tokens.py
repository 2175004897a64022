"""Tokens by kind and their dollars, out of what LiteLLM reports of an answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.router_plugin.tokens import Prices, Tokens

SONNET = Prices.parse(
    {
        "input_cost_per_token": 3e-6,
        "cache_read_input_token_cost": 3e-7,
        "cache_creation_input_token_cost": 3.75e-6,
        "cache_creation_input_token_cost_above_1hr": 6e-6,
        "output_cost_per_token": 15e-6,
    }
)


def test_anthropics_answer_is_booked_by_kind() -> None:
    lives = SimpleNamespace(ephemeral_5m_input_tokens=200, ephemeral_1h_input_tokens=100)
    details = SimpleNamespace(cached_tokens=500, cache_creation_token_details=lives)
    usage = SimpleNamespace(
        prompt_tokens=1000, completion_tokens=50, prompt_tokens_details=details, cache_creation_input_tokens=300
    )

    tokens = Tokens.of(usage, {})

    assert tokens == Tokens(1000, 500, 200, 100, 50)
    assert tokens.usd(SONNET) == pytest.approx((200 * 3 + 500 * 0.3 + 200 * 3.75 + 100 * 6 + 50 * 15) / 1e6)


def test_the_worked_example() -> None:
    assert Tokens(1000, 700, 200, 0, 50).usd(SONNET) == pytest.approx(0.00201)


def test_a_write_of_unknown_life_is_one_of_five_minutes() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 1, "cache_creation_input_tokens": 80}

    assert Tokens.of(usage, {}) == Tokens(100, 0, 80, 0, 1)


def test_openais_answer_has_no_writes() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 60}}

    assert Tokens.of(usage, {}) == Tokens(100, 60, 0, 0, 5)


def test_litellms_own_account_fills_in() -> None:
    assert Tokens.of(None, {"prompt_tokens": 7, "completion_tokens": 2}) == Tokens(input=7, output=2)
    assert Tokens.of(None, {}) == Tokens()


def test_what_has_no_price_of_its_own_costs_as_input() -> None:
    plain = Prices.parse({"input_cost_per_token": 2.0, "output_cost_per_token": 3.0})

    assert Tokens(10, 2, 3, 4, 1).usd(plain) == pytest.approx(23.0)


numbers = st.one_of(st.none(), st.integers(-5, 2000), st.just("many"), st.floats(0, 100))


@settings(deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(("total", "cached", "five", "hour", "written", "out"), numbers)))
def test_whatever_is_reported_no_part_exceeds_the_prompt(seen: dict[str, Any]) -> None:
    lives = {"ephemeral_5m_input_tokens": seen["five"], "ephemeral_1h_input_tokens": seen["hour"]}
    details = {"cached_tokens": seen["cached"], "cache_creation_token_details": lives}
    usage = {
        "prompt_tokens": seen["total"],
        "completion_tokens": seen["out"],
        "prompt_tokens_details": details,
        "cache_creation_input_tokens": seen["written"],
    }

    tokens = Tokens.of(usage, {})

    assert min(tokens.by_kind().values()) >= 0
    assert tokens.cached_input + tokens.cache_write_5m + tokens.cache_write_1h <= tokens.input
    assert tokens.usd(SONNET) >= 0
