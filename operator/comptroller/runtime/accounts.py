"""Counts what own and rented GPUs cost, pool by pool, so that any window can be asked of Prometheus later.

Tokens of hosted APIs are counted by the routers. What a replica costs is known here alone: power, rent and, on the
allocation basis, its part of the purchase.
"""

from __future__ import annotations

from dataclasses import dataclass

from comptroller.allocation.ledger import SECONDS_PER_HOUR, busy_replicas
from comptroller.allocation.snapshot import LocalPool, Sample, Unknown
from comptroller.api.settings import Settings
from comptroller.economics.ownership import allocation_usd_per_gpu_hour
from comptroller.observe.prometheus import Series
from comptroller.runtime.metrics import Metrics
from comptroller.runtime.reconcile.numbers import exact_decimal
from comptroller.runtime.state import Picture

LONGEST_STRETCH_SECONDS = 120.0  # between two rounds; of a longer time nobody knows which replicas ran


@dataclass(slots=True)
class Accounts:
    """Adds the time between two rounds to the counters, with the replicas that exist at its end."""

    metrics: Metrics
    settings: Settings
    _seconds: float | None = None

    def record(self, picture: Picture) -> None:
        """Takes in one round. A pool whose answers are not known is counted as idle, and the time is told apart."""
        last, self._seconds = self._seconds, picture.at_seconds
        seconds = picture.at_seconds - (picture.at_seconds if last is None else last)
        for pool in picture.snapshot.local_pools:  # a counter begins at zero: the first dollar is then an increase
            self._add(pool, picture, seconds if 0.0 < seconds <= LONGEST_STRETCH_SECONDS else 0.0)
        if seconds > LONGEST_STRETCH_SECONDS:
            self.metrics.accounts_unknown_seconds.inc(seconds)

    def _add(self, pool: LocalPool, picture: Picture, seconds: float) -> None:
        labels, hours = pool.key.split("/", 1), seconds / SECONDS_PER_HOUR
        answered = answered_per_second(picture.measured.answered_by_pool, pool.key)
        busy = 0.0
        if answered is None:
            self.metrics.accounts_unknown_seconds.inc(seconds if pool.existing else 0.0)
        else:
            busy = busy_replicas(pool, picture.decision.pools.get(pool.key), answered)
        marginal = pool.idle_usd_per_replica_hour * pool.existing + pool.busy_extra_usd_per_replica_hour * busy
        self.metrics.pool_usd.labels(*labels, "marginal").inc(marginal * hours)
        self.metrics.pool_usd.labels(*labels, "allocation").inc(self._allocation(pool, picture, marginal, busy) * hours)
        self.metrics.pool_gpu_hours.labels(*labels, pool.gpu_class).inc(pool.gpus_per_replica * pool.existing * hours)

    def _allocation(self, pool: LocalPool, picture: Picture, marginal: float, busy: float) -> float:
        """US dollars per hour with the purchase spread over all hours; for rented GPUs the same as marginal."""
        spec = picture.specs.pools[pool.key].local
        if spec is None or spec.ownership == "rented" or not pool.existing:
            return marginal
        busy_part = exact_decimal(busy / pool.existing)
        gpu = self.settings.gpu_classes[pool.gpu_class]
        an_hour = allocation_usd_per_gpu_hour(gpu, self.settings.amortisation, self.settings.energy, busy_part)
        return float(an_hour) * max(1, pool.gpus_per_replica) * pool.existing


def answered_per_second(answered: Series | Unknown, pool: str) -> float | None:
    """Answers per second of a pool; 0 before its first one, None where that is not known."""
    if isinstance(answered, Unknown):
        return None
    found = answered.get((pool,), Sample(0.0))
    return found.value if isinstance(found, Sample) else None
