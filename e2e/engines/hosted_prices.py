"""What a hosted API charges, in exact decimal dollars.

A price file has the field names of a ModelPool's `prices`, one entry per model; omitted cache prices follow the
provider's rules of thumb, stated at `Price`:

    {"gpt-5-mini": {"inputUsdPerMillionTokens": "0.25", "cachedInputUsdPerMillionTokens": "0.025",
                    "outputUsdPerMillionTokens": "2"}}

Worked: 1,000 input + 9,000 cached + 200 output tokens of gpt-5-mini cost
1,000 * 0.25/M + 9,000 * 0.025/M + 200 * 2/M = 0.00025 + 0.000225 + 0.0004 = 0.000875 USD.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one request, each counted in exactly one place."""

    input: int = 0  # neither read from nor written to the cache
    cached_input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, and from how many prompt tokens on the model caches at all."""

    input: Decimal
    cached_input: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    output: Decimal
    cache_minimum_tokens: int = 1024

    def usd(self, tokens: Tokens) -> Decimal:
        """The charge; exact, because a division by a million only moves the point."""
        return (
            self.input * tokens.input
            + self.cached_input * tokens.cached_input
            + self.cache_write_5m * tokens.cache_write_5m
            + self.cache_write_1h * tokens.cache_write_1h
            + self.output * tokens.output
        ) / _MILLION


def price(declared: Mapping[str, object]) -> Price:
    """Read one entry. Without its own price a cached token costs as much as an uncached one, a cache write as much as
    input, and an hour's write 1.6 times a five-minute one (Anthropic: 2 and 1.25 times input)."""

    def usd(name: str, otherwise: Decimal) -> Decimal:
        given = declared.get(f"{name}UsdPerMillionTokens")
        return otherwise if given is None else Decimal(str(given))

    base = Decimal(str(declared["inputUsdPerMillionTokens"]))
    write = usd("cacheWrite", base)
    return Price(
        input=base,
        cached_input=usd("cachedInput", base),
        cache_write_5m=write,
        cache_write_1h=usd("cacheWrite1h", write * Decimal("1.6") if write != base else base),
        output=Decimal(str(declared["outputUsdPerMillionTokens"])),
        cache_minimum_tokens=int(str(declared.get("cacheMinimumTokens", 1024))),
    )


def _list_price(input_usd: str, cached: str, write: str, output: str, minimum_tokens: int = 1024) -> Price:
    return price(
        {
            "inputUsdPerMillionTokens": input_usd,
            "cachedInputUsdPerMillionTokens": cached,
            "cacheWriteUsdPerMillionTokens": write,
            "outputUsdPerMillionTokens": output,
            "cacheMinimumTokens": minimum_tokens,
        }
    )


# Public list prices of autumn 2026.
OPENAI_PRICES = {
    "gpt-5": _list_price("1.25", "0.125", "1.25", "10"),
    "gpt-5-mini": _list_price("0.25", "0.025", "0.25", "2"),
}
ANTHROPIC_PRICES = {
    "claude-sonnet-4-5": _list_price("3", "0.30", "3.75", "15"),
    "claude-haiku-4-5": _list_price("1", "0.10", "1.25", "5", minimum_tokens=4096),
}


def read_prices(path: Path) -> dict[str, Price]:
    """Read a price file; numbers without quotes are taken digit by digit too, never through a float."""
    return {name: price(declared) for name, declared in json.loads(path.read_text(), parse_float=Decimal).items()}
