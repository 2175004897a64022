"""What the operator tells Prometheus about objects: their conditions, GPUs, objectives, and where data may not go.

Alerts stand on these: a condition that is only in a status can be read by people, not by Prometheus.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Gauge

from comptroller.allocation.problem import Pool, permits
from comptroller.allocation.snapshot import Sample, Snapshot
from comptroller.api.conditions import ConditionType
from comptroller.kube.resources import OWNED_BY_USERS
from comptroller.kube.store import ClusterStore
from comptroller.observe.measurements import within_first_token
from comptroller.runtime.state import Picture

TOLD = frozenset(
    (
        ConditionType.READY.value,
        ConditionType.STALLED.value,
        ConditionType.METRICS_AVAILABLE.value,
        ConditionType.CAPACITY_AVAILABLE.value,
    )
)
"""Conditions that are told; the others are for people."""


@dataclass(slots=True)
class ObjectMetrics:
    """Series that are replaced with every decision."""

    registry: CollectorRegistry
    condition: Gauge = field(init=False)
    gpus: Gauge = field(init=False)
    within: Gauge = field(init=False)
    objective: Gauge = field(init=False)
    forbidden: Gauge = field(init=False)

    def __post_init__(self) -> None:
        own = self.registry
        self.condition = Gauge(
            "comptroller_condition",
            "1 for the present status and reason of an object's condition: Ready, Stalled, MetricsAvailable, "
            "CapacityAvailable.",
            ["kind", "namespace", "name", "type", "status", "reason"],
            registry=own,
        )
        self.gpus = Gauge(
            "comptroller_gpus",
            "GPUs by state: available to pools (on ready nodes, less those that others hold), and held by pools' "
            "replicas. Absent while the nodes are unknown.",
            ["gpu_class", "site", "state"],
            registry=own,
        )
        self.within = Gauge(
            "comptroller_route_first_token_ratio",
            "Share of a route's streamed answers whose first token came within its objective; absent before the first.",
            ["policy", "route"],
            registry=own,
        )
        self.objective = Gauge(
            "comptroller_route_first_token_objective_ratio",
            "Share of answers that shall be within the objective: the percentile of the route's `slo`.",
            ["policy", "route"],
            registry=own,
        )
        self.forbidden = Gauge(
            "comptroller_route_forbidden_pool",
            "1 for each pool of the namespace that the route's data may not reach. An answer from one must never be.",
            ["policy", "route", "pool"],
            registry=own,
        )

    def show(self, store: ClusterStore, picture: Picture) -> None:
        """Replaces all series; what no longer exists disappears."""
        for gauge in (self.condition, self.gpus, self.within, self.objective, self.forbidden):
            gauge.clear()
        for resource in OWNED_BY_USERS:
            for item in store.all(resource):
                metadata = item["metadata"]
                for one in (item.get("status") or {}).get("conditions") or ():
                    if one.get("type") in TOLD:
                        told = (one["type"], str(one.get("status")), str(one.get("reason")))
                        self.condition.labels(resource.kind, metadata["namespace"], metadata["name"], *told).set(1)
        self._show_gpus(picture.snapshot)
        self._show_routes(picture)

    def _show_gpus(self, snapshot: Snapshot) -> None:
        held: dict[tuple[str, str], int] = {}
        for pool in snapshot.local_pools:
            place = pool.gpu_class, pool.site
            held[place] = held.get(place, 0) + pool.gpus_per_replica * pool.existing
        for place, found in snapshot.gpus.items():
            if isinstance(found, Sample) and (found.value > 0.0 or held.get(place)):
                self.gpus.labels(*place, "available").set(found.value)
                self.gpus.labels(*place, "held").set(held.get(place, 0))

    def _show_routes(self, picture: Picture) -> None:
        pools: tuple[Pool, ...] = (*picture.snapshot.local_pools, *picture.snapshot.hosted_pools)
        for route in picture.snapshot.routes:
            labels = route.policy, route.name
            counted = within_first_token(picture.measured, *labels, route.time_to_first_token_ms / 1000)
            if counted is not None:
                self.within.labels(*labels).set(counted[1] / counted[0])
            self.objective.labels(*labels).set(route.percentile)
            if not (route.perimeters or route.jurisdictions):
                continue
            home = f"{route.policy.split('/', 1)[0]}/"
            for pool in pools:
                if pool.key.startswith(home) and not permits(route, pool):
                    self.forbidden.labels(*labels, pool.key).set(1)
