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

from comptroller.sim.baselines.horizontal import TOLERANCE, desired_replicas
from comptroller.sim.baselines.mean_demand import History
from comptroller.sim.baselines.scaled_pools import ScaledPools, measured
from comptroller.sim.policy import Orders, View


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


class KedaQueue:
    """One ScaledObject per pool."""

    name = "keda-queue"

    def __init__(self, parameters: KedaQueueParameters | None = None) -> None:
        self.parameters = parameters or KedaQueueParameters()
        self._pools = ScaledPools(self.parameters, self.parameters.down_seconds)

    def observe_history(self, history: History) -> None:
        """For the ceilings."""
        self._pools.observe_history(history)

    def decide(self, view: View) -> Orders:
        """Each pool by its own queue; one replica stays while anything runs or waits."""
        snapshot, problem = self._pools.begin(view)
        for pool in snapshot.local_pools:
            if (signal := measured(view.signals, pool.key)) is None:
                continue
            current = self._pools.wanted[pool.key]
            wanted = desired_replicas(current, signal.waiting, self.parameters.threshold, self.parameters.tolerance)
            active = signal.waiting > 0.0 or signal.in_flight > 0.0
            self._pools.recommend(pool, view.at_seconds, max(wanted, int(active)), self.parameters.down_part)
        return self._pools.orders(snapshot, problem)
