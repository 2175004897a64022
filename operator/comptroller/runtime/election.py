"""Who may write: pure rules over a Lease as one process has seen it, and that process' own clock.

Nobody's clock is read but one's own. Times that others wrote are never compared with it: a lease is another's for its
whole duration from the moment at which this process first saw its present version, which is never before it was
written. One's own right to write counts from the moment at which the request left that won or renewed it, which is
never after it was written, and ends sooner (`renew_seconds` < `lease_seconds`). So two clocks may show what they like;
only if they ran at rates that differ by more than lease / renew (15 s / 10 s: by half) could two processes write.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

NOBODY = ""
NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a lease lasts, and how long its holder writes without having renewed it."""

    lease_seconds: float = 15.0
    renew_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Record:
    """What a Lease says. `version` is its resourceVersion: every write changes it."""

    version: str
    holder: str
    lease_seconds: float
    transitions: int = 0
    acquired: str = ""  # for people


@dataclass(frozen=True, slots=True)
class View:
    """What one process knows of the Lease, in seconds of its own clock."""

    record: Record | None = None
    seen_at: float = NEVER  # when this version was first seen; when it was first seen to be gone
    renewed_at: float | None = None  # when the request left by which this process last won or renewed it
    led: bool = False  # whether it ever did
    lost_to: str | None = None  # who holds it since, if somebody does


class Step(Enum):
    """What a process does next about the Lease."""

    CREATE = "create"
    TAKE = "take"  # becomes its holder
    RENEW = "renew"
    WAIT = "wait"  # somebody else holds it


def seen(view: View, me: str, record: Record | None, at: float) -> View:
    """The view after a read whose answer came at a time."""
    if view.record == record:
        return view
    mine = record is not None and record.holder == me
    return replace(
        view,
        record=record,
        seen_at=at,
        renewed_at=view.renewed_at if mine or record is None else None,
        lost_to=record.holder if view.led and not mine and record is not None else view.lost_to,
    )


def won(view: View, record: Record, left_at: float, at: float) -> View:
    """The view after a write that the server took: the request left at one time, the answer came at another."""
    return replace(view, record=record, seen_at=at, renewed_at=left_at, led=True)


def next_step(view: View, me: str, terms: Terms, now: float) -> Step:
    """What follows from a view at a time.

    A Lease that somebody deleted may still have a holder who does not know it yet: whoever had seen it waits, but for
    that holder. A holder's own words about its duration count where they are longer.
    """
    record = view.record
    if record is None:
        mine = left_seconds(view, terms, now) > 0.0
        return Step.CREATE if mine or now - view.seen_at >= terms.lease_seconds else Step.WAIT
    if record.holder == me:
        return Step.RENEW
    if record.holder == NOBODY or now - view.seen_at >= max(terms.lease_seconds, record.lease_seconds):
        return Step.TAKE
    return Step.WAIT


def left_seconds(view: View, terms: Terms, now: float) -> float:
    """For how long this process may still write; zero or less: it may not."""
    return NEVER if view.renewed_at is None else view.renewed_at + terms.renew_seconds - now


def record_of(lease: Mapping[str, Any] | None) -> Record | None:
    """A Lease object as a record. What somebody else left out of it counts as nothing said."""
    if lease is None:
        return None
    spec = lease.get("spec") or {}
    return Record(
        version=str(lease["metadata"].get("resourceVersion", "")),
        holder=str(spec.get("holderIdentity") or NOBODY),
        lease_seconds=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        acquired=str(spec.get("acquireTime") or ""),
    )
