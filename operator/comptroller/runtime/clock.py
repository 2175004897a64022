"""The only place that reads the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_seconds() -> float:
    """Seconds since the epoch."""
    return time.time()


def now_datetime() -> datetime:
    """The same as a date with time zone, for price lists that change by date."""
    return datetime.now(UTC)


def monotonic_seconds() -> float:
    """Seconds that never jump, for durations."""
    return time.monotonic()


def lease_seconds() -> float:
    """The same, and it goes on while the machine sleeps: what a lease is reckoned by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def timestamp(seconds: float) -> str:
    """As Kubernetes writes a time: `2026-11-22T06:30:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(seconds: float) -> str:
    """The same with microseconds, as events want it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
