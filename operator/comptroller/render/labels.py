"""Labels by which children are found: Kubernetes' recommended ones and ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from comptroller.api.fields import GROUP
from comptroller.render.names import label_value

Component = Literal["engine", "router", "warmup"]

POOL = f"{GROUP}/pool"
POLICY = f"{GROUP}/policy"
WARMUP = f"{GROUP}/warmup"
RUN = f"{GROUP}/run"
ROUTER = f"{GROUP}/router"
CACHE_WARM_GATE = f"{GROUP}/cache-warm"
"""Readiness gate of a gated pool's pods, and the type of the pod condition that the operator sets."""

MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"


def labels(name: str, instance: str, component: Component, owned: Mapping[str, str]) -> dict[str, str]:
    """All labels of a child. `name` is what it is (vllm, litellm), `instance` whose it is, `owned` our own labels."""
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/instance": label_value(instance),
        COMPONENT: component,
        MANAGED_BY: "comptroller",
    } | {key: label_value(value) for key, value in owned.items()}


def engine_selector(pool: str) -> dict[str, str]:
    """What selects the pods of a pool."""
    return {COMPONENT: "engine", POOL: label_value(pool)}


def router_selector(router: str) -> dict[str, str]:
    """What selects the pods of one router."""
    return {COMPONENT: "router", ROUTER: label_value(router)}


def with_users(users: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Users' labels, except where they would override ours: selectors and network policies hang on those."""
    return dict(users) | dict(ours)
