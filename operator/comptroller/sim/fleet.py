"""Replicas and the GPUs that they hold: starting, serving, leaving, and what is lost with a node.

A replica that is ordered waits until its GPUs are free, then takes its pool's start-up time. Fewer replicas: those that
still wait or start are cancelled first, the newest first; a serving one leaves the Service at once, finishes what it
has, and holds its GPUs for half a minute more. Nodes are not packed: replicas fit where the class has enough GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from comptroller.sim.world import Ints, World

LEAVING_SECONDS = 30.0


@dataclass(slots=True)
class Replica:
    """One that does not serve yet. `ready_seconds` is None while it waits for GPUs."""

    pool: int
    created_seconds: float
    ready_seconds: float | None = None


@dataclass(slots=True)
class Fleet:
    """The replicas of all local pools, in the order of `World.local`."""

    world: World
    serving: Ints
    wanted: Ints
    coming: list[Replica] = field(default_factory=list)  # in the order of their creation
    leaving: list[tuple[float, int]] = field(default_factory=list)  # (until, pool)

    @classmethod
    def with_minimum(cls, world: World) -> Fleet:
        """Every pool at its least, already serving, as far as the GPUs go."""
        fleet = cls(world, np.zeros(len(world.local), dtype=np.int64), np.zeros(len(world.local), dtype=np.int64))
        for index, pool in enumerate(world.local):
            fleet.wanted[index] = pool.minimum
            while fleet.serving[index] < pool.minimum and fleet._free(index) >= pool.gpus_per_replica:
                fleet.serving[index] += 1
        return fleet

    def order(self, wanted: Sequence[int], now_seconds: float) -> Ints:
        """Makes it so. Returns how many serving replicas of each pool leave now."""
        gone = np.zeros(len(self.serving), dtype=np.int64)
        for index, count in enumerate(wanted):
            self.wanted[index] = count
            mine = [one for one in self.coming if one.pool == index]
            surplus = int(self.serving[index]) + len(mine) - count
            for _ in range(-surplus):
                self.coming.append(Replica(index, now_seconds))
            if surplus > 0:
                cancelled = sorted(mine, key=lambda one: (one.ready_seconds is not None, -one.created_seconds))
                for one in cancelled[:surplus]:
                    self.coming.remove(one)
                gone[index] = max(0, surplus - len(mine))
        self.serving -= gone
        for leaver in np.flatnonzero(gone):
            index = int(leaver)
            self.leaving += [(now_seconds + LEAVING_SECONDS, index)] * int(gone[index])
        return gone

    def advance(self, now_seconds: float) -> None:
        """What has become ready serves; what has left frees its GPUs; what waits takes them."""
        if self.leaving:
            self.leaving = [one for one in self.leaving if one[0] > now_seconds]
        if not self.coming:
            return
        for one in self.coming:
            if one.ready_seconds is not None and one.ready_seconds <= now_seconds:
                self.serving[one.pool] += 1
        self.coming = [one for one in self.coming if one.ready_seconds is None or one.ready_seconds > now_seconds]
        for one in self.coming:
            pool = self.world.local[one.pool]
            if one.ready_seconds is None and self._free(one.pool) >= pool.gpus_per_replica:
                one.ready_seconds = now_seconds + pool.startup_seconds

    def change(self, world: World, random: np.random.Generator) -> Ints:
        """The world changed. Where GPUs are gone, those in use among them take replicas with them. Returns how many
        serving replicas of each pool broke; they are ordered anew."""
        before, self.world = {(g.gpu_class, g.site): g.count for g in self.world.gpus}, world
        broken = np.zeros(len(self.serving), dtype=np.int64)
        for group in world.gpus:
            key = (group.gpu_class, group.site)
            lost = before[key] - group.count
            used = sum(self._held(i) for i, p in enumerate(world.local) if (p.gpu_class, p.site) == key)
            hit = max(round(lost * used / before[key]) if lost > 0 and before[key] else 0, used - group.count)
            while hit > 0:
                members = [i for i, p in enumerate(world.local) if (p.gpu_class, p.site) == key and self._holders(i)]
                if not members:
                    break
                weights = np.array([self._held(i) for i in members], dtype=np.float64)
                index = int(members[int(random.choice(len(members), p=weights / weights.sum()))])
                hit -= world.local[index].gpus_per_replica
                broken[index] += self._break(index)
        self._replace(broken)
        return broken

    def _break(self, index: int) -> int:
        """Takes one holder of GPUs away. Returns 1 if it served."""
        if self.serving[index] > 0:
            self.serving[index] -= 1
            return 1
        for one in self.coming:
            if one.pool == index and one.ready_seconds is not None:
                one.ready_seconds = None  # its pod waits for another node
                return 0
        self.leaving.remove(next(one for one in self.leaving if one[1] == index))
        return 0

    def _replace(self, broken: Ints) -> None:
        for index in np.flatnonzero(broken):
            self.coming += [Replica(int(index), -1e18) for _ in range(int(broken[index]))]

    def existing(self) -> Ints:
        """Replicas that draw power: serving, starting with GPUs, and leaving."""
        count = self.serving.copy()
        for one in self.coming:
            count[one.pool] += one.ready_seconds is not None
        for _, index in self.leaving:
            count[index] += 1
        return count

    def _holders(self, index: int) -> int:
        starting = sum(1 for one in self.coming if one.pool == index and one.ready_seconds is not None)
        return int(self.serving[index]) + starting + sum(1 for _, pool in self.leaving if pool == index)

    def _held(self, index: int) -> int:
        return self._holders(index) * self.world.local[index].gpus_per_replica

    def _free(self, index: int) -> int:
        mine = self.world.local[index]
        if mine.gpus_per_replica == 0:
            return 0
        key = (mine.gpu_class, mine.site)
        there = sum(group.count for group in self.world.gpus if (group.gpu_class, group.site) == key)
        return there - sum(self._held(i) for i, p in enumerate(self.world.local) if (p.gpu_class, p.site) == key)
