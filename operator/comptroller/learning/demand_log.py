"""What each route was asked, minute by minute, for the last days. A minute without a measurement is unknown.

Times are seconds since an arbitrary epoch. The clock of a machine may jump and measurements may be garbage: neither
moves what is already known, unless a new time is told twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from comptroller.allocation.measured import ABSURD_REQUESTS_PER_SECOND
from comptroller.allocation.snapshot import Sample, Unknown

Floats: TypeAlias = NDArray[np.float64]
Minutes: TypeAlias = NDArray[np.int64]
Rate: TypeAlias = Sample | Unknown | float | None

DAY_MINUTES = 1440
KEPT_MINUTES = 5 * DAY_MINUTES  # three days of origins, and what was a day before them
MOST_ROUTES = 800
"""500 routes are 14 MB; routes beyond the most are not logged."""

GROWTH = 32  # columns at a time: doubling would hold twice the memory
LARGEST_SECONDS = 1e11  # some 3,000 years: what is beyond is no time
DOUBTFUL_STEP_MINUTES = 60  # a step forward of more than this waits for a second one
BACKWARD_MINUTES = 2  # so does a step back


class DemandLog:
    """One number a minute and route: the mean of the requests/s that were measured within it."""

    def __init__(self, kept_minutes: int = KEPT_MINUTES) -> None:
        self.kept_minutes = kept_minutes
        self.newest_minute: int | None = None
        self.revision = 0  # grows when the past is written anew: what was derived from it is void
        self._columns: dict[str, int] = {}
        self._rates = np.full((kept_minutes, 0), np.nan, dtype=np.float32)
        self._sums: dict[str, tuple[float, int]] = {}  # of the newest minute
        self._doubted_minute: int | None = None

    @property
    def routes(self) -> tuple[str, ...]:
        """All routes that were ever measured and not forgotten since."""
        return tuple(sorted(self._columns))

    @property
    def size_bytes(self) -> int:
        """Memory of the samples."""
        return int(self._rates.nbytes)

    def record(self, at_seconds: float, rates: Mapping[str, Rate]) -> None:
        """Takes in what was measured now. Several measurements within a minute are averaged.

        Unknown, not a number, negative or absurd is not recorded: the minute stays as it is. A time that lies more than
        an hour ahead or two minutes back is believed when the next one agrees with it.
        """
        if not possible(at_seconds):
            return
        minute = int(at_seconds // 60)
        if self._doubtful(minute):
            return
        if self.newest_minute is None or minute > self.newest_minute:
            self._advance(minute)
        elif minute < self.newest_minute - 1:
            self._turn_back(minute)
        for route in sorted(rates):
            value = _believed(rates[route])
            if value is None or (column := self._column(route)) is None:
                continue
            total, count = self._sums.get(route, (0.0, 0))
            self._sums[route] = (total + value, count + 1)
            self._rates[(self.newest_minute or 0) % self.kept_minutes, column] = (total + value) / (count + 1)

    def load_history(
        self,
        history: Mapping[str, Iterable[tuple[float, float]]],
        step_seconds: float = 60.0,
        until_seconds: float | None = None,
    ) -> None:
        """Takes in samples of the past, (seconds, requests/s), as a range query of Prometheus gives them.

        A sample stands for the minutes of the step that ends with it. What was recorded already is kept; what is later
        than `until_seconds`, or than the newest minute of a log that is not empty, is left out.
        """
        read = {route: _samples(history[route]) for route in sorted(history)}
        newest = max((int(minutes.max()) for minutes, _ in read.values() if minutes.size), default=None)
        if newest is None:
            return
        if until_seconds is not None and possible(until_seconds):
            newest = min(newest, int(until_seconds // 60))
        if self.newest_minute is None:
            self._advance(newest)
        newest = newest if self.newest_minute is None else self.newest_minute
        filled = int(min(max(1, round(step_seconds / 60)), 60)) if math.isfinite(step_seconds) else 1
        for route, (minutes, values) in read.items():
            known = (minutes <= newest) & (minutes > newest - self.kept_minutes)
            if known.any() and (column := self._column(route)) is not None:
                self._fill(column, minutes[known], values[known], filled, newest)
        self.revision += 1

    def columns(self, routes: Iterable[str]) -> NDArray[np.int64]:
        """Where the routes are logged; -1 for one that is not."""
        return np.array([self._columns.get(route, -1) for route in routes], dtype=np.int64)

    def means(self, first_minutes: Minutes, length: int, columns: NDArray[np.int64]) -> Floats:
        """Mean requests/s over `length` minutes from each of the first ones: [first minute, column].

        Unknown (NaN) where less than half of those minutes is known.
        """
        result = np.full((first_minutes.size, columns.size), np.nan)
        if self.newest_minute is None or columns.size == 0:
            return result
        there = np.flatnonzero(columns >= 0)
        oldest = self.newest_minute - self.kept_minutes
        for begin in range(0, first_minutes.size, 256):  # in pieces: 500 routes over days would be hundreds of MB
            minutes = first_minutes[begin : begin + 256, None] + np.arange(length)
            kept = (minutes > oldest) & (minutes <= self.newest_minute)
            found = self._rates[np.ix_((minutes % self.kept_minutes).ravel(), columns[there])]
            found = found.reshape(*minutes.shape, there.size)
            known = ~np.isnan(found) & kept[..., None]
            count = known.sum(axis=1)
            total = np.where(known, found, 0.0).sum(axis=1, dtype=np.float64)
            enough = count * 2 >= length
            result[begin : begin + 256, there] = np.where(enough, total / np.maximum(count, 1), np.nan)
        return result

    def _doubtful(self, minute: int) -> bool:
        """Whether this time waits for a second one. One wrong reading of a clock must not wipe out days."""
        if self.newest_minute is None:
            return False
        step = minute - self.newest_minute
        if -BACKWARD_MINUTES < step <= DOUBTFUL_STEP_MINUTES:
            self._doubted_minute = None
            return False
        before, self._doubted_minute = self._doubted_minute, minute
        if before is None or not 0 <= minute - before <= DOUBTFUL_STEP_MINUTES:
            return True
        self._doubted_minute = None
        return False

    def _advance(self, minute: int) -> None:
        """Begins a new minute; those that nobody measured in between are unknown."""
        newest = self.newest_minute
        skipped = self.kept_minutes if newest is None else min(minute - newest, self.kept_minutes)
        self._rates[np.arange(minute - skipped + 1, minute + 1) % self.kept_minutes] = np.nan
        self.newest_minute = minute
        self._sums = {}

    def _turn_back(self, minute: int) -> None:
        """The clock was ahead: what it dated later than now is not known to be true."""
        ahead = min((self.newest_minute or minute) - minute + 1, self.kept_minutes)
        self._rates[np.arange(minute, minute + ahead) % self.kept_minutes] = np.nan
        self.newest_minute = minute
        self._sums = {}
        self.revision += 1

    def _fill(self, column: int, minutes: Minutes, values: Floats, filled: int, newest: int) -> None:
        """Writes samples into the minutes that are still unknown, the mean of those that fall into one minute."""
        window = np.arange(newest - self.kept_minutes + 1, newest + 1)
        place = minutes - window[0]
        count = np.bincount(place, minlength=window.size)
        mean = np.bincount(place, weights=values, minlength=window.size) / np.maximum(count, 1)
        found = np.where(count > 0, mean, np.nan)
        for back in range(1, filled):
            earlier = np.where(count > 0, mean, np.nan)[back:]
            found[:-back] = np.where(np.isnan(found[:-back]), earlier, found[:-back])
        before = self._rates[window % self.kept_minutes, column]
        self._rates[window % self.kept_minutes, column] = np.where(np.isnan(before), found, before)

    def _column(self, route: str) -> int | None:
        """The column of a route, a new one for a new route; None when there is no room."""
        if (known := self._columns.get(route)) is not None:
            return known
        if len(self._columns) == self._rates.shape[1] and not self._forget_silent():
            if self._rates.shape[1] >= MOST_ROUTES:
                return None
            more = np.full((self.kept_minutes, GROWTH), np.nan, dtype=np.float32)
            self._rates = np.concatenate([self._rates, more], axis=1)
        free = set(range(self._rates.shape[1])) - set(self._columns.values())
        column = self._columns[route] = min(free)
        return column

    def _forget_silent(self) -> bool:
        """Frees the columns of routes that nothing is known of for so long."""
        dead: NDArray[np.bool_] = np.all(np.isnan(self._rates), axis=0)
        gone = [route for route, column in self._columns.items() if dead[column]]
        for route in gone:
            del self._columns[route]
        self.revision += bool(gone)
        return bool(gone)


def possible(seconds: float) -> bool:
    """Whether this can be a time."""
    return math.isfinite(seconds) and 0.0 <= seconds <= LARGEST_SECONDS


def _believed(rate: Rate) -> float | None:
    """The number if it can be requests/s."""
    if rate is None or isinstance(rate, Unknown):
        return None
    try:
        value = float(rate.value if isinstance(rate, Sample) else rate)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and 0.0 <= value <= ABSURD_REQUESTS_PER_SECOND else None


def _samples(rows: Iterable[tuple[float, float]]) -> tuple[Minutes, Floats]:
    """Minutes and rates of the samples that can be true."""
    pairs = np.array(list(rows), dtype=np.float64).reshape(-1, 2)
    seconds, values = pairs[:, 0], pairs[:, 1]
    with np.errstate(invalid="ignore"):
        possible = (seconds >= 0.0) & (seconds <= LARGEST_SECONDS)
        possible &= (values >= 0.0) & (values <= ABSURD_REQUESTS_PER_SECOND)
    return (seconds[possible] // 60).astype(np.int64), values[possible]
