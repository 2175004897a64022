"""All children of one RoutingPolicy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.settings import Settings
from comptroller.render.router.litellm import litellm_children
from comptroller.render.router.plan import RouterPlan

RENDERERS: Mapping[str, Callable[..., list[dict[str, Any]]]] = {"litellm": litellm_children}
"""`spec.router.type` -> what turns a neutral plan into that router's objects."""


def policy_children(
    plans: Sequence[RouterPlan],
    spec: RoutingPolicySpec,
    owner: Mapping[str, Any],
    settings: Settings,
) -> list[dict[str, Any]]:
    """Every object that a policy owns: per plan ConfigMaps, Deployment, Service, PodDisruptionBudget, and for the
    restricted router a NetworkPolicy.

    `plans` come from `render.router.build.build_plans`.
    """
    render = RENDERERS[spec.router.type]
    return [one for plan in plans for one in render(plan, spec, owner, settings)]
