"""The tokens of one answer by kind, and what they cost: what the books are kept in.

LiteLLM counts tokens that were read from a cache or written to it into the prompt, whichever provider answered and in
whichever protocol, streamed or not; each is charged at a price of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prices:
    """US dollars per token of one deployment."""

    input: float
    cached_input: float
    cache_write_5m: float
    cache_write_1h: float
    output: float

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Prices:
        """Reads LiteLLM's parameters; what has no price of its own costs as much as any other prompt token."""
        usual = float(params["input_cost_per_token"])
        write = float(params.get("cache_creation_input_token_cost", usual))
        return cls(
            input=usual,
            cached_input=float(params.get("cache_read_input_token_cost", usual)),
            cache_write_5m=write,
            cache_write_1h=float(params.get("cache_creation_input_token_cost_above_1hr", write)),
            output=float(params["output_cost_per_token"]),
        )


@dataclass(frozen=True)
class Tokens:
    """`input` counts all prompt tokens, the next three are parts of it."""

    input: int = 0
    cached_input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0

    @classmethod
    def of(cls, usage: Any, record: Mapping[str, Any]) -> Tokens:
        """Reads what LiteLLM reports of an answer; `record` is its own account, for what the answer leaves out.

        A write whose life is not told is one of five minutes, the providers' default. No part exceeds the prompt.
        """
        total = _number(usage, "prompt_tokens", record.get("prompt_tokens"))
        details = _field(usage, "prompt_tokens_details")
        cached = min(total, _number(details, "cached_tokens", 0))
        lives = _field(details, "cache_creation_token_details")
        hour = _number(lives, "ephemeral_1h_input_tokens", 0)
        told = hour + _number(lives, "ephemeral_5m_input_tokens", 0)
        written = max(told, _number(usage, "cache_creation_input_tokens", 0))
        written = min(total - cached, written)
        hour = min(hour, written)
        output = _number(usage, "completion_tokens", record.get("completion_tokens"))
        return cls(total, cached, written - hour, hour, output)

    def usd(self, prices: Prices) -> float:
        """Dollars = each kind of tokens at its price.

        Worked: 1000 prompt tokens of which 700 were read from the cache and 200 written for 5 minutes, 50 out, at
        $3 / 0.30 / 3.75 / 15 per million: 100 x 3 + 700 x 0.30 + 200 x 3.75 + 50 x 15 = 2010 millionths: $0.00201.
        """
        plain = self.input - self.cached_input - self.cache_write_5m - self.cache_write_1h
        return (
            plain * prices.input
            + self.cached_input * prices.cached_input
            + self.cache_write_5m * prices.cache_write_5m
            + self.cache_write_1h * prices.cache_write_1h
            + self.output * prices.output
        )

    def by_kind(self) -> dict[str, int]:
        """Kind, as the label of the metric calls it -> tokens."""
        return {
            "input": self.input,
            "cached_input": self.cached_input,
            "cache_write_5m": self.cache_write_5m,
            "cache_write_1h": self.cache_write_1h,
            "output": self.output,
        }


def _number(thing: Any, name: str, otherwise: Any) -> int:
    value = _field(thing, name)
    value = otherwise if value is None else value
    return max(0, int(value)) if isinstance(value, int | float) else 0


def _field(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
