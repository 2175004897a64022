"""Calendar periods in a time zone: when the present one began and when the next one begins.

Instants are seconds since 1970, so that days of 23 and 25 hours are what they are.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Period = Literal["hour", "day", "week", "month"]
PERIODS: tuple[Period, ...] = ("hour", "day", "week", "month")
HOUR_SECONDS = 3600.0


@cache
def zone(name: str) -> tzinfo:
    """A time zone by its IANA name. Raises `ValueError` for what is none.

    An image without the system's zones has those of dateutil, which comes with LiteLLM.
    """
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError as error:
        from dateutil.tz import gettz  # type: ignore[import-untyped,import-not-found,unused-ignore]

        found: tzinfo | None = gettz(name)
        if found is None:
            raise ValueError(f"{name} is no time zone") from error
        return found


def bounds(period: Period, where: tzinfo, now_seconds: float) -> tuple[float, float]:
    """The present period: from, inclusive, and until, exclusive.

    Hours are counted from the beginning of the local day, so that those of a zone that is 5:30 ahead begin when its
    clocks show a full hour, and the day on which the clocks go back has 25 of them.

    >>> from datetime import UTC
    >>> bounds("day", UTC, 90_000.0), bounds("week", UTC, 90_000.0)
    ((86400.0, 172800.0), (-259200.0, 345600.0))
    """
    today = datetime.fromtimestamp(now_seconds, where).date()
    first = _first_day(period, today)
    after = _next(period, first)
    while _begin(after, where) <= now_seconds:  # clocks that went back over midnight show a day again that has ended
        first, after = after, _next(period, after)
    start, end = _begin(first, where), _begin(after, where)
    if period != "hour":
        return start, end
    start += HOUR_SECONDS * ((now_seconds - start) // HOUR_SECONDS)
    return start, min(start + HOUR_SECONDS, end)


def _first_day(period: Period, today: date) -> date:
    if period == "month":
        return today.replace(day=1)
    return today - timedelta(days=today.weekday()) if period == "week" else today


def _next(period: Period, first: date) -> date:
    if period == "month":
        return (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    return first + timedelta(days=7 if period == "week" else 1)


def _begin(day: date, where: tzinfo) -> float:
    """The first instant of a local day, also where the clocks go forward at midnight and it begins at one."""
    return datetime(day.year, day.month, day.day, tzinfo=where).timestamp()
