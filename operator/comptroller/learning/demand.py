"""Learns the demand of routes: keeps their log, finds for each what tells most about the next minutes, and says what
the whole fleet may be asked when a replica that starts now serves.

Pure and deterministic: time is an argument, and the order in which routes are named does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from comptroller.allocation.measured import ABSURD_REQUESTS_PER_SECOND
from comptroller.allocation.snapshot import Outlook
from comptroller.learning.demand_log import DemandLog, Floats, Minutes, Rate
from comptroller.learning.demand_methods import weights
from comptroller.learning.demand_origins import Origins, Seen, Sorted
from comptroller.learning.demand_scenarios import joint_scenarios

FEWEST_ORIGINS = 30
LONGEST_MINUTES = 240  # of lead and of span
KEPT_TIMES = 3  # pairs of lead and span that are kept up at once


class DemandLearner:
    """The demand log, and what it says about the minutes ahead."""

    def __init__(self, log: DemandLog | None = None) -> None:
        self.log = log or DemandLog()
        self._learned: dict[tuple[int, int], _Learned] = {}

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
        routes = tuple(
            sorted(key for key, rate in now.items() if math.isfinite(rate) and 0 <= rate <= ABSURD_REQUESTS_PER_SECOND)
        )
        if not math.isfinite(at_seconds) or count < 1 or self.log.newest_minute is None:
            return Outlook()
        learned = self._learn(_minutes(lead_seconds, 0), _minutes(span_seconds, 1))
        past = learned.past
        if past is None:
            return Outlook()
        place = {route: row for row, route in enumerate(learned.origins.routes)}
        known = past.known.sum(axis=1)
        routes = tuple(one for one in routes if one in place and known[place[one]] >= FEWEST_ORIGINS)
        if not routes:
            return Outlook()
        rows = np.array([place[one] for one in routes])
        level = np.array([now[one] for one in routes])
        seen = learned.origins.seen(self.log, np.array([int(at_seconds // 60)]), routes)
        chosen = learned.chosen(rows)
        demands, weight = learned.distribution(past, rows, Seen(level[None], seen.recent, seen.yesterday), chosen)
        value = np.array([_worth(worth, one) for one in routes])
        found = joint_scenarios(demands, weight, past.rank[rows], value, count)
        return Outlook(
            probabilities=(1.0 / count,) * count,
            requests_per_second={one: tuple(row.tolist()) for one, row in zip(routes, found, strict=True)},
        )

    def _learn(self, lead_minutes: int, span_minutes: int) -> _Learned:
        """What was learned for this lead and span, kept up with the log. The least used one is forgotten."""
        key = (lead_minutes, span_minutes)
        learned = self._learned.pop(key, None) or _Learned(Origins(lead_minutes, span_minutes))
        self._learned[key] = learned
        while len(self._learned) > KEPT_TIMES:
            del self._learned[next(iter(self._learned))]
        learned.keep_up(self.log)
        return learned


@dataclass(slots=True)
class _Learned:
    """For one lead and span: the origins, sorted, and the method of each route."""

    origins: Origins
    past: Sorted | None = None

    def keep_up(self, log: DemandLog) -> None:
        """Takes in what the log knows more than last time."""
        new = self.origins.keep_up(log)
        if new.size == 0:
            return
        self.past = self.origins.by_change(int(new[-1]) + self.origins.lead_minutes + self.origins.span_minutes)

    def chosen(self, rows: Minutes) -> Minutes:
        """The method of each route, as its place in `METHODS`."""
        return np.full(rows.size, 3, dtype=np.int64)

    def distribution(self, past: Sorted, rows: Minutes, seen: Seen, methods: Minutes) -> tuple[Floats, Floats]:
        """What may be asked, sorted, and how likely it is: both [route, place], for the routes of these rows."""
        states = np.array([np.log(one[0] + past.floor[rows]) for one in seen.states()], dtype=np.float32)
        part = past.of(rows)
        weight = weights(part, states, methods, np.ones(part.known.shape, dtype=np.bool_))
        return np.maximum(seen.level[0][:, None] + part.change, 0.0), weight


def _minutes(seconds: float, least: int) -> int:
    return min(max(round(seconds / 60), least), LONGEST_MINUTES) if math.isfinite(seconds) else least


def _worth(worth: Mapping[str, float] | None, route: str) -> float:
    value = 1.0 if worth is None else worth.get(route, 0.0)
    return value if math.isfinite(value) and value > 0 else 0.0
