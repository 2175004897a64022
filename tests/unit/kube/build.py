"""Builders of objects as the API server sends them: the least that makes one, with names for what a test is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from comptroller.kube.resources import BY_KIND, KubeDict

NAMESPACE = "ai"
MANAGED = {"app.kubernetes.io/managed-by": "comptroller"}
BORN = "2026-11-22T06:00:00Z"
BORN_SECONDS = 1795327200.0


def at(seconds: float) -> str:
    """The timestamp this long after `BORN`."""
    return datetime.fromtimestamp(BORN_SECONDS + int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def item(kind: str, name: str, version: int = 1, uid: str = "", owner: str = "", **more: Any) -> KubeDict:
    """Any object. `owner` is the uid of its controller; `spec`, `status`, `labels`, `annotations` as given."""
    resource = BY_KIND[kind]
    metadata: KubeDict = {"name": name, "uid": uid or f"{kind}-{name}", "resourceVersion": str(version)}
    if resource.namespaced:
        metadata["namespace"] = more.pop("namespace", NAMESPACE)
    if owner:
        metadata["ownerReferences"] = [{"kind": "ModelPool", "name": "big", "uid": owner, "controller": True}]
    metadata |= {
        key: more.pop(key) for key in ("labels", "annotations", "deletionTimestamp", "generation") if key in more
    }
    return {"apiVersion": resource.api_version, "kind": kind, "metadata": metadata, **more}


def node(
    name: str = "node-1",
    gpus: int | str = 8,
    ready: str = "True",
    cordoned: bool = False,
    labels: dict[str, str] | None = None,
) -> KubeDict:
    """A node with H100s unless its labels say otherwise."""
    return item(
        "Node", name,
        labels=labels or {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
        spec={"unschedulable": True} if cordoned else {},
        status={
            "allocatable": {"cpu": "64", "nvidia.com/gpu": str(gpus)},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    )  # fmt: skip


def foreign_pod(name: str = "training", gpus: int = 2, on: str = "node-1", phase: str = "Running") -> KubeDict:
    """Somebody else's pod that holds GPUs, with all that such a pod carries."""
    pod = item(
        "Pod", name, labels={"app": "training"}, annotations={"note": "long"},
        spec={
            "containers": [
                {"name": "main", "image": "train", "resources": {"limits": {"nvidia.com/gpu": str(gpus), "cpu": "8"}}}
            ],
            "volumes": [{"name": "data"}],
        },
        status={"phase": phase, "podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "True"}]},
    )  # fmt: skip
    pod["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    if on:
        pod["spec"]["nodeName"] = on
    return pod


def engine_pod(
    name: str,
    pool: str = "big",
    *,
    ready: bool = True,
    warm: tuple[str, str] | None = None,
    born: float = 0.0,
    ready_at: float = 120.0,
    started_at: float = 30.0,
    phase: str = "Running",
    node: str = "node-1",
    component: str = "engine",
    gpus: int = 1,
    **more: Any,
) -> KubeDict:
    """A replica of a pool. Times are seconds after `BORN`; `warm` is status and reason of the warmth condition."""
    conditions = [
        {"type": "PodScheduled", "status": "True" if node else "False", "message": "" if node else "no GPU is free"},
        {"type": "ContainersReady", "status": str(ready)},
        {"type": "Ready", "status": str(ready), "lastTransitionTime": at(ready_at)},
    ]
    if warm:
        conditions.append(
            {"type": "comptroller.dev/cache-warm", "status": warm[0], "reason": warm[1], "message": "as measured"}
        )
    labels = {**MANAGED, "app.kubernetes.io/component": component, "comptroller.dev/pool": pool}
    pod = item(
        "Pod", name, labels=labels | more.pop("labels", {}),
        spec={
            "nodeName": node,
            "containers": [
                {
                    "name": "engine",
                    "ports": [{"name": "http", "containerPort": 8000}],
                    "resources": {"limits": {"nvidia.com/gpu": gpus}},
                }
            ],
        },
        status={
            "phase": phase,
            "podIP": "10.0.0.1",
            "conditions": conditions,
            "containerStatuses": [{"name": "engine", "state": {"running": {"startedAt": at(started_at)}}}],
        },
        **more,
    )  # fmt: skip
    pod["metadata"]["creationTimestamp"] = at(born)
    return pod


def pool(name: str = "big", gpu_class: str = "h100", count: int = 1, **more: Any) -> KubeDict:
    """A local ModelPool."""
    local = {
        "engine": {"name": "vllm"},
        "accelerator": {"class": gpu_class, "count": count},
        "replicas": {"min": 1, "max": 8},
        "startupSeconds": 180,
    }
    spec = {
        "model": {"name": "qwen3-32b", "source": "hf://Qwen/Qwen3-32B-FP8", "parametersBillions": "32.8"},
        "location": {"jurisdiction": "EU", "perimeter": "onPremises"},
        "local": local | more.pop("local", {}),
    }
    return item("ModelPool", name, generation=1, spec=spec, **more)


def hosted_pool(name: str = "api", **more: Any) -> KubeDict:
    """A hosted ModelPool with its own prices."""
    hosted = {
        "provider": "anthropic",
        "apiKeySecretRef": {"name": "anthropic", "key": "api-key"},
        "prices": {"inputUsdPerMillionTokens": "3", "outputUsdPerMillionTokens": "15"},
        "limits": {"requestsPerMinute": 1000},
    }
    spec = {
        "model": {"name": "claude-sonnet-4-5"},
        "location": {"jurisdiction": "US", "perimeter": "external"},
        "hosted": hosted | more.pop("hosted", {}),
    }
    return item("ModelPool", name, generation=1, spec=spec, **more)


def policy(name: str = "research", *pools: str, **more: Any) -> KubeDict:
    """A RoutingPolicy with one route `chat` over the named pools."""
    route = {"name": "chat", "backends": [{"pool": one} for one in pools or ("big", "api")]}
    spec = {
        "router": {"type": "litellm", "replicas": {"min": 1, "max": 2}},
        "tenants": [{"name": "research", "keysSecretRef": {"name": "research-keys"}}],
        "routes": [route | more.pop("route", {})],
    }
    return item("RoutingPolicy", name, generation=1, spec=spec, **more)
