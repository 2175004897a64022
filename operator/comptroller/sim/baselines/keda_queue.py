"""KEDA on queue depth: `vllm:num_requests_waiting`, the setup of vLLM's own production-stack.

vllm-project/production-stack, docs/source/use_cases/autoscaling-keda.rst (chart 0.1.9): a Prometheus trigger on
`vllm:num_requests_waiting` with threshold 5, polled every 15 s, `cooldownPeriod` 360 s, and for scale to zero a second
trigger that keeps one replica while requests come in. KEDA (kedacore/keda, pkg/scaling/executor/scale_scaledobjects.go)
turns this into an HPA with the average value per replica (`horizontal.py`), whose stabilisation holds scale-downs.

A queue forms in the engines only when all their places are taken, which is beyond any objective per output token. With
the operator's routing, which stops at the objective's capacity, nothing would ever wait, and this autoscaler would see
nothing; so it has the gateway's list here, and the gateway's limit (`fullness`) decides how much may wait before the
rest goes out. The queue is measured over the rate window.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from comptroller.allocation.problem import Problem
from comptroller.allocation.snapshot import LocalPool
from comptroller.sim.baselines.autoscaler import PoolAutoscaler
from comptroller.sim.baselines.horizontal import TOLERANCE, desired_replicas
from comptroller.sim.baselines.scaled_pools import Pace
from comptroller.sim.policy import PoolSignal


@dataclass(frozen=True, slots=True)
class KedaQueueParameters:
    """`threshold`: requests that wait, per replica. `down_part`: the part of the replicas that may go in a minute, a
    scale-down policy of type Percent; the same page suggests a half."""

    threshold: float = 5.0
    tolerance: float = TOLERANCE
    down_seconds: float = 360.0
    down_part: float = 1.0
    minimum: int = 1
    dedicated: bool = False
    ceiling: float = inf
    fullness: float = 3.0


class KedaQueue(PoolAutoscaler[KedaQueueParameters]):
    """One ScaledObject per pool."""

    name = "keda-queue"
    default = KedaQueueParameters()

    def pace(self) -> Pace:
        """With a policy for scale-downs."""
        return Pace(self.parameters.down_seconds, down_part=self.parameters.down_part)

    def wanted(self, pool: LocalPool, signal: PoolSignal, problem: Problem) -> int:
        """By its own queue; one replica stays while anything runs or waits."""
        current = self.pools.wanted[pool.key]
        wanted = desired_replicas(current, signal.waiting, self.parameters.threshold, self.parameters.tolerance)
        active = signal.waiting > 0.0 or signal.in_flight > 0.0
        return max(wanted, int(active))
