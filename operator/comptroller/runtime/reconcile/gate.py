"""Which pools wait for their prefixes before they take traffic."""

from __future__ import annotations

from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.runtime.state import Specs


def warmups_of(specs: Specs, pool: str) -> dict[str, CacheWarmupSpec]:
    """The warm-ups that name a pool (namespace/name), in a stable order.

    Also those that are stalled because another of their pools is unknown: a gate that came and went with that would
    replace every replica. A spec that cannot be read is not among them.
    """
    namespace, name = pool.split("/", 1)
    return {
        key: spec
        for key, spec in sorted(specs.warmups.items())
        if key.split("/", 1)[0] == namespace and name in spec.pools
    }


def gated_pools(specs: Specs) -> set[str]:
    """The local pools whose pods carry the readiness gate."""
    return {
        pool
        for pool, spec in specs.pools.items()
        if spec.local is not None
        and any(one.gate.enabled and one.triggers.on_replica_start for one in warmups_of(specs, pool).values())
    }
