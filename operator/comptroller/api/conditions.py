"""Conditions as kstatus reads them, and every reason the operator gives, with its meaning."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from comptroller.api.fields import ApiModel, Timestamp


class ConditionType(StrEnum):
    """What a condition is about. `Ready`, `Reconciling` and `Stalled` follow kstatus."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    METRICS_AVAILABLE = "MetricsAvailable"
    CAPACITY_AVAILABLE = "CapacityAvailable"
    PAUSED = "Paused"
    FIELDS_HONOURED = "FieldsHonoured"
    BUDGETS_SHARED = "BudgetsShared"


class Reason(StrEnum):
    """Every reason of every condition and decision; the message beside it has the numbers and the remedy."""

    # decisions on a local pool
    DEMAND_SERVED = "DemandServed"  # the wanted replicas are ready and carry their share
    SCALING_UP = "ScalingUp"  # more replicas are wanted than are ready
    SCALING_DOWN = "ScalingDown"  # fewer replicas are wanted than run
    IDLE = "Idle"  # no demand, at the minimum
    STABILISING = "Stabilising"  # fewer would do, but the scale-down delay has not passed
    CAPACITY_SHORT = "CapacityShort"  # wanted replicas wait for a GPU
    HELD = "Held"  # pinned by the annotation comptroller.dev/hold-replicas
    PAUSED = "Paused"  # frozen by the annotation comptroller.dev/paused
    HOLDING_UNKNOWN = "HoldingUnknown"  # a measurement is missing: the last decision stays
    HOLDING_RESTART = "HoldingRestart"  # the operator started less than one full window ago
    # decisions on a hosted pool
    STANDBY = "Standby"  # permitted, and not needed now
    SPILL_WHILE_STARTING = "SpillWhileStarting"  # carries what the starting replicas will carry
    SPILL = "Spill"  # carries load because that is cheaper, or nothing else is left
    # conditions
    CONVERGED = "Converged"
    ROUTED = "Routed"
    WARM = "Warm"
    WARMING = "Warming"
    AVAILABLE = "Available"
    STALE = "Stale"
    UNREACHABLE = "Unreachable"
    NO_DATA = "NoData"
    NAME_TAKEN = "NameTaken"
    INVALID = "Invalid"
    UNKNOWN_POOL = "UnknownPool"
    UNKNOWN_GPU_CLASS = "UnknownGpuClass"
    MISSING_PRICE = "MissingPrice"
    NO_PERMITTED_BACKEND = "NoPermittedBackend"
    UNREACHABLE_PASS_RATE = "UnreachablePassRate"  # noqa: S105 - a word, not a password
    ESCAPES_PERIMETER = "EscapesPerimeter"  # the name of a local pool leads elsewhere than to its pods
    AUDIT_REFUSED = "AuditRefused"
    COUNTED_APART = "CountedApart"  # each router process counts a budget for itself
    NOT_HONOURED = "NotHonoured"
    ALL_HONOURED = "AllHonoured"
    ROUTER_STARTING = "RouterStarting"
    WARMUP_FAILED = "WarmupFailed"
    REFUSED = "Refused"  # the API server refuses a child: a quota, an admission rule, an invalid field


class Condition(ApiModel):
    """One condition of `status.conditions`, a list-map by type."""

    type: str = Field(min_length=1, max_length=316, description="What the condition is about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(min_length=1, max_length=1024, description="One word why, in CamelCase.")
    message: str = Field(default="", max_length=32768, description="What and why, with numbers and the remedy.")
    last_transition_time: Timestamp = Field(description="When the status last changed.")
    observed_generation: int = Field(description="The generation of the spec that this condition speaks of.")
