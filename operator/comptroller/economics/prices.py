"""What a hosted API charges: as declared in the ModelPool, else from the price list bundled with `genai-prices`.

The list is data of the installed package; nothing is fetched. A price that is not known is None and never zero.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from comptroller.api.modelpool import Hosted, Model, ModelPoolSpec, Prices, Provider

HOUR_OVER_FIVE_MINUTES = Decimal("1.6")
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


PRECISION = re.compile(r"[-_](FP8|FP4|NVFP4|MXFP4|BF16|INT4|INT8|AWQ|GPTQ|GGUF|W4A16|W8A8)([-_].*)?$", re.IGNORECASE)
"""What is added to a name when the same weights are stored with fewer bits."""


@dataclass(frozen=True, slots=True)
class HostedPrice:
    """US dollars per million tokens, and where the figures come from, such as `genai-prices 0.2.3`."""

    input: Decimal
    cached_input: Decimal
    cache_write: Decimal  # for five minutes, or for as long as the provider keeps it
    output: Decimal
    source: str

    @property
    def cache_write_1h(self) -> Decimal:
        """A prefix written for an hour. Anthropic charges 1.25 x input for five minutes and 2 x input for an hour, so
        1.6 times as much; where writing costs no more than reading it does so for an hour too. Worked: 3.75 -> 6."""
        return self.cache_write * HOUR_OVER_FIVE_MINUTES if self.cache_write > self.input else self.cache_write


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
    if hosted.prices is not None:
        return _declared(hosted.prices)
    return listed_price(hosted.provider, model, at, hosted.base_url)


def market_price(model: Model, at: datetime) -> HostedPrice | None:
    """The cheapest price, of a prompt three times as long as its answer, at which any API of the list sells the same
    open model: what the own GPUs are compared with. None when the list does not know it.

    It is found by the name of its weights (`hf://Qwen/Qwen3-32B-FP8` is sold as Qwen/Qwen3-32B), else by its own name.
    """
    weights = (model.source or "").removeprefix("hf://")
    names = [name for name in (PRECISION.sub("", weights), model.name) if name and "://" not in name]
    for name in names:
        found = [price for one in get_snapshot().providers if (price := _sold(name, one.id, at)) is not None]
        if found:
            return min(found, key=lambda price: 3 * price.input + price.output)
    return None


def _sold(name: str, provider: str, at: datetime) -> HostedPrice | None:
    try:
        _, found = get_snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return None
    price = _price(found.get_prices(at))
    # what is given away for trials is no price
    return price if price is not None and price.input > 0 and price.output > 0 else None


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


def listed_price(provider: Provider, model: str, at: datetime, address: str | None = None) -> HostedPrice | None:
    """The price list's price of a model at a provider; of one without a name in the list by its address."""
    name = PROVIDER_NAMES.get(provider)
    if name is None and address is None:
        return None
    try:
        _, found = get_snapshot().find_provider_model(model, None, name, None if name else address)
    except LookupError:
        return None
    return _price(found.get_prices(at))


def _price(prices: ModelPrice) -> HostedPrice | None:
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
