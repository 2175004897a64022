"""PodDisruptionBudget: a drained node takes one replica at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comptroller.render.child import child


def pod_disruption_budget(
    name: str, namespace: str, labels: Mapping[str, str], selector: Mapping[str, str], owner: Mapping[str, Any]
) -> dict[str, Any]:
    """At most one pod away by choice. Not `minAvailable: 1`: with one replica that would block a node's drain for ever.
    Pods that are not healthy may always be evicted."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": dict(selector)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return child("policy/v1", "PodDisruptionBudget", name, namespace, labels, owner, spec=spec)
