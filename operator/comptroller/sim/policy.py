"""What a policy sees and what it orders: the same for the programme and for everything it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from comptroller.allocation.decision import RoutePlan
from comptroller.allocation.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class PoolSignal:
    """What the engines of a local pool show, averaged over the rate window: what autoscalers scale on."""

    in_flight: float  # requests that run, over all replicas
    waiting: float  # requests that wait in the engines' queues
    requests_per_second: float  # completions
    iteration_ms: float  # mean time between tokens; 0 when idle
    batch: float  # mean requests in one replica's batch
    input_tokens: float  # mean of the requests that it answered
    output_tokens: float
    met_batch: float = 0.0  # the batch that a request meets: replicas and moments count by their requests
    shape: tuple[float, float] | None = None  # tokens in and out of the request that loads an iteration as the mix does


@dataclass(frozen=True, slots=True)
class View:
    """One tick. The snapshot is the one that the operator would have gathered; nothing in it is foreknowledge.

    `truth` is only filled for the policy that is told the future: requests/s of each route over the seconds that
    a replica started now would first serve.
    """

    at_seconds: float
    snapshot: Snapshot
    signals: Mapping[str, PoolSignal]  # by pool, namespace/name
    truth: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Orders:
    """What shall be: replicas of the local pools, the way of each route, and how full a replica may be."""

    replicas: Mapping[str, int]
    routes: Mapping[str, RoutePlan]
    max_concurrency: Mapping[str, int] = field(default_factory=dict)  # requests in flight per replica of a pool


class Policy(Protocol):
    """One way to run a fleet. It may keep a memory of its own; one instance lives for one run."""

    name: str

    def observe_history(self, history: Mapping[str, tuple[tuple[float, float], ...]]) -> None:
        """Takes in what a Prometheus still knows: by route, (seconds, requests/s), a sample a minute, oldest first."""

    def decide(self, view: View) -> Orders:
        """Orders for the time until the next tick."""
