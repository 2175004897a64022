"""What a hosted API charges: as declared in the ModelPool, else from the price list bundled with `genai-prices`.

The list is data of the installed package; nothing is fetched. A price that is not known is None and never zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from comptroller.api.modelpool import Hosted, ModelPoolSpec, Prices, Provider

PROVIDER_NAMES: dict[Provider, str] = {
    Provider.OPENAI: "openai",
    Provider.ANTHROPIC: "anthropic",
    Provider.AZURE: "azure",
    Provider.BEDROCK: "aws",
    Provider.VERTEX: "google",
    Provider.MISTRAL: "mistral",
    Provider.DEEPSEEK: "deepseek",
    Provider.TOGETHER: "together",
    Provider.GROQ: "groq",
    Provider.FIREWORKS: "fireworks",
}
"""Providers by their name in the price list. An OpenAI-compatible endpoint is found by its address."""


@dataclass(frozen=True, slots=True)
class HostedPrice:
    """US dollars per million tokens, and where the figures come from, such as `genai-prices 0.2.3`."""

    input: Decimal
    cached_input: Decimal
    cache_write: Decimal
    output: Decimal
    source: str


PriceLookup = Callable[[ModelPoolSpec], HostedPrice | None]
"""What the validation of specs needs to know of prices."""


def price_list_version() -> str:
    """The price list and its version, as the status shows it."""
    return f"genai-prices {genai_prices.__version__}"


def price_lookup(at: datetime) -> PriceLookup:
    """The prices of a moment, as a function of the pool's spec. `at` must have a time zone."""
    return lambda spec: None if spec.hosted is None else hosted_price(spec.hosted, spec.model.name, at)


def hosted_price(hosted: Hosted, model: str, at: datetime) -> HostedPrice | None:
    """The price of a model at a moment: `spec.hosted.prices` if given, else the list's; None if neither knows it.

    Where a cached or a cache-written token has no price of its own, it costs as much as any other prompt token. Of
    prices that rise with the prompt's length the base counts. Worked: claude-sonnet-4-5 costs 3 / 0.30 / 3.75 / 15.
    """
    return _declared(hosted.prices) if hosted.prices is not None else _listed(hosted, model, at)


def _declared(prices: Prices) -> HostedPrice:
    usual = prices.input_usd_per_million_tokens
    cached, write = prices.cached_input_usd_per_million_tokens, prices.cache_write_usd_per_million_tokens
    return HostedPrice(
        input=usual,
        cached_input=usual if cached is None else cached,
        cache_write=usual if write is None else write,
        output=prices.output_usd_per_million_tokens,
        source="spec.hosted.prices",
    )


def _listed(hosted: Hosted, model: str, at: datetime) -> HostedPrice | None:
    provider = PROVIDER_NAMES.get(hosted.provider)
    address = hosted.base_url if provider is None else None
    if provider is None and address is None:
        return None
    try:
        _, found = get_snapshot().find_provider_model(model, None, provider, address)
    except LookupError:
        return None
    prices = found.get_prices(at)
    usual, output = _base(prices, "input_mtok"), _base(prices, "output_mtok")
    if usual is None or output is None:
        return None
    cached, write = _base(prices, "cache_read_mtok"), _base(prices, "cache_write_mtok")
    return HostedPrice(
        input=usual,
        cached_input=usual if cached is None else cached,
        cache_write=usual if write is None else write,
        output=output,
        source=price_list_version(),
    )


def _base(prices: ModelPrice, name: str) -> Decimal | None:
    value = getattr(prices, name, None)
    if isinstance(value, TieredPrices):
        value = value.base
    return None if value is None else Decimal(str(value))
