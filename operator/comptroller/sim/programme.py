"""This product's own policy: the operator's `decide` with the operator's learning, carried over from tick to tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from comptroller.allocation.decide import decide
from comptroller.allocation.snapshot import Memory, Outlook, Snapshot
from comptroller.learning.demand import DemandLearner
from comptroller.learning.outlook import foreseen
from comptroller.learning.speed import Speed, SpeedSample
from comptroller.learning.speed_fleet import with_learned
from comptroller.sim.policy import Orders, View

WINDOW_SECONDS = 60.0  # that a sample of the engines is the mean of


class Programme:
    """Calls the same functions as the operator."""

    name = "programme"

    def __init__(self) -> None:
        self._memory = Memory()
        self._demand = DemandLearner()
        self.speeds: Mapping[str, Speed] = {}

    def observe_history(self, history: Mapping[str, tuple[tuple[float, float], ...]]) -> None:
        """What the operator asks Prometheus for when it starts."""
        self._demand.load_history(history)

    def decide(self, view: View) -> Orders:
        """The decision on the snapshot, as the operator would make it."""
        self.speeds, pools = with_learned(self.speeds, view.snapshot.local_pools, speed_samples(view), WINDOW_SECONDS)
        snapshot = replace(view.snapshot, local_pools=pools, memory=self._memory)
        rates = {route.key: route.demand.requests_per_second for route in snapshot.routes}
        self._demand.record(view.at_seconds, rates)
        decision = decide(self._foreseen(view, snapshot))
        self._memory = decision.memory
        return Orders(
            replicas={key: target.replicas for key, target in decision.pools.items()},
            routes=decision.routes,
            max_concurrency={key: target.max_concurrency for key, target in decision.pools.items()},
        )

    def _foreseen(self, view: View, snapshot: Snapshot) -> Snapshot:
        return foreseen(self._demand, snapshot)


def speed_samples(view: View) -> dict[str, SpeedSample]:
    """What the engines showed, as the operator reads it."""
    return {
        key: SpeedSample(view.at_seconds, signal.met_batch, signal.iteration_ms, *signal.shape)
        for key, signal in view.signals.items()
        if signal.shape is not None
    }


class LastValue(Programme):
    """The same without any outlook: mean demand with head-room for its measured peak."""

    name = "programme-last-value"

    def _foreseen(self, view: View, snapshot: Snapshot) -> Snapshot:
        return snapshot


class Oracle(Programme):
    """The same, told what will be asked when a replica that starts now serves: the reachable limit."""

    name = "oracle"

    def _foreseen(self, view: View, snapshot: Snapshot) -> Snapshot:
        told = view.truth or {}
        outlook = Outlook((0.5, 0.5), {route: (rate, rate) for route, rate in told.items()})
        return replace(foreseen(self._demand, snapshot), outlook=outlook)
