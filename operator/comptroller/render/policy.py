"""All children of one RoutingPolicy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.settings import Settings
from comptroller.render.router.plan import RouterPlan


def policy_children(
    plans: Sequence[RouterPlan],
    spec: RoutingPolicySpec,
    owner: Mapping[str, Any],
    settings: Settings,
) -> list[dict[str, Any]]:
    """Every object that a policy owns: per plan a ConfigMap, Deployment, Service, PodDisruptionBudget, NetworkPolicy.

    `plans` come from `render.router.build.build_plans`. Raises `RenderError` with the field path.
    """
    raise NotImplementedError
