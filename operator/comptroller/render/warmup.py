"""All children of one CacheWarmup for one replica and one run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.settings import Settings
from comptroller.render.labels import POOL, WARMUP, labels
from comptroller.render.names import child_name
from comptroller.render.replica import Replica
from comptroller.render.warmup_job import warmup_config_map, warmup_job

__all__ = ["POD_UID", "Replica", "warmup_children", "warmup_run_name"]

POD_UID = "comptroller.dev/pod-uid"
"""Label of a run: the uid of the pod that it warms."""


def warmup_children(
    name: str,
    namespace: str,
    spec: CacheWarmupSpec,
    replica: Replica,
    owner: Mapping[str, Any],
    settings: Settings,
    *,
    run: str = "start",
    content: str = "",
) -> list[dict[str, Any]]:
    """ConfigMap and Job that warm one replica.

    The names are functions of the warm-up, the pod's uid, the prefixes, `run` and `content`: the same run is never
    started twice. `run` tells runs over the same prefixes apart ("start", or the scheduled time); `content` stands for
    the resource versions of referenced ConfigMaps and Secrets, so that a change of theirs is a new run.
    """
    child = warmup_run_name(name, spec, replica, run=run, content=content)
    ours = labels("warmup", name, "warmup", {WARMUP: name, POOL: replica.pool, POD_UID: replica.pod_uid})
    return [
        warmup_config_map(child, namespace, ours, spec, replica, owner),
        warmup_job(child, namespace, ours, spec, owner, settings),
    ]


def warmup_run_name(
    name: str, spec: CacheWarmupSpec, replica: Replica, *, run: str = "start", content: str = ""
) -> str:
    """The name of the Job that `warmup_children` renders for the same arguments."""
    prefixes = [prefix.model_dump(mode="json") for prefix in spec.prefixes]
    told = json.dumps([prefixes, replica.pod_uid, replica.ip, replica.port, replica.model, replica.slots, run, content])
    return child_name(name, f"-{hashlib.sha256(told.encode()).hexdigest()[:10]}")
