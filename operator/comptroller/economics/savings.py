"""Money saved against a baseline, split into the three levers that multiply: routing, caching, serving.

Every request could have gone to the dearest model at its list price, with nothing cached: the baseline. From there to
what was spent there are three steps, each with its own price for the same tokens:

    baseline   all tokens at the baseline model's price, nothing cached
    routed     the same tokens at the price that a hosted API asks for the model that answered, nothing cached
    cached     the same, with cached and cache-written tokens at their own price
    spent      what was really paid: hosted tokens, or power (and rent) of own GPUs

so that spent / baseline = (routed / baseline) x (cached / routed) x (spent / cached), exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from comptroller.economics.prices import HostedPrice

MILLION = Decimal(1_000_000)
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of some requests. `input` counts all prompt tokens; among them are those read from a cache
    (`cached_input`) and those written to one for five minutes or an hour."""

    input: Decimal = ZERO
    cached_input: Decimal = ZERO
    cache_write_5m: Decimal = ZERO
    cache_write_1h: Decimal = ZERO
    output: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Use:
    """What one pool answered. `hosted_price` is what an API asks for the same model; None when nobody is known to sell
    it: then the baseline's price stands in, and all that the pool saves counts as serving."""

    tokens: TokenCounts
    spent_usd: Decimal
    hosted_price: HostedPrice | None


@dataclass(frozen=True, slots=True)
class Savings:
    """US dollars of one window at the four prices of the module's text."""

    baseline_usd: Decimal
    routed_usd: Decimal
    cached_usd: Decimal
    spent_usd: Decimal

    @property
    def ratio(self) -> Decimal | None:
        """Share of the baseline that was saved; negative when more was spent. None without a baseline."""
        return 1 - self.spent_usd / self.baseline_usd if self.baseline_usd else None

    @property
    def levers(self) -> dict[str, Decimal | None]:
        """What each lever leaves of the step before it. The product of the three is `spent / baseline`; a step from
        nothing has no ratio."""
        steps = {
            "routing": (self.routed_usd, self.baseline_usd),
            "caching": (self.cached_usd, self.routed_usd),
            "serving": (self.spent_usd, self.cached_usd),
        }
        return {name: after / before if before else None for name, (after, before) in steps.items()}


def uncached_usd(tokens: TokenCounts, price: HostedPrice) -> Decimal:
    """US dollars of the tokens when none of them had been cached.

    Worked: 900,000 prompt and 100,000 answer tokens at $3 and $15 per million cost 2.70 + 1.50 = $4.20.
    """
    return (tokens.input * price.input + tokens.output * price.output) / MILLION


def cached_usd(tokens: TokenCounts, price: HostedPrice) -> Decimal:
    """US dollars of the tokens as they were: read from a cache, written to one, plain.

    Worked: of 900,000 prompt tokens 600,000 were read at $0.30 and 100,000 written at $3.75, 100,000 answer tokens at
    $15: 200,000 x 3 + 600,000 x 0.30 + 100,000 x 3.75 + 100,000 x 15 = 0.60 + 0.18 + 0.375 + 1.50 = $2.655.
    """
    written = tokens.cache_write_5m + tokens.cache_write_1h
    prompt = (tokens.input - tokens.cached_input - written) * price.input + tokens.cached_input * price.cached_input
    prompt += tokens.cache_write_5m * price.cache_write + tokens.cache_write_1h * price.cache_write_1h
    return (prompt + tokens.output * price.output) / MILLION


def savings(uses: Iterable[Use], baseline: HostedPrice) -> Savings:
    """Adds up what the pools answered.

    Worked, with Claude Sonnet as baseline ($3 / $15): the tokens of `uncached_usd` on a local Qwen3 32B that APIs sell
    at $0.15 / $0.60, two thirds of its prompt tokens cached at half the price, for $0.02 of power. Baseline $4.20,
    routed 0.135 + 0.06 = $0.195, cached 0.045 + 0.045 + 0.06 = $0.15, spent $0.02: routing leaves 4.6 %, caching 77 %
    of that, serving 13 % of that; 99.5 % saved.
    """
    totals = [ZERO] * 4
    for use in uses:
        price = use.hosted_price or baseline
        tokens = use.tokens
        parts = (uncached_usd(tokens, baseline), uncached_usd(tokens, price), cached_usd(tokens, price), use.spent_usd)
        totals = [total + part for total, part in zip(totals, parts, strict=True)]
    return Savings(*totals)
