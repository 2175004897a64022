"""KubeAI: the mean of active requests over a time window, over `targetRequests`.

substratusai/kubeai, internal/modelautoscaler/autoscaler.go (read at 14fd17f): every `interval` (10 s) the active
requests of a model, as its proxy counts them (running and waiting), enter a simple moving average over `timeWindow`
(10 min), which starts full of zeros; replicas = ceil(average / targetRequests). internal/modelscaler/scaler.go scales
up at once and down only after ceil(scaleDownDelaySeconds / interval) consecutive wishes for fewer, to the last of
them. A Model is one resource profile, so two pools of one model are two Models, and both hold at least `minReplicas`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from math import inf

from comptroller.allocation.snapshot import LocalPool
from comptroller.sim.baselines.mean_demand import History
from comptroller.sim.baselines.scaled_pools import ScaledPools, batch_at_capacity, measured
from comptroller.sim.policy import Orders, View


@dataclass(frozen=True, slots=True)
class KubeAiParameters:
    """`target`: `targetRequests` in times the batch that a replica holds at its capacity."""

    target: float = 0.7
    window_seconds: float = 600.0
    down_seconds: float = 30.0
    minimum: int = 1
    dedicated: bool = False
    ceiling: float = inf
    fullness: float = 0.0


class KubeAi:
    """One Model per pool."""

    name = "kubeai"

    def __init__(self, parameters: KubeAiParameters | None = None) -> None:
        self.parameters = parameters or KubeAiParameters()
        self._pools = ScaledPools(self.parameters, 0.0)
        self._active: dict[str, deque[float]] = {}
        self._fewer: dict[str, int] = {}

    def observe_history(self, history: History) -> None:
        """For the ceilings."""
        self._pools.observe_history(history)

    def decide(self, view: View) -> Orders:
        """Each pool by the moving average of its active requests."""
        snapshot, problem = self._pools.begin(view)
        for pool in snapshot.local_pools:
            if (signal := measured(view.signals, pool.key)) is None:
                continue
            ticks = max(1, math.ceil(self.parameters.window_seconds / self._pools.elapsed_seconds))
            seen = self._active.setdefault(pool.key, deque([0.0] * ticks))
            seen.append(signal.in_flight + signal.waiting)
            while len(seen) > ticks:
                seen.popleft()
            target = max(1.0, self.parameters.target * batch_at_capacity(problem, pool.key, self._pools.plans))
            wanted = math.ceil(sum(seen) / ticks / target - 1e-9)
            self._pools.recommend(pool, view.at_seconds, self._after_delay(pool, wanted))
        return self._pools.orders(snapshot, problem)

    def _after_delay(self, pool: LocalPool, wanted: int) -> int:
        """The current count until fewer have been wanted often enough in a row."""
        low, high = self._pools.range_of(pool)
        current, bounded = self._pools.wanted[pool.key], min(max(wanted, low), high)
        if bounded >= current:
            self._fewer[pool.key] = 0
            return bounded
        if self._fewer.get(pool.key, 0) < math.ceil(self.parameters.down_seconds / self._pools.elapsed_seconds):
            self._fewer[pool.key] = self._fewer.get(pool.key, 0) + 1
            return current
        return bounded
