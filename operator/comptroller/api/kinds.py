"""The three kinds: their names, their models and the columns that `kubectl get` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from comptroller.api.cachewarmup import CacheWarmupSpec, CacheWarmupStatus
from comptroller.api.fields import GROUP, OBJECT_NAME_LENGTH, OWN_NAME_PATTERN, ApiModel, Rule
from comptroller.api.modelpool import ModelPoolSpec, ModelPoolStatus
from comptroller.api.routingpolicy import RoutingPolicySpec, RoutingPolicyStatus


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; `wide` ones appear with `-o wide`."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_READY = Column("Ready", _condition("Ready", "status"), "Whether it does what its spec asks for.")
_MESSAGE = Column("Message", _condition("Ready", "message"), "What is the case and what to do.", wide=True)
_AGE = Column("Age", ".metadata.creationTimestamp", "Time since it was created.", type="date")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of the API."""

    kind: str
    plural: str
    short_name: str
    spec: type[ApiModel]
    status: type[ApiModel]
    summary: str
    columns: tuple[Column, ...]

    @property
    def singular(self) -> str:
        """The name that `kubectl` takes."""
        return self.kind.lower()

    @property
    def crd_name(self) -> str:
        """The name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"

    @property
    def file_name(self) -> str:
        """The file of the CustomResourceDefinition."""
        return f"{GROUP}_{self.plural}.yaml"


NAME_RULE = Rule(
    f"self.metadata.name.matches('{OWN_NAME_PATTERN}')",
    f"metadata.name must begin with a letter and have at most {OBJECT_NAME_LENGTH} lower-case letters, digits and "
    "dashes: Services and Deployments are named after it",
)
"""Holds for the names of all kinds."""

MODEL_POOL = Kind(
    kind="ModelPool",
    plural="modelpools",
    short_name="mp",
    spec=ModelPoolSpec,
    status=ModelPoolStatus,
    summary="ModelPool is something that can answer requests, on GPUs or at a hosted API, and what it costs.",
    columns=(
        Column("Model", ".spec.model.name", "Name of the model."),
        Column("Class", ".status.modelClass", "GPU class, or hosted."),
        Column("Want", ".status.summary.want", "Replicas that the decision wants."),
        Column("Ready", ".status.summary.ready", "Replicas that take traffic."),
        Column("Warm", ".status.summary.warm", "Ready replicas whose declared prefixes are cached."),
        Column("Util", ".status.summary.utilisation", "Load against capacity."),
        Column("$/M-Tok", ".status.summary.usdPerMillionTokens", "US dollars per million tokens, marginal basis."),
        _READY,
        Column("Why", ".status.allocation.reason", "Reason of the newest decision."),
        Column("Jurisdiction", ".spec.location.jurisdiction", "Whose law reaches the data.", wide=True),
        Column("Perimeter", ".spec.location.perimeter", "How far the data goes.", wide=True),
        Column("$/h", ".status.economics.usdPerHour", "US dollars per hour now, marginal basis.", wide=True),
        Column("Since", ".status.allocation.since", "When the wanted count last changed.", type="date", wide=True),
        _MESSAGE,
        _AGE,
    ),
)

ROUTING_POLICY = Kind(
    kind="RoutingPolicy",
    plural="routingpolicies",
    short_name="rp",
    spec=RoutingPolicySpec,
    status=RoutingPolicyStatus,
    summary="RoutingPolicy says who asks for what, under which rules, and what may answer.",
    columns=(
        Column("Routes", ".status.totals.routes", "Number of routes.", type="integer"),
        Column("RPS", ".status.totals.requestsPerSecond", "Requests per second."),
        Column("Inside", ".status.totals.inside", "Share answered inside."),
        Column("Spill", ".status.totals.spill", "Share that hosted APIs answer."),
        Column("SLO", ".status.totals.slo", "Share of requests that meet their objective."),
        Column("$/h", ".status.totals.usdPerHour", "US dollars per hour, marginal basis."),
        Column("$/Task", ".status.totals.usdPerTask", "US dollars per solved task."),
        Column("Saved", ".status.totals.saved", "Share saved against the baseline."),
        Column("Budget", ".status.totals.budget", "Share of the budget that is spent."),
        _READY,
        Column("Endpoint", ".status.endpoints[0]", "Where clients ask.", wide=True),
        _MESSAGE,
        _AGE,
    ),
)

CACHE_WARMUP = Kind(
    kind="CacheWarmup",
    plural="cachewarmups",
    short_name="cw",
    spec=CacheWarmupSpec,
    status=CacheWarmupStatus,
    summary="CacheWarmup says which prefixes must be in the replicas' caches, where and when.",
    columns=(
        Column("Pools", ".status.pools", "Number of pools.", type="integer"),
        Column("Warm", ".status.replicas.summary", "Warm and all replicas."),
        Column("Hit", ".status.hit", "Worst hit ratio over the prefixes."),
        Column("Cold", ".status.cold", "Slowest time to first token, cold."),
        Column("Warm", ".status.warm", "The same, warm."),
        Column("Speedup", ".status.speedup", "Cold divided by warm."),
        Column("Next", ".status.next", "When the next scheduled run begins."),
        _READY,
        Column("Last run", ".status.lastRun", "When the last run ended.", type="date", wide=True),
        _MESSAGE,
        _AGE,
    ),
)

KINDS: Mapping[str, Kind] = {one.kind: one for one in (MODEL_POOL, ROUTING_POLICY, CACHE_WARMUP)}
"""By the name of the kind."""
