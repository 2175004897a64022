"""How bursty each route is: the variance of the number of requests in a stretch of time over its mean.

1 for Poisson arrivals; the squared coefficient of variation of the gaps where these are independent; more where users
come in crowds. Taken from differences of successive minutes, since the level itself moves: half their mean square is
the variance of one minute. A tenth of the differences, the largest, is left out, since a jump of the level is no burst.

Worked: minutes of 600 requests that differ by 49 in the mean square: variance 1200, so 2.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from comptroller.learning.demand_log import DemandLog

WINDOW_MINUTES = 180
FEWEST_DIFFERENCES = 20
LEFT_OUT = 0.1
LEFT_OUT_OF_NORMAL = 0.5617  # what is left of the mean square of a normal number without its largest tenth
LEAST, MOST = 1.0, 200.0


def dispersions(log: DemandLog, routes: Iterable[str]) -> dict[str, float]:
    """By route; those with too little of a log are left out."""
    names = sorted(routes)
    if log.newest_minute is None or not names:
        return {}
    minutes = np.arange(log.newest_minute - WINDOW_MINUTES, log.newest_minute, dtype=np.int64)
    rates = log.means(minutes, 1, log.columns(names))
    squares = np.sort(np.diff(rates, axis=0) ** 2, axis=0)  # NaN last
    known = np.isfinite(squares).sum(axis=0)
    means = np.nansum(rates, axis=0) / np.maximum(np.isfinite(rates).sum(axis=0), 1)
    found = {}
    for column, name in enumerate(names):
        count = int(known[column])
        if count < FEWEST_DIFFERENCES or not means[column] > 0.0:
            continue
        kept = squares[: max(1, int(count * (1.0 - LEFT_OUT))), column]
        variance = float(kept.sum()) / count / LEFT_OUT_OF_NORMAL / 2.0
        found[name] = min(max(60.0 * variance / float(means[column]), LEAST), MOST)
    return found
