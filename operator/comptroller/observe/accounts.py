"""Reads the books of a stretch of time from Prometheus: how much each counter grew, day by day."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from comptroller.allocation.snapshot import Unknown
from comptroller.economics.accounts import Accounts, Counts, increase
from comptroller.observe.prometheus import PrometheusSource

DAY_SECONDS = 86_400.0
POINTS = 288  # of one day: what a router counted in the five minutes before it was restarted may be lost
FEWEST_POINTS = 12
SHORTEST_STEP_SECONDS = 5.0
REMEMBERED = "6h"
"""A counter that was not scraped for a while goes on from its last value, over midnight too."""

QUESTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "arrivals": ("comptroller_router_requests_total", ("policy", "route", "tenant", "workflow", "step")),
    "answers": ("comptroller_router_responses_total", ("policy", "route", "tenant", "pool", "outcome")),
    "tokens": ("comptroller_router_tokens_total", ("policy", "route", "pool", "kind")),
    "usd": ("comptroller_router_usd_total", ("policy", "route", "tenant", "pool")),
    "pool_usd": ("comptroller_pool_usd_total", ("namespace", "pool", "basis")),
    "gpu_hours": ("comptroller_pool_gpu_hours_total", ("namespace", "pool", "gpu_class")),
}
"""What of `Accounts` -> the counter and its labels."""


async def read_accounts(source: PrometheusSource, start_seconds: float, end_seconds: float) -> list[Accounts]:
    """The books from one time to another, in days of UTC (the first and the last may be parts), oldest first."""
    return [await _stretch(source, *edges) for edges in days(start_seconds, end_seconds)]


def days(start_seconds: float, end_seconds: float) -> list[tuple[float, float]]:
    """The stretch cut at each midnight of UTC.

    >>> days(80_000, 90_000)
    [(80000, 86400.0), (86400.0, 90000)]
    """
    edges = [start_seconds]
    while (midnight := (edges[-1] // DAY_SECONDS + 1) * DAY_SECONDS) < end_seconds:
        edges.append(midnight)
    return list(zip(edges, [*edges[1:], end_seconds], strict=True))


async def _stretch(source: PrometheusSource, start: float, end: float) -> Accounts:
    answers = await asyncio.gather(*(_counts(source, *question, start, end) for question in QUESTIONS.values()))
    found: dict[str, Counts] = {}
    unknown = []
    for name, answer in zip(QUESTIONS, answers, strict=True):
        if isinstance(answer, Unknown):
            unknown.append(f"{QUESTIONS[name][0]}: {answer.reason}")
        else:
            found[name] = answer
    return Accounts(start, end, unknown=tuple(unknown), **found)


async def _counts(
    source: PrometheusSource, metric: str, labels: Sequence[str], start: float, end: float
) -> Counts | Unknown:
    """How much a counter grew, over all processes that tell it. Fewer points where there are very many series."""
    points = max(1, min(POINTS, int((end - start) / SHORTEST_STEP_SECONDS)))
    while True:
        step = (end - start) / points
        found = await source.query_range(
            f"last_over_time({metric}[{REMEMBERED}])", (*labels, "instance"), start, end, step
        )
        if not isinstance(found, Unknown):
            break
        if "samples" not in found.reason or points // 4 < FEWEST_POINTS:
            return found
        points //= 4
    total: dict[tuple[str, ...], float] = {}
    for key, samples in found.items():
        total[key[:-1]] = total.get(key[:-1], 0.0) + increase(samples, start)
    return total
