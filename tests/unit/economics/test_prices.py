"""Hosted prices: declared ones first, then the bundled list; unknown is None and never zero."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from comptroller.api.modelpool import Hosted, Provider
from comptroller.economics.prices import PROVIDER_NAMES, hosted_price, price_list_version, price_lookup
from tests.unit.allocation.specs import hosted_spec, local_spec

AT = datetime(2026, 11, 1, tzinfo=UTC)


def hosted(**fields: object) -> Hosted:
    return Hosted.model_validate({"provider": "anthropic", **fields})


def test_the_list_knows_the_common_models_and_says_its_version() -> None:
    price = hosted_price(hosted(), "claude-sonnet-4-5", AT)
    assert price is not None
    assert (price.input, price.cached_input) == (Decimal(3), Decimal("0.3"))
    assert (price.cache_write, price.output) == (Decimal("3.75"), Decimal(15))
    assert price.source == price_list_version()
    assert price.source.startswith("genai-prices 0.")


def test_declared_prices_win() -> None:
    declared = {"inputUsdPerMillionTokens": "0.02", "outputUsdPerMillionTokens": "0.08"}
    price = hosted_price(hosted(prices=declared), "claude-sonnet-4-5", AT)
    assert price is not None
    assert (price.input, price.cached_input, price.cache_write) == (Decimal("0.02"),) * 3
    assert price.source == "spec.hosted.prices"


def test_a_declared_price_of_zero_is_zero_and_not_absent() -> None:
    declared = {
        "inputUsdPerMillionTokens": "1",
        "cachedInputUsdPerMillionTokens": "0",
        "outputUsdPerMillionTokens": "2",
    }
    price = hosted_price(hosted(prices=declared), "own", AT)
    assert price is not None
    assert price.cached_input == 0


@pytest.mark.parametrize("model", ["no-such-model", ""])
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert hosted_price(hosted(), model, AT) is None


def test_a_compatible_endpoint_is_found_by_its_address_or_not_at_all() -> None:
    known = hosted(provider="openaiCompatible", baseUrl="https://api.mistral.ai/v1")
    other = hosted(provider="openaiCompatible", baseUrl="https://llm.example.com/v1")
    assert hosted_price(known, "mistral-large-latest", AT) is not None
    assert hosted_price(other, "mistral-large-latest", AT) is None


def test_every_provider_but_the_compatible_one_has_a_name_in_the_list() -> None:
    assert set(PROVIDER_NAMES) == set(Provider) - {Provider.OPENAI_COMPATIBLE}


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the price list must not use the network")

    monkeypatch.setattr(socket, "socket", refuse)
    assert hosted_price(hosted(provider="openai"), "gpt-5", AT) is not None


def test_the_lookup_takes_a_pool() -> None:
    lookup = price_lookup(AT)
    assert lookup(hosted_spec()) is not None
    assert lookup(local_spec()) is None
