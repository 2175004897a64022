"""Recorded demand of one's own routes: `window_start, policy, route, requests_per_second, ..._tokens, cached_ratio`.

The clients of the trace are the routes, by policy. Windows without a row had no traffic; arrivals within a window are
drawn as Poisson, for a mean rate says nothing of its bursts.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from itertools import pairwise

import numpy as np

from comptroller.learning.demand_record import COLUMNS as FIELDS
from comptroller.learning.demand_record import RouteWindow, from_csv
from comptroller.sim.trace import DAY_SECONDS, ClientTrace, Trace, TraceError

COLUMNS = frozenset(FIELDS[:-1])
USUAL_WINDOW_SECONDS = 300.0


def parse(text: str) -> Trace:
    """Day 0 is the day of the first window. Raises `TraceError` for a line that cannot be read."""
    try:
        rows = from_csv(text)
    except ValueError as error:
        raise TraceError(str(error)) from error
    if not rows:
        raise TraceError("there is no row in it")
    return trace_of(rows)


def trace_of(rows: list[RouteWindow]) -> Trace:
    """The trace of recorded windows, of which there is at least one."""
    starts = sorted({one.start_seconds for one in rows})
    first = starts[0]
    window = min((b - a for a, b in pairwise(starts)), default=USUAL_WINDOW_SECONDS)
    windows = round((starts[-1] - first) / window) + 1
    by_route: dict[tuple[str, str], list[RouteWindow]] = defaultdict(list)
    for one in rows:
        by_route[one.policy, one.route].append(one)
    clients = tuple(_client(key, found, first, window, windows) for key, found in sorted(by_route.items()))
    return Trace("recorded routes", first % DAY_SECONDS, window, windows, clients, {})


def _client(key: tuple[str, str], rows: list[RouteWindow], first: float, window: float, windows: int) -> ClientTrace:
    rates = np.zeros(windows)
    for one in rows:
        rates[round((one.start_seconds - first) / window)] = one.requests_per_second
    last = rows[-1]
    poisson, families = np.full(windows, np.nan), np.zeros(windows, dtype=np.int8)
    reuse = partial(_cached, last.cached_ratio)
    return ClientTrace(key[0], key[1], rates, poisson, families, last.input_tokens, last.output_tokens, reuse)


def _cached(ratio: float, lifetime_seconds: float, share: float) -> float:
    """As recorded, wherever it goes: how a longer life or another share would change it is not known."""
    return ratio if lifetime_seconds > 0.0 and share > 0.0 else 0.0
