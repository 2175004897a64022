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

from comptroller.sim.baselines.horizontal import TOLERANCE, desired_replicas
from comptroller.sim.baselines.mean_demand import History
from comptroller.sim.baselines.scaled_pools import ScaledPools, batch_at_capacity, measured
from comptroller.sim.policy import Orders, View


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


class HpaConcurrency:
    """One HPA per pool."""

    name = "hpa-concurrency"

    def __init__(self, parameters: HpaConcurrencyParameters | None = None) -> None:
        self.parameters = parameters or HpaConcurrencyParameters()
        self._pools = ScaledPools(self.parameters, self.parameters.down_seconds)

    def observe_history(self, history: History) -> None:
        """For the ceilings."""
        self._pools.observe_history(history)

    def decide(self, view: View) -> Orders:
        """Each pool by its own requests in flight."""
        snapshot, problem = self._pools.begin(view)
        for pool in snapshot.local_pools:
            if (signal := measured(view.signals, pool.key)) is None:
                continue
            target = max(1.0, self.parameters.target * batch_at_capacity(problem, pool.key, self._pools.plans))
            total, current = signal.in_flight + signal.waiting, self._pools.wanted[pool.key]
            wanted = desired_replicas(current, total, target, self.parameters.tolerance)
            self._pools.recommend(pool, view.at_seconds, wanted)
        return self._pools.orders(snapshot, problem)
