"""The processor time of one decision."""

from __future__ import annotations

import time

from comptroller.allocation import batching, capacity, cases
from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import Snapshot

TICK_SECONDS = 15.0


def timed(world: Snapshot) -> tuple[Decision, float]:
    """A decision and its processor milliseconds."""
    begun = time.process_time()
    decision = decide(world)
    return decision, 1000.0 * (time.process_time() - begun)


def forget() -> None:
    """Making the fleet has asked for capacities: the first decision must not find them."""
    for module in (batching, capacity, cases):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
