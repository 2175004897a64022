"""What the last hours looked like: demand, spill and spending, one point a minute, in memory that does not grow."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from comptroller.runtime.state import Picture

MINUTE_SECONDS = 60.0
MOST_POINTS = 12 * 60


@dataclass(frozen=True, slots=True)
class Point:
    """One round, or the newest one of a minute. Rates in requests per second, None while a demand is unknown;
    `usd_per_hour` is predicted, marginal basis."""

    at_seconds: float
    inside: float | None
    spilled: float | None
    unanswered: float | None
    usd_per_hour: float


@dataclass(slots=True)
class Hours:
    """The newest points, oldest first."""

    points: deque[Point] = field(default_factory=lambda: deque(maxlen=MOST_POINTS))

    def record(self, picture: Picture) -> None:
        """Takes in a round; it takes the place of the one before it where both are of one minute."""
        made = point_of(picture)
        minute = made.at_seconds // MINUTE_SECONDS
        if self.points and self.points[-1].at_seconds // MINUTE_SECONDS == minute:
            self.points.pop()
        self.points.append(made)

    def all(self) -> Sequence[Point]:
        """All points, oldest first."""
        return tuple(self.points)


def point_of(picture: Picture) -> Point:
    """The whole fleet in a round, by plan. One demand that is unknown makes the sum unknown."""
    inside = spilled = unanswered = 0.0
    known = True
    for plan in picture.decision.routes.values():
        if (rate := plan.requests_per_second) is None:
            known = False
            continue
        spilled += rate * plan.spill_ratio
        unanswered += rate * plan.shed_ratio
        inside += rate * max(0.0, 1.0 - plan.spill_ratio - plan.shed_ratio)
    at, usd = picture.at_seconds, picture.decision.usd_per_hour
    return Point(at, inside, spilled, unanswered, usd) if known else Point(at, None, None, None, usd)
