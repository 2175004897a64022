"""Cron expressions: which moments they mean, also where clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.api.cron import parse_cron

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@pytest.mark.parametrize(
    ("text", "now", "last", "following"),
    [
        ("55 7 * * 1-5", "2026-11-22T12:00", "2026-11-20T07:55", "2026-11-23T07:55"),  # a Sunday
        ("55 7 * * mon-fri", "2026-11-23T07:55", "2026-11-23T07:55", "2026-11-24T07:55"),
        ("*/20 * * * *", "2026-11-22T12:30", "2026-11-22T12:20", "2026-11-22T12:40"),
        ("5/20 0 * * *", "2026-11-22T12:30", "2026-11-22T00:45", "2026-11-23T00:05"),
        ("0 0 29 feb *", "2026-11-22T12:00", "2024-02-29T00:00", "2028-02-29T00:00"),
        ("0 9 13 * 5", "2026-11-22T12:00", "2026-11-20T09:00", "2026-11-27T09:00"),  # the 13th or a Friday
        ("0 9 */1 * 7", "2026-11-22T12:00", "2026-11-22T09:00", "2026-11-29T09:00"),  # 7 is Sunday too
    ],
)
def test_the_last_and_the_next_moment(text: str, now: str, last: str, following: str) -> None:
    cron = parse_cron(text, BERLIN)
    assert cron.last_until(at(now, BERLIN)) == at(last, BERLIN)
    assert cron.next_after(at(now, BERLIN)) == at(following, BERLIN)


def test_a_time_that_clocks_skip_is_due_as_much_later() -> None:
    cron = parse_cron("30 2 * * *", BERLIN)
    assert cron.next_after(at("2027-03-28T00:00", BERLIN)) == at("2027-03-28T03:30", BERLIN)


def test_a_time_that_comes_twice_is_due_once() -> None:
    cron = parse_cron("30 2 * * *", BERLIN)
    first = cron.next_after(at("2026-10-25T00:00", BERLIN))
    assert first == at("2026-10-25T02:30", BERLIN)
    assert cron.next_after(first) == at("2026-10-26T02:30", BERLIN)


def test_every_hour_follows_the_time_that_passes() -> None:
    cron = parse_cron("0 * * * *", BERLIN)
    moment = at("2026-10-25T00:00", BERLIN)
    for _ in range(26):
        following = cron.next_after(moment)
        assert following == moment + 3600
        moment = following


def test_a_day_that_never_comes_is_never_due() -> None:
    cron = parse_cron("0 0 30 2 *", "UTC")
    assert cron.next_after(0.0) is None
    assert cron.last_until(2e9) is None


@pytest.mark.parametrize(
    ("text", "zone", "problem"),
    [
        ("60 7 * * *", "UTC", "the minute '60' is none: it must lie between 0 and 59"),
        ("0 7 * * 5-1", "UTC", "the day of week '5-1'"),
        ("0 */0 * * *", "UTC", r"the hour '\*/0'"),
        ("0 7 x * *", "UTC", "the day of month 'x'"),
        ("0 7 * *", "UTC", "has 4 fields and not five"),
        ("0 7 1,, * *", "UTC", "the day of month ''"),
        ("0 7 * * *", "Europe/Atlantis", "'Europe/Atlantis' is no time zone"),
        ("0 7 * * *", "Europe", "'Europe' is no time zone"),
    ],
)
def test_what_is_wrong_is_named(text: str, zone: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_cron(text, zone)


@given(
    minute=st.sampled_from(["0", "*/15", "7,37"]),
    hour=st.sampled_from(["*", "2", "0-6/3", "23"]),
    zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    now=st.integers(1_750_000_000, 1_850_000_000),
)
def test_between_two_moments_there_is_none(minute: str, hour: str, zone: str, now: int) -> None:
    cron = parse_cron(f"{minute} {hour} * * *", zone)
    last, following = cron.last_until(now), cron.next_after(now)
    assert last is not None
    assert following is not None
    assert last <= now < following
    assert cron.next_after(last) == following
    assert cron.last_until(following) == following
    local = datetime.fromtimestamp(following, UTC).astimezone(ZoneInfo(zone))
    assert hour != "*" or following - last <= 3600
    assert local.minute % 15 in (0, 7)
