"""Why requests were bought outside although a pool inside may answer them: what a run's hosted dollars are made of.

    | reason          | what was so in the five seconds in which they were bought                                      |
    | nobody inside   | no pool inside may answer the route                                                            |
    | room inside     | a pool of the route had room: the plan or a router's limit sent them out                       |
    | starting        | its pools were full, and replicas of them were starting or leaving                             |
    | too few         | its pools were full, and GPUs for one more replica were free                                   |
    | no GPU          | its pools were full, and all GPUs taken, by them or by others                                  |

A pool is full from `FULL` of its load or of its places on: in the rest a burst of five seconds finds no room either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from comptroller.sim.engine import Engine, Stepped
from comptroller.sim.fleet import Fleet
from comptroller.sim.world import Floats, Ints, World

FULL = 0.85
REASONS = ("nobody inside", "room inside", "starting", "too few", "no GPU")


@dataclass(slots=True)
class HostedReasons:
    """Sums up one run, in US dollars."""

    pools_of: tuple[tuple[int, ...], ...]  # [route] columns of the local pools that may answer it
    usd: Floats  # [reason]

    @classmethod
    def of(cls, world: World) -> HostedReasons:
        """Nothing has been bought yet."""
        pools = tuple(
            tuple(column for column, pool in enumerate(world.local) if pool.key in route.permitted)
            for route in world.routes
        )
        return cls(pools, np.zeros(len(REASONS)))

    def note(self, usd: Floats, stepped: Stepped, engine: Engine, fleet: Fleet) -> None:
        """Takes in what each route has bought in one step."""
        if not usd.any():
            return
        serving, existing = fleet.serving, fleet.existing()
        replicas = np.maximum(serving, 1)
        in_use = np.maximum(stepped.load, stepped.mean_in_flight.sum(axis=0) / engine.speeds.places) / replicas
        room, starting = (serving > 0) & (in_use < FULL), existing > serving
        may_grow = _may_grow(fleet, existing)
        for row in np.flatnonzero(usd):
            pools = list(self.pools_of[row])
            if not pools:
                reason = 0
            elif room[pools].any():
                reason = 1
            elif starting[pools].any():
                reason = 2
            else:
                reason = 3 if any(may_grow[pool] for pool in pools) else 4
            self.usd[reason] += usd[row]

    def parts(self) -> Mapping[str, float]:
        """By reason."""
        return {f"hosted: {reason}": float(usd) for reason, usd in zip(REASONS, self.usd, strict=True)}


def _may_grow(fleet: Fleet, existing: Ints) -> list[bool]:
    """By pool: whether GPUs for one more replica are free."""
    world = fleet.world
    free = {(group.gpu_class, group.site): group.count for group in world.gpus}
    for pool, count in zip(world.local, existing.tolist(), strict=True):
        if pool.gpus_per_replica:
            free[pool.gpu_class, pool.site] -= count * pool.gpus_per_replica
    return [
        count < pool.maximum and free.get((pool.gpu_class, pool.site), 0) >= pool.gpus_per_replica
        for pool, count in zip(world.local, existing.tolist(), strict=True)
    ]
