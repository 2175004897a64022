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
RECENT_PART = 0.3  # of the last value is that mean: one minute is a noisy measurement
LEVEL_FLOOR = 0.1  # of a route's mean: below it, levels are alike
SMALLEST_REQUESTS_PER_SECOND = 1e-6


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen at some moments: each [moment, route], requests/s, NaN where unknown."""

    level: Floats  # now
    recent: Floats  # mean of the minutes before
    yesterday: Floats  # what was asked a day before the time ahead

    def last_value(self) -> Floats:
        """What changes are counted from, and what is forecast when nothing is known to change.

        20 requests/s now and 10 in the mean of the last minutes: 0.7 * 20 + 0.3 * 10 = 17.
        """
        recent = np.where(np.isnan(self.recent), self.level, self.recent)
        return (1.0 - RECENT_PART) * self.level + RECENT_PART * recent

    def states(self) -> tuple[Floats, Floats, Floats]:
        return self.level, self.recent, self.yesterday


@dataclass(frozen=True, slots=True)
class Sorted:
    """The origins of each route by the change that followed, the least first."""

    minutes: Minutes  # [origin], in order of time
    order: Minutes  # [route, place]: which origin is at this place
    rank: Minutes  # [route, origin]: at which place this origin is
    change: Floats  # [route, place]: requests/s that came more than there were
    known: NDArray[np.bool_]  # [route, place]
    states: NDArray[np.float32]  # [state, route, place]: log of what was seen
    floor: Floats  # [route]: requests/s that are added before the logarithm

    def of(self, rows: Minutes) -> Sorted:
        """The same for some routes."""
        if rows.size == self.floor.size and (rows == np.arange(rows.size)).all():
            return self
        return Sorted(
            self.minutes,
            *(self.order[rows], self.rank[rows], self.change[rows], self.known[rows]),
            *(self.states[:, rows], self.floor[rows]),
        )

    def logarithms(self, seen: Seen) -> NDArray[np.float32]:
        """The states of the first of the moments as they are compared: [state, route]."""
        result: NDArray[np.float32] = np.log(np.array([one[0] for one in seen.states()]) + self.floor).astype(
            np.float32
        )
        return result

    def demands(self, seen: Seen) -> Floats:
        """What is asked if the changes of the past follow the first of the moments: sorted, [route, place]."""
        result: Floats = np.maximum(seen.last_value()[0][:, None] + self.change, 0.0)
        return result


@dataclass(slots=True)
class Origins:
    """The origins of the last three days for one lead and span, kept up with the log."""

    lead_minutes: int
    span_minutes: int
    routes: tuple[str, ...] = ()
    minutes: Minutes = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    figures: NDArray[np.float32] = field(default_factory=lambda: np.zeros((4, 0, 0), dtype=np.float32))
    """[level, recent, yesterday, came], [origin, route]: requests/s."""
    _revision: int = -1

    @property
    def ahead_minutes(self) -> int:
        """From an origin until what came is known."""
        return self.lead_minutes + self.span_minutes

    def keep_up(self, log: DemandLog) -> int:
        """Takes in what has become known since the last time. Returns how many origins are new."""
        if log.newest_minute is None:
            return 0
        if log.revision != self._revision:
            self.routes, self._revision = log.routes, log.revision
            self.minutes, self.figures = self.minutes[:0], np.zeros((4, 0, len(self.routes)), dtype=np.float32)
        elif log.routes != self.routes:
            self._widen(log.routes)
        # the newest minute is still being measured
        last = (log.newest_minute - 1 - self.ahead_minutes) // STEP_MINUTES
        after = int(self.minutes[-1]) // STEP_MINUTES + 1 if self.minutes.size else 0
        new = np.arange(max(last - KEPT_ORIGINS + 1, after), last + 1, dtype=np.int64) * STEP_MINUTES
        if new.size == 0:
            return 0
        came = log.means(new + self.lead_minutes + 1, self.span_minutes, log.columns(self.routes))
        found = np.array([*self.seen(log, new, self.routes).states(), came], dtype=np.float32)
        self.minutes = np.concatenate([self.minutes, new])[-KEPT_ORIGINS:]
        self.figures = np.concatenate([self.figures, found], axis=1)[:, -KEPT_ORIGINS:]
        return int(new.size)

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

    def at(self, place: int) -> tuple[Seen, Floats]:
        """What was seen at an origin, and what came: [route]."""
        level, recent, yesterday, came = self.figures[:, place].astype(np.float64)
        return Seen(level[None], recent[None], yesterday[None]), came

    def by_change(self) -> Sorted:
        """The origins sorted for each route. A sort of all routes: once per new origin."""
        level, recent, yesterday, came = (one.T.astype(np.float64) for one in self.figures)
        change = came - Seen(level, recent, yesterday).last_value()
        known = ~np.isnan(change)
        scale = np.where(known, level, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        change = np.where(known, change, 0.0)
        order = np.argsort(change + 1e-6 * scale[:, None] * self._shuffle(), axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(self.minutes.size)[None, :], axis=1)
        floor = LEVEL_FLOOR * scale + SMALLEST_REQUESTS_PER_SECOND
        logarithms = (np.log((one + floor[:, None]).astype(np.float32)) for one in (level, recent, yesterday))
        return Sorted(
            minutes=self.minutes,
            order=order,
            rank=rank,
            change=np.take_along_axis(change, order, axis=1),
            known=np.take_along_axis(known, order, axis=1),
            states=np.array([np.take_along_axis(one, order, axis=1) for one in logarithms]),
            floor=floor,
        )

    def _widen(self, routes: tuple[str, ...]) -> None:
        """Makes room for routes that are new: of their past nothing is known."""
        wider = np.full((4, self.minutes.size, len(routes)), np.nan, dtype=np.float32)
        place = {route: column for column, route in enumerate(routes)}
        wider[:, :, [place[route] for route in self.routes]] = self.figures
        self.routes, self.figures = routes, wider

    def _shuffle(self) -> Floats:
        """A number in [0, 1) for each route and origin, by name and minute alone: it breaks ties between equal changes.

        Two idle routes have many equal changes; in order of time their ranks would look like correlation.
        """
        names = np.array([zlib.crc32(route.encode()) for route in self.routes], dtype=np.uint32)
        mixed = names[:, None] + self.minutes.astype(np.uint32)[None, :] * np.uint32(2654435761)  # wraps around
        mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(2246822519)
        shuffled: Floats = (mixed ^ (mixed >> np.uint32(13))).astype(np.float64) / 2.0**32
        return shuffled
