"""Which pools wait for their prefixes before they take traffic."""

from __future__ import annotations

from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.kube.resources import CACHE_WARMUP
from comptroller.runtime.state import Specs


def warmups_of(specs: Specs, pool: str) -> dict[str, CacheWarmupSpec]:
    """The warm-ups that name a pool (namespace/name), in a stable order."""
    namespace, name = pool.split("/", 1)
    return {
        key: spec
        for key, spec in sorted(specs.warmups.items())
        if key.split("/", 1)[0] == namespace and name in spec.pools and not specs.stalled(CACHE_WARMUP.kind, key)
    }


def gated_pools(specs: Specs) -> set[str]:
    """The local pools whose pods carry the readiness gate."""
    return {
        pool
        for pool, spec in specs.pools.items()
        if spec.local is not None
        and any(one.gate.enabled and one.triggers.on_replica_start for one in warmups_of(specs, pool).values())
    }
