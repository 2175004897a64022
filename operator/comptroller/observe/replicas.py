"""Replicas of a local pool, read from its pods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from comptroller.kube.resources import POD, KubeDict
from comptroller.kube.store import ClusterStore

POOL_LABEL = "comptroller.dev/pool"
WARM_CONDITION = "comptroller.dev/cache-warm"


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod of a pool."""

    name: str
    uid: str
    ip: str
    node: str
    created_seconds: float
    engine_ready: bool  # its container answers its probes
    ready: bool  # it also passed every readiness gate: it takes traffic
    warm: bool
    warm_message: str
    admitted: bool  # its warmth condition lets it serve, warm or not
    ready_since_seconds: float | None
    started_seconds: float | None  # when the engine's container last started: a restart loses its cache
    answers_since_seconds: float | None  # when its container began to answer its probes
    gate_since_seconds: float | None  # when its warmth was last confirmed or denied
    terminating: bool
    unschedulable: str  # why no node takes it; empty when one did
    deletion_cost: str


@dataclass(frozen=True, slots=True)
class PoolReplicas:
    """All replicas of a pool that are not being deleted, oldest first."""

    replicas: tuple[Replica, ...] = ()

    @property
    def serving(self) -> tuple[Replica, ...]:
        """Those that take traffic."""
        return tuple(one for one in self.replicas if one.ready)

    @property
    def starting(self) -> tuple[Replica, ...]:
        """Those that exist and do not take traffic yet."""
        return tuple(one for one in self.replicas if not one.ready)

    @property
    def warm(self) -> int:
        """Serving replicas whose declared prefixes are cached."""
        return sum(one.ready and one.warm for one in self.replicas)

    @property
    def unschedulable(self) -> tuple[Replica, ...]:
        """Those that no node takes."""
        return tuple(one for one in self.replicas if one.unschedulable)

    def starts(self) -> dict[str, float]:
        """Seconds from creation to ready of those that have not restarted since, by uid, oldest first."""
        return {
            one.uid: one.ready_since_seconds - one.created_seconds
            for one in self.serving
            if one.ready_since_seconds is not None
            and one.started_seconds is not None
            and one.started_seconds <= one.ready_since_seconds
        }


def replicas_by_pool(store: ClusterStore) -> dict[str, PoolReplicas]:
    """The replicas of every pool, keyed namespace/name."""
    found: dict[str, list[Replica]] = {}
    for pod in store.all(POD):
        if (pool := pool_of(pod)) is not None:
            found.setdefault(pool, []).append(read_replica(pod))
    return {pool: _living(some) for pool, some in found.items()}


def replicas_of(store: ClusterStore, pool: str) -> PoolReplicas:
    """The replicas of one pool as they are at this moment."""
    return _living([read_replica(pod) for pod in store.all(POD) if pool_of(pod) == pool])


def pool_of(pod: KubeDict) -> str | None:
    """The pool (namespace/name) whose engine runs in a pod; None for every other pod and for one that has ended."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get("app.kubernetes.io/component") != "engine" or POOL_LABEL not in labels:
        return None
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return None
    return f"{metadata['namespace']}/{labels[POOL_LABEL]}"


def _living(some: list[Replica]) -> PoolReplicas:
    living = [one for one in some if not one.terminating]
    return PoolReplicas(tuple(sorted(living, key=lambda one: (one.created_seconds, one.name))))


def read_replica(pod: KubeDict) -> Replica:
    """One pod as a replica."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    containers = status.get("containerStatuses") or []
    started = [moment((one.get("state") or {}).get("running", {}).get("startedAt")) for one in containers]
    ready, warm = conditions.get("Ready", {}), conditions.get(WARM_CONDITION, {})
    scheduled, answers = conditions.get("PodScheduled", {}), conditions.get("ContainersReady", {})
    return Replica(
        name=metadata["name"],
        uid=metadata["uid"],
        ip=status.get("podIP") or "",
        node=(pod.get("spec") or {}).get("nodeName") or "",
        created_seconds=moment(metadata.get("creationTimestamp")) or 0.0,
        engine_ready=answers.get("status") == "True",
        ready=ready.get("status") == "True",
        warm=warm.get("status") == "True" and warm.get("reason") == "Warm",
        warm_message=warm.get("message") or "",
        admitted=warm.get("status") == "True",
        ready_since_seconds=moment(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None,
        started_seconds=max((one for one in started if one is not None), default=None),
        answers_since_seconds=moment(answers.get("lastTransitionTime")) if answers.get("status") == "True" else None,
        gate_since_seconds=moment(warm.get("lastTransitionTime")),
        terminating=bool(metadata.get("deletionTimestamp")),
        unschedulable=scheduled.get("message") or "no node" if scheduled.get("status") == "False" else "",
        deletion_cost=(metadata.get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", ""),
    )


def moment(text: str | None) -> float | None:
    """Seconds since the epoch of a Kubernetes timestamp."""
    if not text:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def condition_of(item: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """One condition of an object's status, or an empty mapping."""
    conditions: Iterable[Mapping[str, Any]] = (item.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == kind), {})
