"""Cron expressions of five fields in a time zone: when one was last due and when it is next.

Local times that clocks skip are due as much later as the clocks jump (02:30 becomes 03:30); local times that come twice
are due once, at the first; an expression whose hour is `*` follows the time that really passes instead. When both the
day of the month and the day of the week are restricted, either is enough, as in every cron.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: Final = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _WEEKDAYS),
)
_LONGEST_DAYS: Final = 366 * 8 + 2
"""29 February is at most eight years away: 2100 is no leap year."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule that has been read."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    every_hour: bool
    either_day: bool  # day of month or day of week: both are restricted
    zone: str

    def next_after(self, seconds: float) -> float | None:
        """The first due moment after `seconds` since the epoch; None when no day ever matches."""
        return next((one for day in self._days(seconds, 1) for one in _moments(self, day) if one > seconds), None)

    def last_until(self, seconds: float) -> float | None:
        """The last due moment up to `seconds` since the epoch; None when no day ever matches."""
        days = self._days(seconds, -1)
        return next((one for day in days for one in reversed(_moments(self, day)) if one <= seconds), None)

    def _days(self, seconds: float, step: int) -> Iterator[date]:
        """Matching local days from that of `seconds` on; one more before, as a moment may move over midnight."""
        first = datetime.fromtimestamp(seconds, ZoneInfo(self.zone)).date() - timedelta(days=step)
        return (day for n in range(_LONGEST_DAYS) if self._matches(day := first + timedelta(days=step * n)))

    def _matches(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (of_month or of_week) if self.either_day else (of_month and of_week)


@lru_cache(maxsize=256)
def parse_cron(text: str, zone: str) -> Cron:
    """Reads an expression. Raises `ValueError` with the part that is wrong and what it must be."""
    parts = text.lower().split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"{text!r} has {len(parts)} fields and not five")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{zone!r} is no time zone of the IANA database") from error
    minutes, hours, days, months, weekdays = (
        frozenset(_numbers(part, *field)) for part, field in zip(parts, _FIELDS, strict=True)
    )
    return Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=days,
        months=months,
        weekdays=frozenset(one % 7 for one in weekdays),
        every_hour=parts[1].startswith("*"),
        either_day=not parts[2].startswith("*") and not parts[4].startswith("*"),
        zone=zone,
    )


def _numbers(part: str, name: str, low: int, high: int, words: tuple[str, ...]) -> Iterator[int]:
    for one in part.split(","):
        span, _, step = one.partition("/")
        first, _, last = span.partition("-")
        try:
            begin, end = (
                (low, high) if span == "*" else (_number(first, low, words), _number(last or first, low, words))
            )
            if step and not last:
                end = high
            every = int(step) if "/" in one else 1
        except ValueError:
            begin, end, every = 1, 0, 0
        if not (low <= begin <= end <= high) or every < 1:
            raise ValueError(f"the {name} {one!r} is none: it must lie between {low} and {high}")
        yield from range(begin, end + 1, every)


def _number(text: str, low: int, words: tuple[str, ...]) -> int:
    return words.index(text) + low if text in words else int(text)


@lru_cache(maxsize=256)
def _moments(cron: Cron, day: date) -> tuple[float, ...]:
    """The due moments of one local day, in seconds since the epoch, ascending."""
    zone = ZoneInfo(cron.zone)
    found = set()
    for hour in cron.hours:
        for minute in cron.minutes:
            local = datetime.combine(day, time(hour, minute), zone)
            skipped = local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None)
            if not (skipped and cron.every_hour):
                found.add(local.timestamp())
            if cron.every_hour and not skipped:
                found.add(local.replace(fold=1).timestamp())
    return tuple(sorted(found))
