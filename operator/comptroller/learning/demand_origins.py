"""Moments of the past from which the demand ahead is known by now: what was seen then, and what came.

The demand ahead is the mean over the span that begins one lead later: with a lead of 4 minutes and a span of 10, what
was seen at 12:00 is held against the mean of 12:04 to 12:14. A measurement that is dated 12:05 tells of the minute that
ended then.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from comptroller.learning.demand_log import DAY_MINUTES, DemandLog, Floats, Minutes

STEP_MINUTES = 7
"""Between origins. It divides neither the hour nor the day, so that jobs of a fixed minute are seen at every phase."""

KEPT_ORIGINS = 3 * DAY_MINUTES // STEP_MINUTES
RECENT_MINUTES = 10  # over which the level before is averaged: it tells a level that holds from one that has just come
RECENCY_DAYS = 2.0  # an origin two days older weighs e times less
HOUR_OF_DAY_MINUTES = 240.0  # spread of the likeness of times of day
LEVEL_FLOOR = 0.1  # of a route's mean: below it, levels are alike
SMALLEST_REQUESTS_PER_SECOND = 1e-6

STATES = 3
"""What describes a moment: the level now, the mean of the minutes before, and yesterday's level at the time ahead."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen at some moments: [moment, route], requests/s, NaN where unknown."""

    level: Floats
    recent: Floats
    yesterday: Floats

    def states(self) -> tuple[Floats, Floats, Floats]:
        return self.level, self.recent, self.yesterday


@dataclass(slots=True)
class Sorted:
    """The origins of each route by its change, the smallest first: [route, place]."""

    change: Floats  # requests/s that came more than there were
    states: NDArray[np.float32]  # [state, route, place]: log of level + floor
    known: NDArray[np.bool_]
    recency: NDArray[np.float32]  # log of the weight by age
    hour: NDArray[np.float32]  # squared distance in time of day
    minute: Minutes
    rank: Minutes  # [route, origin]: the place of each origin, in order of time
    floor: Floats  # [route]

    def of(self, rows: Minutes) -> Sorted:
        """The same for some routes."""
        if rows.size == self.floor.size and (rows == np.arange(rows.size)).all():
            return self
        return Sorted(
            *(self.change[rows], self.states[:, rows], self.known[rows], self.recency[rows], self.hour[rows]),
            *(self.minute[rows], self.rank[rows], self.floor[rows]),
        )


@dataclass(slots=True)
class Origins:
    """The origins of the last days for one lead and span, kept up with the log."""

    lead_minutes: int
    span_minutes: int
    minutes: Minutes = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    level: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    recent: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    yesterday: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    actual: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    routes: tuple[str, ...] = ()
    _revision: int = -1

    def keep_up(self, log: DemandLog) -> Minutes:
        """Takes in what has become known since the last time. Returns the minutes of the new origins."""
        if log.newest_minute is None:
            return self.minutes[:0]
        if (log.routes, log.revision) != (self.routes, self._revision):
            self.routes, self._revision = log.routes, log.revision
            self.minutes = self.minutes[:0]
            self.level = self.recent = self.yesterday = self.actual = np.zeros((0, len(self.routes)))
        # what was measured in a minute tells of the minute before; the newest one is still being measured
        last = (log.newest_minute - 1 - self.lead_minutes - self.span_minutes) // STEP_MINUTES
        first = max(last - KEPT_ORIGINS + 1, int(self.minutes[-1]) // STEP_MINUTES + 1 if self.minutes.size else 0)
        new = np.arange(first, last + 1, dtype=np.int64) * STEP_MINUTES
        if new.size == 0:
            return new
        seen = self.seen(log, new, self.routes)
        came = log.means(new + self.lead_minutes + 1, self.span_minutes, log.columns(self.routes))
        self.minutes = np.concatenate([self.minutes, new])[-KEPT_ORIGINS:]
        self.level, self.recent, self.yesterday, self.actual = (
            np.concatenate([old, more])[-KEPT_ORIGINS:]
            for old, more in zip(
                (self.level, self.recent, self.yesterday, self.actual), (*seen.states(), came), strict=True
            )
        )
        return new

    def seen(self, log: DemandLog, minutes: Minutes, routes: tuple[str, ...]) -> Seen:
        """What was known at those minutes."""
        columns = log.columns(routes)
        around = self.span_minutes + RECENT_MINUTES
        ahead = self.lead_minutes + 1 + self.span_minutes // 2 - around // 2 - DAY_MINUTES
        return Seen(
            level=log.means(minutes, 1, columns),
            recent=log.means(minutes - RECENT_MINUTES + 1, RECENT_MINUTES, columns),
            yesterday=log.means(minutes + ahead, around, columns),
        )

    def by_change(self, now_minute: int) -> Sorted:
        """The origins sorted for each route, with what their weights need. Costs a sort: once per new origin."""
        change = (self.actual - self.level).T
        known = ~np.isnan(change)
        scale = _mean(self.level.T, known)
        change = np.where(known, change, 0.0)
        order = np.argsort(change + 1e-6 * scale[:, None] * self._shuffle(), axis=1, kind="stable")
        floor = LEVEL_FLOOR * scale + SMALLEST_REQUESTS_PER_SECOND
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(self.minutes.size)[None, :], axis=1)
        states = [
            np.take_along_axis(np.log(one.T + floor[:, None]), order, axis=1)
            for one in (self.level, self.recent, self.yesterday)
        ]
        minute = self.minutes[order]
        apart = (minute - now_minute + DAY_MINUTES // 2) % DAY_MINUTES - DAY_MINUTES // 2
        return Sorted(
            change=np.take_along_axis(change, order, axis=1),
            states=np.array(states, dtype=np.float32),
            known=np.take_along_axis(known, order, axis=1),
            recency=((minute - now_minute) / (RECENCY_DAYS * DAY_MINUTES)).astype(np.float32),
            hour=((apart / HOUR_OF_DAY_MINUTES) ** 2).astype(np.float32),
            minute=minute,
            rank=rank,
            floor=floor,
        )

    def _shuffle(self) -> Floats:
        """A number in [0, 1) for each route and origin, by name and minute alone: it breaks ties between equal changes.

        Two idle routes have many equal changes; in order of time their ranks would look like correlation.
        """
        names = np.array([zlib.crc32(route.encode()) for route in self.routes], dtype=np.uint32)
        mixed = names[:, None] + self.minutes.astype(np.uint32)[None, :] * np.uint32(2654435761)  # wraps around
        mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(2246822519)
        shuffled: Floats = (mixed ^ (mixed >> np.uint32(13))).astype(np.float64) / 2.0**32
        return shuffled


def _mean(values: Floats, known: NDArray[np.bool_]) -> Floats:
    total: Floats = np.where(known, values, 0.0).sum(axis=1)
    result: Floats = total / np.maximum(known.sum(axis=1), 1)
    return result
