"""HPA, or KEDA's HPA, on requests in flight per replica.

What Kubernetes does with a custom metric (see `horizontal.py` for where): ceil(total in flight / target), a tolerance
of a tenth, 300 s of stabilisation before a scale-down. The metric is what vLLM shows as `vllm:num_requests_running`
plus `vllm:num_requests_waiting`, or what a gateway counts; KServe (kserve/website, docs/model-serving/
generative-inference/autoscaling) and llm-d's guides scale so. The target is a part of the batch that a replica holds at
its objective, which people find by a load test. Each pool has its own HPA and sees its own requests only.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from comptroller.allocation.problem import Problem
from comptroller.allocation.snapshot import LocalPool
from comptroller.sim.baselines.autoscaler import PoolAutoscaler
from comptroller.sim.baselines.horizontal import TOLERANCE, desired_replicas
from comptroller.sim.baselines.scaled_pools import batch_at_capacity
from comptroller.sim.policy import PoolSignal


@dataclass(frozen=True, slots=True)
class HpaConcurrencyParameters:
    """`target`: requests in flight per replica, in times the batch at capacity."""

    target: float = 0.7
    tolerance: float = TOLERANCE
    down_seconds: float = 300.0
    minimum: int = 1
    dedicated: bool = False
    ceiling: float = inf
    fullness: float = 0.0


class HpaConcurrency(PoolAutoscaler[HpaConcurrencyParameters]):
    """One HPA per pool."""

    name = "hpa-concurrency"
    default = HpaConcurrencyParameters()

    def wanted(self, pool: LocalPool, signal: PoolSignal, problem: Problem) -> int:
        """By its own requests in flight."""
        target = max(1.0, self.parameters.target * batch_at_capacity(problem, pool.key, self.pools.plans))
        total, current = signal.in_flight + signal.waiting, self.pools.wanted[pool.key]
        return desired_replicas(current, total, target, self.parameters.tolerance)
