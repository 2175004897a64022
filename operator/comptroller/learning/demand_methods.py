"""Ways to tell the demand ahead from what is seen now: the last value, and likenesses to moments of the past.

Each gives every origin of a route a weight. The demand ahead is then distributed as the level now plus the changes that
followed those origins, with their weights. The last value weighs by age alone: whatever the level is now, any change of
the last days may follow. The others also ask how alike the origin was to now: a route at its peak falls like it fell
from former peaks, and a job that runs every night is expected when it began yesterday.

The score is the continuous ranked probability score (mean pinball loss over all quantiles, times two), in requests/s:
for a forecast that is one number, its absolute error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comptroller.learning.demand_log import Floats
from comptroller.learning.demand_origins import Sorted

MIXED_RATIO = 0.1
"""Share of the weight that is given by age alone: what never followed such a moment may still come."""

UNKNOWN_DISTANCE = 1.0  # squared, in spreads: a state that is not known is neither near nor far


@dataclass(frozen=True, slots=True)
class Method:
    """A likeness: for level, recent and yesterday the spread of the logarithm within which moments are alike."""

    name: str
    spreads: tuple[float, float, float]  # 0: this state does not matter
    hour: bool  # whether times of day matter


LAST_VALUE = Method("lastValue", (0.0, 0.0, 0.0), hour=False)
METHODS = (
    LAST_VALUE,
    Method("level", (0.5, 0.0, 0.0), hour=False),
    Method("timeOfDay", (0.5, 0.0, 0.0), hour=True),
    Method("yesterday", (0.5, 0.5, 1.0), hour=True),
)


def weights(past: Sorted, states: NDArray[np.float32], methods: NDArray[np.int64], alive: NDArray[np.bool_]) -> Floats:
    """The weight of each origin, summing to 1 for each route (or all 0 where nothing is known): [route, place].

    `states` are the logarithms of now, [state, route]; `methods` chooses for each route from `METHODS`; `alive` tells
    which origins may be used.
    """
    narrow = np.array([[1.0 / one if one else 0.0 for one in method.spreads] for method in METHODS], dtype=np.float32)
    hourly = np.array([method.hour for method in METHODS], dtype=np.float32)
    usable = past.known & alive
    by_age = np.where(usable, np.exp(past.recency), 0.0)
    distance = past.hour * hourly[methods][:, None]
    for state in range(states.shape[0]):
        if (spread := narrow[methods, state]).any():
            apart = (past.states[state] - states[state][:, None]) * spread[:, None]
            apart *= apart
            distance += np.where(np.isnan(apart), UNKNOWN_DISTANCE * (spread[:, None] > 0), apart)
    alike = by_age * np.exp(-0.5 * distance)
    whole = by_age.sum(axis=1, keepdims=True)
    # where nothing is alike, dividing by next to nothing would make one origin certain
    alike /= np.maximum(alike.sum(axis=1, keepdims=True), 1e-6 * whole + 1e-30)
    mixed = (1.0 - MIXED_RATIO) * alike + MIXED_RATIO * by_age / np.maximum(whole, 1e-30)
    total = mixed.sum(axis=1, keepdims=True)
    result: Floats = np.where(total > 0.0, mixed / np.maximum(total, 1e-30), 0.0).astype(np.float64)
    return result


def score(demands: Floats, weight: Floats, actual: Floats) -> Floats:
    """The continuous ranked probability score of each route in requests/s, 0 for a certain forecast that came true.

    `demands` are sorted: [route, place]. For 10 and 20 requests/s, each with one half, and 20 that came: the mean
    distance 5 less half the mean distance of two draws (2.5) is 2.5.
    """
    below = np.cumsum(weight, axis=1)[:, :-1]
    spread = np.sum(below * (1.0 - below) * np.diff(demands, axis=1), axis=1)
    result: Floats = np.sum(weight * np.abs(demands - actual[:, None]), axis=1) - spread
    return result
