"""How bursty a route's arrivals are, out of the rates of consecutive windows.

The number of arrivals in a window of w seconds has a variance of I times its mean; I is 1 for a Poisson process, and
for any renewal process the squared coefficient of variation of the gaps. Demand that rises and falls over the day is
no burst: so half the squared difference of neighbouring windows counts, to which a slow trend adds next to nothing.

    I  =  mean of  w (r2 - r1)^2 / (r1 + r2)

Worked: windows of 60 s with 2.0, 3.0 and 2.2 requests/s: 60 (1.0^2 / 5.0) = 12 and 60 (0.8^2 / 5.2) = 7.4; I about 9.7,
a coefficient of variation of 3.1. Poisson arrivals of that rate would differ by 0.29 requests/s.

One wild window counts for little: no difference adds more than `MOST`, and twenty windows make the mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

MOST: Final = 50.0
MEMORY_WINDOWS: Final = 20.0
FEWEST_WINDOWS: Final = 10


@dataclass(frozen=True, slots=True)
class Burstiness:
    """What the windows of one route have shown so far. Frozen: `after` answers the next one."""

    dispersion: float = 1.0  # I
    differences: int = 0
    rate: float | None = None  # requests/s of the newest window
    at_seconds: float = 0.0  # when it ended

    @property
    def arrival_cv(self) -> float:
        """The coefficient of variation of the gaps; 1 until ten windows were seen, and never below."""
        return math.sqrt(max(1.0, self.dispersion)) if self.differences >= FEWEST_WINDOWS else 1.0


def after(before: Burstiness, requests_per_second: float, at_seconds: float, window_seconds: float) -> Burstiness:
    """What is known after one more window. Overlapping windows, gaps of more than one, and what is no rate, teach
    nothing: then the next pair begins."""
    if not math.isfinite(requests_per_second) or requests_per_second < 0.0 or not math.isfinite(at_seconds):
        return replace(before, rate=None)
    elapsed = at_seconds - before.at_seconds
    if before.rate is not None and 0.0 <= elapsed < window_seconds:
        return before
    newest = replace(before, rate=requests_per_second, at_seconds=at_seconds)
    if before.rate is None or not window_seconds <= elapsed < 2.0 * window_seconds:
        return newest
    both = before.rate + requests_per_second
    if both * window_seconds < 1.0:  # fewer than one arrival in both: nothing to compare
        return newest
    seen = min(MOST, window_seconds * (requests_per_second - before.rate) ** 2 / both)
    weight = 1.0 / min(MEMORY_WINDOWS, before.differences + 1.0)
    return replace(
        newest,
        dispersion=before.dispersion + weight * (seen - before.dispersion),
        differences=before.differences + 1,
    )


def together(parts: Iterable[tuple[float, float]]) -> float:
    """The coefficient of variation of several streams at once; `parts` are (requests/s, coefficient of variation).

    Variances of independent streams add, so bursts weigh by their rate: 1 request/s at 3 among 9 at 1 are 1.34.
    """
    total = spread = 0.0
    for rate, cv in parts:
        if rate > 0.0 and math.isfinite(rate) and math.isfinite(cv):
            total += rate
            spread += rate * cv**2
    return math.sqrt(spread / total) if total > 0.0 else 1.0
