"""What Prometheus still knows of the arrivals: asked once after a start, a day of one policy at a time.

A day of 40 routes at one sample a minute is 57,600 samples; a policy with more routes is asked for fewer, so that no
answer is large and none has more than the 11,000 points per series that Prometheus allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from comptroller.allocation.snapshot import Unknown
from comptroller.api.settings import PrometheusSettings
from comptroller.observe.prometheus import PrometheusSource

DAY_SECONDS = 86_400.0
KEPT_DAYS = 5
MOST_SAMPLES = 60_000


@dataclass(frozen=True, slots=True)
class PastArrivals:
    """Requests/s of the routes (namespace/policy/route) over some time: (seconds, rate), oldest first."""

    rates: Mapping[str, tuple[tuple[float, float], ...]]
    step_seconds: float


async def past_arrivals(
    source: PrometheusSource, settings: PrometheusSettings, policy: str, routes: int, end_seconds: float
) -> PastArrivals | Unknown:
    """The arrivals of one policy in the day that ends then."""
    step = 60.0 * max(1, math.ceil(routes * DAY_SECONDS / 60.0 / MOST_SAMPLES))
    window = max(settings.rate_window_seconds, int(step))
    expression = f'sum by (route) (rate(comptroller_router_requests_total{{policy="{policy}"}}[{window}s]))'
    found = await source.query_range(expression, ("route",), end_seconds - DAY_SECONDS + step, end_seconds, step)
    if isinstance(found, Unknown):
        return found
    return PastArrivals({f"{policy}/{route}": samples for (route,), samples in found.items()}, step)
