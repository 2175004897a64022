"""How many GPUs of each class there are for us: what ready nodes offer, minus what pods of others hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comptroller.allocation.snapshot import Measurement, Sample, Unknown
from comptroller.api.settings import GpuClass
from comptroller.kube.resources import NODE, POD
from comptroller.kube.store import ClusterStore
from comptroller.observe.replicas import POOL_LABEL, condition_of


def gpu_inventory(store: ClusterStore, classes: Mapping[str, GpuClass]) -> dict[tuple[str, str], Measurement]:
    """GPUs per (class, site). Nodes of one class count when they are ready, not cordoned and carry its labels.

    Without any node in the picture the inventory is unknown: an empty list of nodes is a missing permission or a watch
    that has not begun, never a cluster.
    """
    nodes = list(store.all(NODE))
    result: dict[tuple[str, str], Measurement] = {}
    held = _held_by_others(store)
    for name, gpu in classes.items():
        if not gpu.resource_name:
            continue
        if not nodes:
            result[name, ""] = Unknown("no node is known: the operator cannot list nodes, or has not done so yet")
            continue
        matching = [node for node in nodes if _offers(node, gpu)]
        free = sum(
            max(
                0,
                _count((node["status"].get("allocatable") or {}).get(gpu.resource_name))
                - held.get((node["metadata"]["name"], gpu.resource_name), 0),
            )
            for node in matching
        )
        result[name, ""] = Sample(float(free))
    return result


def _offers(node: Mapping[str, Any], gpu: GpuClass) -> bool:
    labels = node["metadata"].get("labels") or {}
    return (
        all(labels.get(key) == value for key, value in gpu.node_selector.items())
        and condition_of(node, "Ready").get("status") == "True"
        and not (node.get("spec") or {}).get("unschedulable")
    )


def _held_by_others(store: ClusterStore) -> dict[tuple[str, str], int]:
    """GPUs per (node, resource) that running pods without our pool label hold."""
    held: dict[tuple[str, str], int] = {}
    for pod in store.all(POD):
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        if POOL_LABEL in (pod["metadata"].get("labels") or {}):
            continue
        spec = pod.get("spec") or {}
        node = spec.get("nodeName")
        if not node:
            continue
        for resource, amount in _gpus_of(spec).items():
            held[node, resource] = held.get((node, resource), 0) + amount
    return held


def _gpus_of(spec: Mapping[str, Any]) -> dict[str, int]:
    """Extended resources of a pod, as the scheduler counts them: its containers together, or the greediest initial
    container if that asks for more."""
    together: dict[str, int] = {}
    for container in spec.get("containers") or ():
        for resource, amount in _limits(container).items():
            together[resource] = together.get(resource, 0) + amount
    for container in spec.get("initContainers") or ():
        for resource, amount in _limits(container).items():
            together[resource] = max(together.get(resource, 0), amount)
    return together


def _limits(container: Mapping[str, Any]) -> dict[str, int]:
    limits = (container.get("resources") or {}).get("limits") or {}
    return {resource: _count(amount) for resource, amount in limits.items() if "/" in resource}


def _count(amount: Any) -> int:
    try:
        return int(str(amount or 0))
    except ValueError:
        return 0
