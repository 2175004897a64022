"""The end of the story in numbers: dollars, shares, times. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from e2e.demo.observe import Observation
from e2e.demo.results import Result, percentile
from e2e.demo.verdict import Check, Evidence, first_new_replica, first_spill

CACHE_MINIMUM_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class FrontierPrice:
    """US dollars per million tokens of the hosted model that would answer everything."""

    name: str
    input: float
    cached_input: float
    output: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What was spent, what it would have cost, and how quickly the fleet followed the load."""

    requests: int
    answered: int
    inside: int
    hosted_usd: float  # what the hosted APIs charged, by their own ledgers
    owned_usd: float | None  # power of the owned GPUs, marginal basis; None: the status did not say
    operator_hosted_usd: float | None  # what the router counted
    frontier_usd: float
    frontier_name: str
    seconds_to_spill: float | None
    seconds_to_new_replica: float | None
    first_token_p50_seconds: float | None
    first_token_p95_seconds: float | None
    restricted_requests: int
    canaries: int | None

    @property
    def spent_usd(self) -> float:
        return self.hosted_usd + (self.owned_usd or 0.0)

    @property
    def saved_ratio(self) -> float:
        return 1 - self.spent_usd / self.frontier_usd if self.frontier_usd else 0.0


def summarise(seen: Evidence, price: FrontierPrice, prefix_tokens: Mapping[str, int]) -> Summary:
    """The summary of one replay. `prefix_tokens` is the length of the common prefix of each route that has one."""
    last = seen.observations[-1] if seen.observations else Observation(0.0)
    first_tokens = [one.first_token_seconds for one in seen.results if one.answered and one.first_token_seconds]
    answered = [one for one in seen.results if one.answered]
    spill, replica = first_spill(seen), first_new_replica(seen)
    return Summary(
        requests=seen.planned_requests,
        answered=len(answered),
        inside=sum(not one.hosted for one in answered),
        hosted_usd=last.hosted_usd,
        owned_usd=owned_usd(seen.observations),
        operator_hosted_usd=last.operator_hosted_usd,
        frontier_usd=frontier_usd(answered, price, prefix_tokens),
        frontier_name=price.name,
        seconds_to_spill=None if spill is None else spill - seen.load_step,
        seconds_to_new_replica=None if replica is None else replica - seen.load_step,
        first_token_p50_seconds=percentile(first_tokens, 0.50),
        first_token_p95_seconds=percentile(first_tokens, 0.95),
        restricted_requests=sum(one.route in seen.restricted_routes for one in seen.results),
        canaries=seen.canaries_in_ledgers,
    )


def frontier_usd(answered: Sequence[Result], price: FrontierPrice, prefix_tokens: Mapping[str, int]) -> float:
    """The same tokens at one hosted model's price; a prefix that it caches is charged as read from the cache.

    Worked: 1,200 tokens in, of which 1,056 are the prefix, and 50 out at 3 / 0.30 / 15 dollars per million:
    144 * 3/M + 1,056 * 0.30/M + 50 * 15/M = 0.0015 dollars.
    """
    total = 0.0
    for one in answered:
        prefix = prefix_tokens.get(one.route, 0)
        cached = min(prefix, one.input_tokens) if prefix >= CACHE_MINIMUM_TOKENS else 0
        total += (one.input_tokens - cached) * price.input + cached * price.cached_input
        total += one.output_tokens * price.output
    return total / 1e6


def owned_usd(observations: Sequence[Observation]) -> float | None:
    """Dollars per hour of the local pools, summed over the time that was observed from the start of the replay."""
    total, known = 0.0, False
    for before, after in pairwise(observations):
        rate = before.owned_usd_per_hour
        if rate is not None and after.at > 0:
            known = True
            total += rate * (after.at - max(before.at, 0.0)) / 3600
    return total if known else None


def lines(one: Summary) -> list[tuple[str, str]]:
    """The summary as (label, text), money with its basis."""
    owned = "what the GPUs drew is not known" if one.owned_usd is None else f"${one.owned_usd:.4f} power of owned GPUs"
    answered = f"{one.answered} of {one.requests} requests, {_share(one.inside, one.answered)} inside"
    first_token = f"{_seconds(one.first_token_p50_seconds)} p50, {_seconds(one.first_token_p95_seconds)} p95"
    canaries = "unknown" if one.canaries is None else one.canaries
    return [
        ("spent", f"${one.spent_usd:.4f}: ${one.hosted_usd:.4f} charged by APIs + {owned} (marginal basis)"),
        (
            "instead of",
            f"${one.frontier_usd:.4f}: the same tokens at {one.frontier_name}'s price, prefixes cached",
        ),
        ("saved", f"{one.saved_ratio:.0%}"),
        ("answered", f"{answered}, {one.requests - one.answered} errors"),
        ("load step to spill", _seconds(one.seconds_to_spill)),
        ("load step to new replica", _seconds(one.seconds_to_new_replica)),
        ("first token", f"{first_token} (streamed answers)"),
        ("books", _books(one)),
        ("restricted requests that left", f"{canaries} of {one.restricted_requests}"),
    ]


def _books(one: Summary) -> str:
    if one.operator_hosted_usd is None:
        return f"${one.hosted_usd:.4f} charged by the hosted APIs; what the router counted is not known"
    difference = one.operator_hosted_usd - one.hosted_usd
    ratio = f" ({difference / one.hosted_usd:+.2%})" if one.hosted_usd else ""
    counted = f"${one.operator_hosted_usd:.6f} counted by the router"
    return f"${one.hosted_usd:.6f} charged by the hosted APIs, {counted}: {difference:+.6f}{ratio}"


def as_json(one: Summary, verdict: Sequence[Check]) -> dict[str, object]:
    """Exact numbers, for a file beside the console's rounded ones."""
    fields = {name: getattr(one, name) for name in Summary.__dataclass_fields__}
    return {
        **fields,
        "spent_usd": one.spent_usd,
        "saved_ratio": one.saved_ratio,
        "checks": [{"name": check.name, "passed": check.passed, "detail": check.detail} for check in verdict],
    }


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "none"


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"
