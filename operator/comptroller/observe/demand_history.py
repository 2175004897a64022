"""Reads from Prometheus what every route was asked over some time: the demand that a plan is replayed against."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.learning.demand_record import RouteWindow
from comptroller.observe.accounts import days
from comptroller.observe.prometheus import History, PrometheusSource, Series

WINDOW_SECONDS = 300.0


async def demand_history(
    source: PrometheusSource, start_seconds: float, end_seconds: float, usual_tokens: tuple[float, float]
) -> list[RouteWindow] | Unknown:
    """One row per route and window of five minutes in which it was asked for something. A route whose token counts are
    not known has the usual ones, of prompt and answer."""
    window = min(WINDOW_SECONDS, (end_seconds - start_seconds) / 2)
    start = start_seconds - start_seconds % window
    rates: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for day_start, day_end in days(start, end_seconds):
        found = await _rates(source, day_start, day_end, window)
        if isinstance(found, Unknown):
            return found
        for key, samples in found.items():
            rates.setdefault(key, []).extend(samples)
    length = max(60, round(end_seconds - start_seconds))
    tokens, answered = await asyncio.gather(
        source.query(
            f"sum by (policy, route, kind) (increase(comptroller_router_tokens_total[{length}s]))",
            ("policy", "route", "kind"),
        ),
        source.query(
            f'sum by (policy, route) (increase(comptroller_router_responses_total{{outcome="ok"}}[{length}s]))',
            ("policy", "route"),
        ),
    )
    if isinstance(tokens, Unknown):
        return tokens
    if isinstance(answered, Unknown):
        return answered
    rows = []
    for (policy, route), moments in rates.items():
        shape = _shape(tokens, answered, policy, route) or (*usual_tokens, 0.0)
        rows += [RouteWindow(at - window, policy, route, rate, *shape) for at, rate in moments if rate > 0.0]
    return rows


async def _rates(source: PrometheusSource, start: float, end: float, window: float) -> History | Unknown:
    """Each sample tells of the window that ends there."""
    if end - start < window:
        return {}
    expression = f'sum by (policy, route) (rate(comptroller_router_requests_total{{route!="unknown"}}[{window:.0f}s]))'
    return await source.query_range(expression, ("policy", "route"), start + window, end, window)


def _shape(tokens: Series, answered: Series, policy: str, route: str) -> tuple[float, float, float] | None:
    """Mean prompt and answer lengths, and the cached share of the prompt; None where nothing was answered."""
    number = _value(answered, (policy, route))
    told: Mapping[str, float] = {
        kind: _value(tokens, (policy, route, kind)) for kind in ("input", "cached_input", "output")
    }
    if number <= 0.0 or told["input"] <= 0.0 or told["output"] <= 0.0:
        return None
    return told["input"] / number, told["output"] / number, min(1.0, told["cached_input"] / told["input"])


def _value(series: Series, key: tuple[str, ...]) -> float:
    found = series.get(key)
    return found.value if isinstance(found, Sample) else 0.0
