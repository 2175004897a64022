"""What the process knows beyond the cluster: specs as last understood, the newest decision, what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import Memory, Snapshot
from comptroller.allocation.validation import Stall
from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.economics.prices import HostedPrice
from comptroller.economics.prompt_cache import Choice
from comptroller.learning.demand import DemandLearner
from comptroller.learning.demand_skill import Skill
from comptroller.learning.speed import Speed
from comptroller.learning.startup import Starts
from comptroller.observe.belief import Beliefs
from comptroller.observe.measurements import Measurements
from comptroller.observe.replicas import PoolReplicas
from comptroller.runtime.judgements import Judgements
from comptroller.runtime.texts import Texts

PAUSED_ANNOTATION = "comptroller.dev/paused"
HOLD_ANNOTATION = "comptroller.dev/hold-replicas"

Wish: TypeAlias = tuple[int, str | None, str | None]
"""What a user asks of an object: the generation of its spec, and the two annotations that steer it."""


def wish_of(item: Mapping[str, Any]) -> Wish:
    """What the user asks for, of a live object."""
    metadata = item["metadata"]
    annotations = metadata.get("annotations") or {}
    return metadata.get("generation", 0), annotations.get(PAUSED_ANNOTATION), annotations.get(HOLD_ANNOTATION)


@dataclass(frozen=True, slots=True)
class Specs:
    """Every spec that can be read, keyed namespace/name, and why the others cannot be acted upon."""

    pools: Mapping[str, ModelPoolSpec] = field(default_factory=dict)
    policies: Mapping[str, RoutingPolicySpec] = field(default_factory=dict)
    warmups: Mapping[str, CacheWarmupSpec] = field(default_factory=dict)
    stalls: Mapping[tuple[str, str], tuple[Stall, ...]] = field(default_factory=dict)  # (kind, key) -> why
    prices: Mapping[str, HostedPrice] = field(default_factory=dict)  # hosted pools
    asked: Mapping[tuple[str, str], Wish] = field(default_factory=dict)  # (kind, key) -> what was read

    def stalled(self, kind: str, key: str) -> tuple[Stall, ...]:
        """Why an object cannot be acted upon; empty when it can."""
        return self.stalls.get((kind, key), ())

    def current(self, live: Mapping[str, Any]) -> bool:
        """Whether this is what the user asks for now. A status for an older generation would tell of the new one what
        was decided about the old."""
        metadata = live["metadata"]
        return self.asked.get((live["kind"], f"{metadata['namespace']}/{metadata['name']}")) == wish_of(live)


@dataclass(frozen=True, slots=True)
class Picture:
    """One round of the loop: what was seen and what was decided."""

    at_seconds: float
    specs: Specs
    measured: Measurements
    replicas: Mapping[str, PoolReplicas]
    snapshot: Snapshot
    decision: Decision
    number: int = 0
    caches: Mapping[tuple[str, str], Choice] = field(default_factory=dict)  # (route, hosted pool) -> life of prefixes
    forecasts: Mapping[str, Skill] = field(default_factory=dict)  # route -> how its demand is forecast


@dataclass(slots=True)
class State:
    """The mutable rest. Only the loop writes it."""

    last_round_seconds: float  # when the loop last came round, whatever came of it
    picture: Picture | None = None
    memory: Memory = field(default_factory=Memory)
    beliefs: Beliefs = field(default_factory=Beliefs)
    demand: DemandLearner = field(default_factory=DemandLearner)
    last_good_policies: dict[str, RoutingPolicySpec] = field(default_factory=dict)
    desired_since_seconds: dict[str, float] = field(default_factory=dict)
    desired_before: dict[str, int] = field(default_factory=dict)  # what was wanted before that
    starts: dict[str, Starts] = field(default_factory=dict)  # local pool -> how long its newest replicas took to start
    judgements: Judgements = field(default_factory=Judgements)
    caches: dict[tuple[str, str], Choice] = field(default_factory=dict)  # (route, hosted pool) -> life of prefixes
    speeds: dict[str, Speed] = field(default_factory=dict)  # local pool -> what its engines taught
    first_data_seconds: float | None = None  # when the routers' metrics were first understood
    texts: Texts = field(default_factory=Texts)  # what prefixes refer to
    history: dict[str, list[dict[str, str]]] = field(default_factory=dict)  # policy -> last decisions, newest first
