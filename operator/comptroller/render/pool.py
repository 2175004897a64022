"""All children of one ModelPool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.settings import Settings
from comptroller.render.deployment import deployment
from comptroller.render.errors import RenderError
from comptroller.render.labels import POOL, engine_selector, labels
from comptroller.render.names import child_name
from comptroller.render.network_policy import pool_network_policy
from comptroller.render.pod_disruption_budget import pod_disruption_budget
from comptroller.render.service import REPLICAS_SUFFIX, replicas_service, service


def pool_children(
    name: str,
    namespace: str,
    spec: ModelPoolSpec,
    owner: Mapping[str, Any],
    settings: Settings,
    *,
    replicas: int,
    gated: bool,
) -> list[dict[str, Any]]:
    """Every object that a pool owns, in the order in which they are applied; none for a hosted pool.

    `owner` is `render.owner.owner_reference(live_object)`. `replicas` is what the decision wants. `gated` adds the
    readiness gate `comptroller.dev/cache-warm`, which a CacheWarmup with an enabled gate asks for.
    Raises `RenderError` with the field path.
    """
    local = spec.local
    if local is None:
        return []
    gpu_class = settings.gpu_classes.get(local.accelerator.class_)
    if gpu_class is None:
        known = ", ".join(sorted(settings.gpu_classes))
        raise RenderError(
            "spec.local.accelerator.class", f"{local.accelerator.class_} is not a GPU class of the settings: {known}"
        )
    child = child_name(name)
    ours = labels(local.engine.name.value, name, "engine", {POOL: name})
    selector, port = engine_selector(name), local.engine.port
    return [
        pool_network_policy(child, namespace, ours, selector, port, owner),
        service(child, namespace, ours, selector, port, owner),
        replicas_service(child_name(name, REPLICAS_SUFFIX), namespace, ours, selector, port, owner),
        pod_disruption_budget(child, namespace, ours, selector, owner),
        deployment(child, namespace, name, spec, gpu_class, ours, owner, replicas=replicas, gated=gated),
    ]


def pool_address(name: str, namespace: str, port: int) -> str:
    """Where routers reach a pool: the base URL of its OpenAI API."""
    return f"http://{child_name(name)}.{namespace}.svc.cluster.local:{port}/v1"
