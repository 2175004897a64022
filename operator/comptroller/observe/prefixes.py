"""What the routers have counted of prompts that begin alike."""

from __future__ import annotations

import math
from collections.abc import Iterable

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.economics.prompt_cache import FEWEST_GAPS, Gaps
from comptroller.observe.measurements import Measurements, find

KINDS = ("cached_input", "cache_write_5m", "cache_write_1h")
"""Tokens of prefixes: those that were found, and those that were written."""


def prefix_gaps(measured: Measurements, policy: str, route: str) -> Gaps | None:
    """The times between requests of one prefix, over the last hours; None while there are too few."""
    if isinstance(measured.prefix_gaps, Unknown):
        return None
    bounds = sorted(
        (float(key[2]), one.value)
        for key, one in measured.prefix_gaps.items()
        if key[:2] == (policy, route) and isinstance(one, Sample)
    )
    if not bounds or bounds[-1][0] != math.inf or bounds[-1][1] < FEWEST_GAPS:
        return None
    known = bounds[:-1]
    return Gaps(tuple(bound for bound, _ in known), tuple(count for _, count in known), bounds[-1][1])


def routers_counted(measured: Measurements, policy: str, route: str) -> float:
    """How many router processes saw a part of the arrivals each; 1 where that is not known."""
    found = find(measured.routers, (policy, route), "none")
    return max(1.0, found.value) if isinstance(found, Sample) else 1.0


def prefix_ratio(measured: Measurements, policy: str, route: str, pools: Iterable[str]) -> float | None:
    """The share of the prompt that is a shared prefix: what pools that tell both have found or written of it. None
    before they have answered."""
    total = parts = 0.0
    for pool in pools:
        prompt = find(measured.prefix_tokens, (pool, policy, route, "input"), "none")
        if isinstance(prompt, Unknown):
            continue
        total += prompt.value
        for kind in KINDS:
            one = find(measured.prefix_tokens, (pool, policy, route, kind), "none")
            parts += one.value if isinstance(one, Sample) else 0.0
    return min(1.0, parts / total) if total > 0.0 else None
