"""All children of one CacheWarmup for one replica and one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.modelpool import EngineName
from comptroller.api.settings import Settings


@dataclass(frozen=True, slots=True)
class Replica:
    """One running pod of a local pool, as the warm-up must address it."""

    pool: str  # name of the ModelPool
    pod: str
    pod_uid: str
    ip: str
    port: int
    engine: EngineName
    model: str  # name that the engine serves
    slots: int  # llama.cpp: slots with a cache each (`render.engine.slots`); 1 for the other engines


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
    raise NotImplementedError


def warmup_run_name(
    name: str, spec: CacheWarmupSpec, replica: Replica, *, run: str = "start", content: str = ""
) -> str:
    """The name of the Job that `warmup_children` renders for the same arguments."""
    raise NotImplementedError
