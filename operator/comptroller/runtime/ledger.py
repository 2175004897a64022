"""Keeps the ledger: records decisions, measures what their intervals cost, and tells it by log, metrics and HTTP."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comptroller.allocation.ledger import (
    SECONDS_PER_HOUR,
    Entry,
    Spending,
    Tally,
    as_json,
    entry_of,
    in_words,
    is_due,
    settled,
    spent_usd_per_hour,
)
from comptroller.allocation.snapshot import Measurement, Unknown
from comptroller.observe.measurements import Measurements
from comptroller.observe.prometheus import Series
from comptroller.runtime.clock import timestamp
from comptroller.runtime.metrics import Metrics
from comptroller.runtime.state import Picture

log = logging.getLogger("comptroller.ledger")

MOST_ENTRIES = 1000
MOST_VALUES = 200_000  # of all entries together, some 30 MB: a fleet of 100 pools and 500 routes has 2,000 in each
MOST_ANSWERED = 100  # entries of one HTTP answer, unless fewer or more are asked for
LONGEST_STRETCH_SECONDS = 120.0  # between two measurements; a rate says nothing about a longer time


@dataclass(slots=True)
class Ledger:
    """The newest entries, oldest first. The last one is open: its interval goes on."""

    metrics: Metrics
    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=MOST_ENTRIES))
    _values: int = 0
    _tally: Tally = field(default_factory=Tally)
    _measured_seconds: float | None = None

    def record(self, picture: Picture) -> list[Entry]:
        """Takes in a round that was made: measures the interval under way, ends it and opens the next where that is
        due. Returns what is new in it: the entry that was settled and the one that was opened."""
        self._measure(picture)
        before = self.entries[-1] if self.entries else None
        if not is_due(before, picture.decision, picture.at_seconds):
            return []
        news = []
        if before is not None:
            self.entries[-1] = settled(before, self._tally)
            self._tell_settled(self.entries[-1])
            news.append(self.entries[-1])
        self._tally = Tally()
        made = entry_of(picture.number, picture.snapshot, picture.decision, before)
        self._append(made)
        if made.changes:
            log.info(
                "Decided %s: %s", made.number, " ".join(one.words for one in made.changes)[:2048],
                extra=_told(made),
            )  # fmt: skip
        return [*news, made]

    def _append(self, entry: Entry) -> None:
        """Adds an entry and forgets the oldest ones that are too many."""
        full = len(self.entries) == self.entries.maxlen
        self._values += _size(entry) - (_size(self.entries[0]) if full else 0)
        self.entries.append(entry)
        while self._values > MOST_VALUES and len(self.entries) > 1:
            self._values -= _size(self.entries.popleft())

    def _measure(self, picture: Picture) -> None:
        """Adds the time since the last round, at the rate that is measured now: what has been spent over the rate
        window, so that a change shows half a window late."""
        last, self._measured_seconds = self._measured_seconds, picture.at_seconds
        if last is None or picture.at_seconds <= last:
            return
        seconds = picture.at_seconds - last
        rate = spent_usd_per_hour(picture.snapshot, picture.decision, spending_of(picture.measured))
        if seconds > LONGEST_STRETCH_SECONDS:
            rate = Unknown(f"nothing was measured for {seconds:.0f} s")
        self._tally = self._tally.after(seconds, rate)

    def _tell_settled(self, entry: Entry) -> None:
        realised, metrics = entry.realised, self.metrics
        if realised is None:
            return
        if realised.usd is None:
            metrics.ledger_unknown_seconds.inc(realised.seconds)
        else:  # both or neither, so that the two counters can be divided
            metrics.ledger_usd.labels("predicted").inc(realised.predicted_usd)
            metrics.ledger_usd.labels("realised").inc(realised.usd)
        if (error := realised.error_ratio) is not None:
            metrics.prediction_error.set(error)
        if entry.changes:
            log.info("Settled %s: %s", entry.number, in_words(entry), extra=_told(entry))

    def answer(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """The entries as JSON, newest first: `pool` (namespace/name, or the name alone) narrows them to one pool,
        `limit` says how many."""
        limit = int(text) if (text := query.get("limit", "")).isascii() and text.isdigit() else MOST_ANSWERED
        wanted = query.get("pool")
        found: list[dict[str, Any]] = []
        for entry in reversed(self.entries):
            if len(found) >= limit:
                break
            at = {"at": timestamp(entry.at_seconds)}
            if not wanted:
                found.append(at | as_json(entry))
            found += [at | as_json(entry, one) for one in entry.prices if wanted in (one, one.split("/", 1)[1])]
        return found[:limit]


def _size(entry: Entry) -> int:
    """How many numbers an entry holds, about."""
    return 4 * len(entry.prices) + 2 * len(entry.demand) + sum(len(one) for one in entry.shares.values())


def _told(entry: Entry) -> dict[str, Any]:
    """The fields of a log line: everything but what it was decided from, which the digest stands for."""
    found = as_json(entry)
    kept = ("inputs", "rung", "usdPerHour", "usdPerHourWhenStarted", "alternatives", "replicas", "changes", "realised")
    return {"decision": entry.number, **{key: found[key] for key in kept if key in found}}


def usd_per_hour_spent(entry: Entry) -> float | None:
    """What an entry's interval cost per hour; None while it is open or where it is unknown."""
    realised = entry.realised
    if realised is None or realised.usd is None or realised.seconds <= 0.0:
        return None
    return realised.usd * SECONDS_PER_HOUR / realised.seconds


def spending_of(measured: Measurements) -> Spending:
    """The measurements that the realised cost follows from, by pool."""
    return Spending(_by_pool(measured.spent_usd_per_second), _by_pool(measured.answered_by_pool))


def _by_pool(series: Series | Unknown) -> Mapping[str, Measurement] | Unknown:
    return series if isinstance(series, Unknown) else {key[0]: one for key, one in series.items()}
