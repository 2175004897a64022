"""Keeps the newest starts of every pool, so that one without replicas still knows how long a start takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from comptroller.learning.startup import Starts, after
from comptroller.observe.replicas import PoolReplicas


def starts_after(
    before: Mapping[str, Starts], pools: Iterable[str], replicas: Mapping[str, PoolReplicas]
) -> dict[str, Starts]:
    """What is known of each pool's starts after this round. A pool that went is forgotten."""
    return {
        key: after(before.get(key, Starts()), replicas.get(key, PoolReplicas()).starts())
        for key in pools
        if key in before or key in replicas
    }
