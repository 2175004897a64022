"""The speeds of a fleet's pools, for whoever has samples and declared profiles but no cluster: the simulator.

The operator itself keeps one `Speed` per pool and remembers it in the pool's status (`runtime/speeds.py`); what is
learned, and when it is used, is the same here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from comptroller.allocation.snapshot import LocalPool
from comptroller.learning.speed import Speed, SpeedSample, begin, learn


def with_learned(
    speeds: Mapping[str, Speed], pools: Iterable[LocalPool], samples: Mapping[str, SpeedSample], spacing_seconds: float
) -> tuple[dict[str, Speed], tuple[LocalPool, ...]]:
    """What is known after one more sample per pool, and the pools with the profiles to reckon with.

    The pools come with their declared profiles; those without a sample keep what is known. `spacing_seconds` is the
    window that a sample is the mean of.
    """
    known: dict[str, Speed] = {}
    taught = []
    for pool in pools:
        engine = repr((pool.model, pool.gpu_class, pool.gpus_per_replica, pool.profile))
        speed = speeds.get(pool.key)
        if speed is None or speed.engine != engine:
            speed = begin(engine, pool.profile)
        if (sample := samples.get(pool.key)) is not None:
            speed = learn(speed, sample, spacing_seconds)
        known[pool.key] = speed
        taught.append(replace(pool, profile=speed.used))
    return known, tuple(taught)
