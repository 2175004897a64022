"""Learns the demand of routes: keeps their log, finds for each what tells most about the next minutes, and says what
the whole fleet may be asked when a replica that starts now serves.

Pure and deterministic: time is an argument, and the order in which routes are named does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from comptroller.allocation.measured import ABSURD_REQUESTS_PER_SECOND
from comptroller.allocation.snapshot import Outlook
from comptroller.learning.demand_log import DemandLog, Rate, possible
from comptroller.learning.demand_methods import METHODS, Method
from comptroller.learning.demand_origins import Origins, Seen
from comptroller.learning.demand_scenarios import joint_scenarios
from comptroller.learning.demand_skill import FEWEST_ORIGINS, Learned, Skill

LONGEST_MINUTES = 240  # of lead and of span
KEPT_TIMES = 3  # pairs of lead and span that are kept up at once
MOST_SCENARIOS = 64
SMALLEST_WORTH = 1e-300


class DemandLearner:
    """The demand log, and what it says about the minutes ahead.

    `methods` are the ways to forecast, of which each route's own log chooses; the first is used until another beats it.
    """

    def __init__(self, log: DemandLog | None = None, methods: tuple[Method, ...] = METHODS) -> None:
        self.log = log or DemandLog()
        self._methods = methods
        self._learned: dict[tuple[int, int], Learned] = {}  # the newest use last

    def record(self, at_seconds: float, rates: Mapping[str, Rate]) -> None:
        """Takes in what was measured now: requests/s by route. See `DemandLog.record`."""
        self.log.record(at_seconds, rates)

    def load_history(
        self,
        history: Mapping[str, Iterable[tuple[float, float]]],
        step_seconds: float = 60.0,
        until_seconds: float | None = None,
    ) -> None:
        """Takes in samples of the past. See `DemandLog.load_history`."""
        self.log.load_history(history, step_seconds, until_seconds)

    def outlook(
        self,
        at_seconds: float,
        now: Mapping[str, float],
        lead_seconds: float,
        span_seconds: float,
        count: int = 8,
        worth: Mapping[str, float] | None = None,
    ) -> Outlook:
        """Joint scenarios of the mean demand between now + lead and now + lead + span, equally likely.

        `now` is requests/s by route. `worth` weighs routes in the total that the scenarios shall represent, such as
        GPUs per request/s. A route with fewer than some tens of origins is left out; empty when no route has enough.
        """
        if not possible(at_seconds) or count < 1 or self.log.newest_minute is None:
            return Outlook()
        count = min(count, MOST_SCENARIOS)
        learned = self._learn(_minutes(lead_seconds, 0), _minutes(span_seconds, 1))
        if learned.past is None:
            return Outlook()
        known = learned.past.known.sum(axis=1)
        rows = [
            row
            for row, route in enumerate(learned.origins.routes)
            if known[row] >= FEWEST_ORIGINS and 0.0 <= now.get(route, math.nan) <= ABSURD_REQUESTS_PER_SECOND
        ]
        if not rows:
            return Outlook()
        routes = tuple(learned.origins.routes[row] for row in rows)
        minute, places = int(at_seconds // 60), np.array(rows)
        seen = learned.origins.seen(self.log, np.array([minute]), routes)
        level = np.array([[float(now[route]) for route in routes]])
        demands, weight = learned.distribution(minute, places, Seen(level, seen.recent, seen.yesterday))
        values = np.array([_worth(worth, route) for route in routes])
        values = values / max(values.max(), SMALLEST_WORTH)  # only ratios count
        found = joint_scenarios(demands, weight, learned.past.rank[places], values, count)
        return Outlook(
            probabilities=(1.0 / count,) * count,
            requests_per_second={route: tuple(row.tolist()) for route, row in zip(routes, found, strict=True)},
        )

    def skills(self) -> dict[str, Skill]:
        """How each route was forecast by the newest outlook."""
        if not self._learned:
            return {}
        learned = next(reversed(self._learned.values()))
        return learned.told() if learned.past is not None else {}

    def _learn(self, lead_minutes: int, span_minutes: int) -> Learned:
        """What is learned for this lead and span, kept up with the log. What was not used for longest is forgotten."""
        key = (lead_minutes, span_minutes)
        learned = self._learned.pop(key, None) or Learned(Origins(lead_minutes, span_minutes), self._methods)
        self._learned[key] = learned
        while len(self._learned) > KEPT_TIMES:
            del self._learned[next(iter(self._learned))]
        learned.keep_up(self.log)
        return learned


def _minutes(seconds: float, least: int) -> int:
    return min(max(round(seconds / 60), least), LONGEST_MINUTES) if math.isfinite(seconds) else least


def _worth(worth: Mapping[str, float] | None, route: str) -> float:
    value = 1.0 if worth is None else worth.get(route, 0.0)
    return value if math.isfinite(value) and value > 0 else 0.0
