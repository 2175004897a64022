"""Fills the demand log after a start with what Prometheus still knows. Nothing waits for it; failure is no error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from comptroller.allocation.snapshot import Unknown
from comptroller.api.settings import PrometheusSettings
from comptroller.learning.demand import DemandLearner
from comptroller.observe.history import DAY_SECONDS, KEPT_DAYS, PastArrivals, past_arrivals
from comptroller.observe.prometheus import PrometheusSource

log = logging.getLogger("comptroller.past")

ATTEMPTS = 5
BETWEEN_ATTEMPTS_SECONDS = 120.0


@dataclass(slots=True)
class Past:
    """Reads beside the loop; the loop takes what has been read when it comes round."""

    source: PrometheusSource
    settings: PrometheusSettings
    _read: list[PastArrivals] = field(default_factory=list)

    async def read(self, policies: Mapping[str, int], now_seconds: float) -> None:
        """Reads the last days of each policy (namespace/name -> how many routes), the newest day of all first."""
        wanted = [
            (policy, routes, now_seconds - day * DAY_SECONDS)
            for day in range(KEPT_DAYS)
            for policy, routes in sorted(policies.items())
        ]
        failed = 0
        while wanted:
            policy, routes, end_seconds = wanted[0]
            found = await past_arrivals(self.source, self.settings, policy, routes, end_seconds)
            if not isinstance(found, Unknown):
                self._read.append(found)
                wanted.pop(0)
                continue
            failed += 1
            if failed >= ATTEMPTS:
                log.info("The demand log begins without what was before: %s", found.reason)
                return
            await asyncio.sleep(BETWEEN_ATTEMPTS_SECONDS)

    def give(self, learner: DemandLearner, now_seconds: float) -> None:
        """Puts what was read since the last time into the log."""
        read, self._read = self._read, []
        for found in read:
            learner.load_history(found.rates, found.step_seconds, now_seconds)
