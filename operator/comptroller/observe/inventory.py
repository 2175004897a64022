"""How many GPUs of each class there are for us.

What ready nodes offer, minus what pods of others hold there; and on cordoned or silent nodes what our own pods still
hold. A node that is drained or does not answer takes nothing away at once: its GPUs go when its pods are gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from comptroller.allocation.snapshot import Measurement, Sample, Unknown
from comptroller.api.settings import GpuClass
from comptroller.kube.resources import NODE, POD
from comptroller.kube.store import ClusterStore
from comptroller.observe.replicas import condition_of, pool_of


def gpu_inventory(
    store: ClusterStore, classes: Mapping[str, GpuClass], pools: Collection[str]
) -> dict[tuple[str, str], Measurement]:
    """GPUs per (class, site). Nodes of one class are those that carry its labels.

    `pools` (namespace/name) are those that are decided about. A replica of any other pool, such as a stalled one, holds
    its GPUs as a stranger does: nobody can plan with them.

    Without any node in the picture the inventory is unknown: an empty list of nodes is a missing permission or a watch
    that has not begun, never a cluster.
    """
    nodes = list(store.all(NODE))
    result: dict[tuple[str, str], Measurement] = {}
    ours, others = _held(store, frozenset(pools))
    for name, gpu in classes.items():
        if not gpu.resource_name:
            continue
        if not nodes:
            result[name, ""] = Unknown("no node is known: the operator cannot list nodes, or has not done so yet")
            continue
        available = 0
        for node in (one for one in nodes if is_of(one, gpu)):
            place = node["metadata"]["name"], gpu.resource_name
            if takes_pods(node):
                there = count_of(((node.get("status") or {}).get("allocatable") or {}).get(gpu.resource_name))
                available += max(0, there - others.get(place, 0))
            else:
                available += ours.get(place, 0)
        result[name, ""] = Sample(float(available))
    return result


def gpus_per_node(store: ClusterStore, classes: Mapping[str, GpuClass]) -> dict[tuple[str, str], float]:
    """The most GPUs that one node of a (class, site) offers: what is lost when it fails."""
    found: dict[tuple[str, str], float] = {}
    for name, gpu in classes.items():
        for node in store.all(NODE):
            if gpu.resource_name and is_of(node, gpu) and takes_pods(node):
                there = count_of(((node.get("status") or {}).get("allocatable") or {}).get(gpu.resource_name))
                found[name, ""] = max(found.get((name, ""), 0.0), float(there))
    return found


def is_of(node: Mapping[str, Any], gpu: GpuClass) -> bool:
    """Whether a node carries the labels of a GPU class."""
    labels = node["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in gpu.node_selector.items())


def takes_pods(node: Mapping[str, Any]) -> bool:
    """Whether a node is ready and not cordoned."""
    ready = condition_of(node, "Ready").get("status") == "True"
    return ready and not (node.get("spec") or {}).get("unschedulable")


_Held: TypeAlias = dict[tuple[str, str], int]  # (node, resource) -> GPUs


def _held(store: ClusterStore, pools: Collection[str]) -> tuple[_Held, _Held]:
    """GPUs that living replicas of these pools hold, and those that all other pods hold.

    A replica that is being deleted is in neither: where pods can run its GPU is free for us in a moment, elsewhere it
    is gone.
    """
    ours: _Held = {}
    others: _Held = {}
    for pod in store.all(POD):
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        spec = pod.get("spec") or {}
        node = spec.get("nodeName")
        if not node:
            continue
        own = pool_of(pod) in pools
        if own and pod["metadata"].get("deletionTimestamp"):
            continue
        held = ours if own else others
        for resource, amount in gpus_of_pod(spec).items():
            held[node, resource] = held.get((node, resource), 0) + amount
    return ours, others


def gpus_of_pod(spec: Mapping[str, Any]) -> dict[str, int]:
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
    return {resource: count_of(amount) for resource, amount in limits.items() if "/" in resource}


def count_of(amount: Any) -> int:
    """A whole number of GPUs; what is none counts as 0."""
    try:
        return int(str(amount or 0))
    except ValueError:
        return 0
