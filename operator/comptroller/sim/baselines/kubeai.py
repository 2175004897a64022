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

from comptroller.allocation.problem import Problem
from comptroller.allocation.snapshot import LocalPool
from comptroller.sim.baselines.autoscaler import PoolAutoscaler
from comptroller.sim.baselines.scaled_pools import Pace, batch_at_capacity
from comptroller.sim.policy import PoolSignal


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


class KubeAi(PoolAutoscaler[KubeAiParameters]):
    """One Model per pool."""

    name = "kubeai"
    default = KubeAiParameters()

    def __init__(self, parameters: KubeAiParameters | None = None) -> None:
        super().__init__(parameters)
        self._active: dict[str, deque[float]] = {}
        self._fewer: dict[str, int] = {}

    def pace(self) -> Pace:
        """No window: its delay counts wishes (`_after_delay`)."""
        return Pace(0.0)

    def wanted(self, pool: LocalPool, signal: PoolSignal, problem: Problem) -> int:
        """By the moving average of its active requests."""
        ticks = max(1, math.ceil(self.parameters.window_seconds / self.pools.elapsed_seconds))
        seen = self._active.setdefault(pool.key, deque([0.0] * ticks))
        seen.append(signal.in_flight + signal.waiting)
        while len(seen) > ticks:
            seen.popleft()
        target = max(1.0, self.parameters.target * batch_at_capacity(problem, pool.key, self.pools.plans))
        return self._after_delay(pool, math.ceil(sum(seen) / ticks / target - 1e-9))

    def _after_delay(self, pool: LocalPool, wanted: int) -> int:
        """The current count until fewer have been wanted often enough in a row."""
        low, high = self.pools.range_of(pool)
        current, bounded = self.pools.wanted[pool.key], min(max(wanted, low), high)
        if bounded >= current:
            self._fewer[pool.key] = 0
            return bounded
        if self._fewer.get(pool.key, 0) < math.ceil(self.parameters.down_seconds / self.pools.elapsed_seconds):
            self._fewer[pool.key] = self._fewer.get(pool.key, 0) + 1
            return current
        return bounded
