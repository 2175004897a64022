"""How long a replica takes to start: the newest starts of a pool, and their robust mean.

A start lasts from the replica's creation to the first time it took traffic. Of each replica the shortest time that was
ever seen counts: one that lost its readiness for a moment, hours later, has not been starting since its creation.

Worked: starts of 118, 120, 125 and 610 seconds (a node that pulled the image first) have the median 122.5; no start
counts for more than twice the median, so the mean is (118 + 120 + 125 + 245) / 4 = 152 seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

REMEMBERED_STARTS: Final = 8
MOST_OF_MEDIAN: Final = 2.0
LONGEST_SECONDS: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Starts:
    """The newest starts of a pool: (the replica's uid, seconds), oldest first. It outlives the replicas."""

    known: tuple[tuple[str, float], ...] = ()

    @property
    def mean_seconds(self) -> float | None:
        """The mean, in which no start counts for more than twice or less than half the median; None without starts."""
        if not self.known:
            return None
        middle = median(seconds for _, seconds in self.known)
        lowest, highest = middle / MOST_OF_MEDIAN, middle * MOST_OF_MEDIAN
        return fmean(min(highest, max(lowest, seconds)) for _, seconds in self.known)


def after(starts: Starts, ready: Mapping[str, float]) -> Starts:
    """What is known once these replicas (uid -> seconds from creation to ready, oldest first) were seen.

    Times that no start can have taken are left out.
    """
    known = dict(starts.known)
    for uid, seconds in ready.items():
        if math.isfinite(seconds) and 0.0 <= seconds <= LONGEST_SECONDS:
            known[uid] = min(seconds, known.get(uid, seconds))
    return Starts(tuple(known.items())[-REMEMBERED_STARTS:])
