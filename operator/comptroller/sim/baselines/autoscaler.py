"""What the autoscalers here are made of: a rule of their own, over bounds, windows and routing that all of them get.

`Autoscaler` asks its rule for the whole fleet, `PoolAutoscaler` pool by pool, each of what its own engines show.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from comptroller.allocation.problem import Problem
from comptroller.allocation.snapshot import LocalPool, Snapshot
from comptroller.sim.baselines.mean_demand import History
from comptroller.sim.baselines.scaled_pools import Bounds, Pace, ScaledPools, measured
from comptroller.sim.policy import Orders, PoolSignal, View


class ScalingParameters(Bounds, Protocol):
    """What every autoscaler's parameters have."""

    @property
    def down_seconds(self) -> float:
        """How long fewer replicas must be enough before one goes."""


Parameters = TypeVar("Parameters", bound=ScalingParameters)


class Autoscaler(ABC, Generic[Parameters]):
    """Moves every pool towards what its rule recommends, once a tick."""

    name: str
    default: Parameters
    spill = True  # False: what does not fit waits in the engines

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = self.default if parameters is None else parameters
        self.pools = ScaledPools(self.parameters, self.pace())

    def pace(self) -> Pace:
        """How fast replicas may come and go."""
        return Pace(self.parameters.down_seconds)

    def observe_history(self, history: History) -> None:
        """For the ceilings."""
        self.pools.observe_history(history)

    def decide(self, view: View) -> Orders:
        """The recommendations of this tick, and the routing for the replicas that are wanted then."""
        snapshot, problem = self.pools.begin(view)
        self.recommend(view, snapshot, problem)
        return self.pools.orders(snapshot, problem, spill=self.spill)

    @abstractmethod
    def recommend(self, view: View, snapshot: Snapshot, problem: Problem) -> None:
        """Gives `self.pools` a recommendation for each pool; a pool without one keeps what it has."""


class PoolAutoscaler(Autoscaler[Parameters]):
    """Each pool by its own engines' metrics. A pool without metrics keeps what it has (Kubernetes: "unable to get
    metrics" changes nothing)."""

    def recommend(self, view: View, snapshot: Snapshot, problem: Problem) -> None:
        """Asks the rule about each pool that shows something."""
        for pool in snapshot.local_pools:
            if (signal := measured(view.signals, pool.key)) is not None:
                self.pools.recommend(pool, view.at_seconds, self.wanted(pool, signal, problem))

    @abstractmethod
    def wanted(self, pool: LocalPool, signal: PoolSignal, problem: Problem) -> int:
        """The replicas that the rule wants for a pool."""
