"""How many processes a router needs: by its requests, and by the processor time that they have been seen to take."""

from __future__ import annotations

import math

REQUESTS_PER_SECOND = 20.0
"""Of one process: 28 whole answers were measured at full load."""
CORES = 0.7
"""Of one process, which cannot use more than one core: what is left is for bursts."""


def processes_for(requests_per_second: float, cores: float | None = None) -> float:
    """Processes for a load, in fractions: by requests, or by the cores that are in use where that is more.

    A whole answer takes 9 to 17 ms of processor time, a stream 0.4 ms more for each token: 10 requests/s of 300 tokens
    streamed take 1.3 cores, which is 1.9 processes where the requests alone would ask for half of one.

    >>> processes_for(10.0), round(processes_for(10.0, 1.3), 1)
    (0.5, 1.9)
    """
    return max(requests_per_second / REQUESTS_PER_SECOND, (cores or 0.0) / CORES)


def router_replicas(processes: float, current: int | None, minimum: int, maximum: int) -> int:
    """Whole processes. Up at once; down only when one fewer would still have a third to spare, so that a load at the
    edge does not make them come and go.

    >>> router_replicas(2.25, None, 1, 4), router_replicas(2.25, 4, 1, 4), router_replicas(1.75, 4, 1, 4)
    (3, 4, 3)
    """
    least = max(1, minimum)
    wanted = math.ceil(processes)
    if current is not None and wanted < current:
        wanted = min(current, math.ceil(1.5 * processes))
    return max(least, min(wanted, max(maximum, least)))
