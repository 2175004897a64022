"""All children of one CacheWarmup for one replica and one run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.settings import Settings
from comptroller.render.labels import POOL, RUN, WARMUP, labels
from comptroller.render.names import child_name
from comptroller.render.replica import Replica
from comptroller.render.warmup_job import warmup_config_map, warmup_job

__all__ = ["POD_UID", "Replica", "Run", "Slots", "placed_digest", "warmup_children", "warmup_job_name", "warmup_token"]

POD_UID = "comptroller.dev/pod-uid"
"""Label of a run: the uid of the pod that it warms."""

Slots = Mapping[str, tuple[int, ...]]
"""Prefix -> the caches of a replica that it goes to, none where a replica has one for all; a prefix that is left out is
absent."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its Job, what it proves, and which prefixes go where."""

    job: str
    token: str
    slots: Slots


def warmup_children(
    name: str,
    namespace: str,
    spec: CacheWarmupSpec,
    replica: Replica,
    owner: Mapping[str, Any],
    settings: Settings,
    run: Run,
) -> list[dict[str, Any]]:
    """ConfigMap and Job that warm one replica."""
    owned = {WARMUP: name, POOL: replica.pool, POD_UID: replica.pod_uid, RUN: run.token}
    ours = labels("warmup", name, "warmup", owned)
    return [
        warmup_config_map(run.job, namespace, ours, spec, replica, owner, run.slots),
        warmup_job(run.job, namespace, ours, spec, owner, settings, run.slots),
    ]


def placed_digest(spec: CacheWarmupSpec, slots: Slots, contents: str) -> str:
    """The same for the same prefixes in the same caches. `contents` stands for the ConfigMaps that they refer to."""
    prefixes = [prefix.model_dump(mode="json") for prefix in spec.prefixes if prefix.name in slots]
    return hashlib.sha256(json.dumps([prefixes, sorted(slots.items()), contents]).encode()).hexdigest()


def warmup_token(name: str, placed: str, replica: Replica, life: str) -> str:
    """What a run proves, as a name: these prefixes, in these caches, in this life of the replica's container.

    `placed` is `placed_digest`. `life` tells the lives of a container apart: one that restarted has lost its cache.
    """
    where = [placed, replica.pod_uid, replica.ip, replica.port, replica.model, life]
    return child_name(name, f"-{hashlib.sha256(json.dumps(where).encode()).hexdigest()[:10]}")


def warmup_job_name(token: str, moment: int | None) -> str:
    """The name of the Job that proves it, the first time (None) or at a later moment (seconds since the epoch)."""
    return token if moment is None else child_name(token, f"-{moment}")
