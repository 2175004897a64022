"""What the operator tells Prometheus about warm-ups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge


class WarmupMetrics:
    """Series by warm-up, each with its namespace."""

    def __init__(self, registry: CollectorRegistry) -> None:
        own = ["namespace", "warmup"]
        self._replicas = Gauge(
            "comptroller_warmup_replicas",
            "Replicas of a warm-up's pools by state: total, warm, failed.",
            [*own, "state"],
            registry=registry,
        )
        self._hit_ratio = Gauge(
            "comptroller_warmup_hit_ratio",
            "Share of a prefix that the proving request found cached.",
            [*own, "prefix"],
            registry=registry,
        )
        self._first_token = Gauge(
            "comptroller_warmup_time_to_first_token_seconds",
            "Time to the first token with a prefix, before (cold) and after (warm) it was cached.",
            [*own, "prefix", "cache"],
            registry=registry,
        )
        self._runs = Counter(
            "comptroller_warmup_runs", "Runs that have ended, by result.", [*own, "result"], registry=registry
        )

    def count(self, warmup: str, *, warm: bool) -> None:
        """A run of a warm-up (namespace/name) has ended."""
        self._runs.labels(*warmup.split("/", 1), "warm" if warm else "failed").inc()

    def show(self, statuses: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
        """Replaces the gauges by what the statuses (namespace, name, status) tell."""
        for gauge in (self._replicas, self._hit_ratio, self._first_token):
            gauge.clear()
        for namespace, name, status in statuses:
            for state in ("total", "warm", "failed"):
                if (count := (status.get("replicas") or {}).get(state)) is not None:
                    self._replicas.labels(namespace, name, state).set(count)
            for row in status.get("prefixes") or ():
                if "hitRatio" in row:
                    self._hit_ratio.labels(namespace, name, row["name"]).set(float(row["hitRatio"]))
                for cache in ("cold", "warm"):
                    if (ms := row.get(f"{cache}TimeToFirstTokenMs")) is not None:
                        self._first_token.labels(namespace, name, row["name"], cache).set(ms / 1000)
