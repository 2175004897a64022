"""Ways to tell the demand ahead from what is seen now: the last value, and likenesses to moments of the past.

Each gives every origin of a route a weight. The demand ahead is then distributed as the level now plus the changes that
followed those origins, with their weights. The last value weighs by age alone: whatever the level is now, any change of
the last days may follow. The others also ask how alike the origin was to now: a route at its peak falls like it fell
from former peaks, and a job that runs every night is expected when it began yesterday.

The score is the continuous ranked probability score (twice the pinball loss, averaged over all quantiles), in
requests/s: for a forecast that is one number, its absolute error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comptroller.learning.demand_log import DAY_MINUTES, Floats
from comptroller.learning.demand_origins import Sorted

RECENCY_MINUTES = 1.0 * DAY_MINUTES  # an origin that is older by this weighs e times less
TIME_OF_DAY_MINUTES = 180.0  # spread of the likeness of times of day
MIXED_RATIO = 0.2
"""Share of the weight that is given by age alone: what never followed such a moment may still come."""

LEAST_LIKENESS = 1e-6  # of all weight by age: with less, age alone decides
UNKNOWN_DISTANCE = 1.0  # squared, in spreads: a state that is not known is neither near nor far


@dataclass(frozen=True, slots=True)
class Method:
    """A likeness: for level, recent and yesterday the spread of the logarithm within which moments are alike.

    Levels of 10 and 15 requests/s are a spread of 0.4 apart: exp(0.4) = 1.5; such an origin weighs exp(-1/2) = 0.6.
    """

    name: str
    spreads: tuple[float, float, float] = (0.0, 0.0, 0.0)  # 0: this state does not matter
    time_of_day: bool = False


LAST_VALUE = Method("lastValue")
METHODS = (
    LAST_VALUE,
    Method("timeOfDay", (0.4, 0.0, 0.0), time_of_day=True),
    Method("yesterday", (0.4, 0.5, 0.8), time_of_day=True),
)


def weights(
    past: Sorted, at_minute: int, known_until_minute: int, states: NDArray[np.float32], method: Method
) -> NDArray[np.float32]:
    """The weight of each origin, summing to 1 for each route (all 0 where nothing is known): [route, place].

    `states` are those of now as `Sorted.logarithms` gives them. Origins later than `known_until_minute` are not used.
    """
    age = np.exp((past.minutes - past.minutes[-1]) / RECENCY_MINUTES) * (past.minutes <= known_until_minute)
    by_age: NDArray[np.float32] = age.astype(np.float32)[past.order] * past.known
    by_age /= np.maximum(by_age.sum(axis=1, keepdims=True), np.float32(1e-30))
    if not any(method.spreads) and not method.time_of_day:
        return by_age
    distance = np.zeros(past.order.shape, dtype=np.float32)
    if method.time_of_day:
        apart = (past.minutes - at_minute + DAY_MINUTES // 2) % DAY_MINUTES - DAY_MINUTES // 2
        distance = ((apart / TIME_OF_DAY_MINUTES) ** 2).astype(np.float32)[past.order]
    for state, (spread, now) in enumerate(zip(method.spreads, states, strict=True)):
        if spread:
            distances = (past.states[state] - now[:, None]) / np.float32(spread)
            distances *= distances
            distance += np.where(np.isnan(distances), np.float32(UNKNOWN_DISTANCE), distances)
    alike: NDArray[np.float32] = by_age * np.exp(np.float32(-0.5) * distance)
    total = alike.sum(axis=1, keepdims=True)
    # where nothing is alike, dividing by next to nothing would make one origin certain
    alike *= np.float32(1.0 - MIXED_RATIO) / np.maximum(total, np.float32(LEAST_LIKENESS))
    alike += by_age * (1.0 - alike.sum(axis=1, keepdims=True))
    return alike


def score(demands: Floats, weight: NDArray[np.floating], came: Floats) -> Floats:
    """The continuous ranked probability score of each route in requests/s; 0 for a certain forecast that came true.

    `demands` are sorted: [route, place]. For 10 and 20 requests/s, each with one half, and 20 that came: the mean
    distance 5 less half the mean distance of two draws (2.5) is 2.5.
    """
    below = np.cumsum(weight, axis=1, dtype=np.float64)[:, :-1]
    spread = np.sum(below * (1.0 - below) * np.diff(demands, axis=1), axis=1)
    result: Floats = np.sum(weight * np.abs(demands - came[:, None]), axis=1) - spread
    return result
