"""Calendar periods: every instant is in exactly one, and each begins when people say it does."""

from __future__ import annotations

import zoneinfo
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.router_plugin import period
from comptroller.router_plugin.period import PERIODS, Period, bounds, zone

HOUR = 3600.0
ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})


def at(text: str, name: str = "Europe/Berlin") -> float:
    """Seconds since 1970 of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(name)).timestamp()


def shown(kind: Period, text: str, name: str = "Europe/Berlin") -> tuple[str, str]:
    start, end = bounds(kind, ZoneInfo(name), at(text, name))
    return tuple(datetime.fromtimestamp(one, ZoneInfo(name)).isoformat() for one in (start, end))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("kind", "now", "start", "end"),
    [
        ("hour", "2026-11-22T13:59:59", "2026-11-22T13:00:00+01:00", "2026-11-22T14:00:00+01:00"),
        ("day", "2026-11-22T00:00:00", "2026-11-22T00:00:00+01:00", "2026-11-23T00:00:00+01:00"),
        ("week", "2026-11-22T23:59:59", "2026-11-16T00:00:00+01:00", "2026-11-23T00:00:00+01:00"),
        ("week", "2026-11-23T00:00:00", "2026-11-23T00:00:00+01:00", "2026-11-30T00:00:00+01:00"),
        ("month", "2028-02-29T12:00:00", "2028-02-01T00:00:00+01:00", "2028-03-01T00:00:00+01:00"),
        ("month", "2026-12-31T23:59:59", "2026-12-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"),
        ("month", "2026-03-31T12:00:00", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
    ],
)
def test_a_period_begins_when_the_calendar_says(kind: Period, now: str, start: str, end: str) -> None:
    assert shown(kind, now) == (start, end)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-22", 24)])
def test_a_day_is_as_long_as_its_clocks_make_it(day: str, hours: int) -> None:
    start, end = bounds("day", ZoneInfo("Europe/Berlin"), at(f"{day}T12:00:00"))
    assert end - start == hours * HOUR


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    first = at("2026-10-25T02:30:00")
    one, other = (bounds("hour", ZoneInfo("Europe/Berlin"), first + shift) for shift in (0.0, HOUR))
    assert one[1] == other[0]
    assert other[1] - one[0] == 2 * HOUR


def test_hours_of_a_zone_with_half_an_hour_begin_when_its_clocks_show_a_full_one() -> None:
    assert shown("hour", "2026-11-22T13:10:00", "Asia/Kolkata")[0] == "2026-11-22T13:00:00+05:30"


def test_a_day_whose_midnight_does_not_exist_begins_with_its_first_instant() -> None:
    start, end = bounds("day", ZoneInfo("America/Santiago"), at("2026-09-06T12:00:00", "America/Santiago"))
    assert datetime.fromtimestamp(start, ZoneInfo("America/Santiago")).hour == 1
    assert end - start == 23 * HOUR


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(PERIODS), st.sampled_from(ZONES), st.floats(0.0, 4e9))
def test_periods_follow_each_other_without_gap_or_overlap(kind: Period, name: str, now: float) -> None:
    where = ZoneInfo(name)
    start, end = bounds(kind, where, now)
    assert start <= now < end
    assert bounds(kind, where, start) == (start, end)
    assert bounds(kind, where, end)[0] == end
    assert bounds(kind, where, end - 0.001) == (start, end)


def test_an_image_without_zones_has_those_of_dateutil(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: str) -> ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError

    class Without(ZoneInfo):
        def __new__(cls, key: str) -> ZoneInfo:  # type: ignore[misc]
            return none(key)

    period.zone.cache_clear()
    monkeypatch.setattr(period, "ZoneInfo", Without)
    try:
        found = zone("Europe/Berlin")
        assert bounds("day", found, at("2026-10-25T12:00:00")) == (at("2026-10-25T00:00:00"), at("2026-10-26T00:00:00"))
        with pytest.raises(ValueError, match="Middle/Earth is no time zone"):
            zone("Middle/Earth")
    finally:
        period.zone.cache_clear()
