"""Money of today and of this month, as Prometheus counted it: read when somebody looks, not before.

It is the arithmetic of `comptroller report`, so that the page and the report say the same. Days that are over do not
change and are read once.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from comptroller.api.settings import Settings
from comptroller.economics.accounts import Accounts, added
from comptroller.kube.resources import MODEL_POOL, ROUTING_POLICY
from comptroller.kube.store import ClusterStore
from comptroller.observe.accounts import days, read_accounts
from comptroller.observe.prometheus import PrometheusSource
from comptroller.report.money import Money, money
from comptroller.report.money_facts import BaselineError, baseline_of, narrowed, pool_facts, route_facts
from comptroller.runtime.clock import now_seconds

log = logging.getLogger("comptroller.page")

FRESH_SECONDS = 60.0
QUERY_SECONDS = 30.0


@dataclass(slots=True)
class Books:
    """The newest reading. `shown` answers at once, with what was read last, and begins a new reading when it is old."""

    store: ClusterStore
    settings: Settings
    source: PrometheusSource = field(init=False)
    _days: dict[float, Accounts] = field(default_factory=dict)  # begin of a day that is over -> its accounts
    _shown: dict[str, Any] = field(default_factory=dict)
    _began_seconds: float = 0.0
    _reading: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        slow = self.settings.prometheus.model_copy(update={"timeout_seconds": QUERY_SECONDS})
        self.source = PrometheusSource(slow)  # threads of its own: a long reading must not hold up a decision

    def shown(self) -> dict[str, Any]:
        """Money for the page; empty until the first reading is done."""
        if (self._reading is None or self._reading.done()) and now_seconds() - self._began_seconds > FRESH_SECONDS:
            self._began_seconds = now_seconds()
            self._reading = asyncio.create_task(self._read_quietly(), name="books")
        return self._shown

    async def close(self) -> None:
        """Ends a reading under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self.source.close()

    async def _read_quietly(self) -> None:
        try:
            self._shown = await self.read(now_seconds())
        except Exception:
            log.exception("The books cannot be read; the page shows the last ones")

    async def read(self, now: float) -> dict[str, Any]:
        """Money at a time."""
        month = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
        stretches = [await self._day(start, end, now) for start, end in days(month, now)]
        return self._money(stretches, now)

    async def _day(self, start: float, end: float, now: float) -> Accounts:
        if (known := self._days.get(start)) is not None:
            return known
        (found,) = await read_accounts(self.source, start, end)
        if end < now and not found.unknown:
            self._days = {at: one for at, one in self._days.items() if at > start - 32 * 86_400.0} | {start: found}
        return found

    def _money(self, stretches: list[Accounts], now: float) -> dict[str, Any]:
        at = datetime.fromtimestamp(now, UTC)
        pools = pool_facts(self.store.all(MODEL_POOL), at)
        routes = route_facts(self.store.all(ROUTING_POLICY))
        try:
            words, baseline = baseline_of(self.settings.baseline.pool, pools, at)
        except BaselineError:
            return {"why": "There is no hosted pool to compare with: set baseline.pool in the settings."}

        def counted(parts: list[Accounts]) -> dict[str, Any]:
            return _told(money(added(self._watched(parts)), pools, routes, baseline))

        return {"atSeconds": now, "baseline": words, "today": counted(stretches[-1:]), "month": counted(stretches)}

    def _watched(self, parts: list[Accounts]) -> list[Accounts]:
        """Only what this operator decides: Prometheus may know of other fleets."""
        names = self.settings.watch_namespaces
        return [narrowed(one, name) for one in parts for name in names] if names else parts


def _told(found: Money) -> dict[str, Any]:
    saved = found.savings
    return {
        "spentUsd": float(saved.spent_usd),
        "baselineUsd": float(saved.baseline_usd),
        "savedUsd": float(saved.baseline_usd - saved.spent_usd),
        "savedRatio": None if saved.ratio is None else float(saved.ratio),
        "answers": found.answers,
        "insideRatio": found.inside / found.answers if found.answers else None,
        "restricted": found.restricted,
        "restrictedLeft": found.left_the_premises,
        "unknown": list(found.unknown),
    }
