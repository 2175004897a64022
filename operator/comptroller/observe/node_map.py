"""Which node's GPUs are held by whom: the fleet as people picture it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from comptroller.api.settings import GpuClass
from comptroller.kube.resources import NODE, POD
from comptroller.kube.store import ClusterStore
from comptroller.observe.inventory import count_of, gpus_of_pod, is_of, takes_pods
from comptroller.observe.replicas import pool_of


@dataclass(frozen=True, slots=True)
class GpuNode:
    """One node. `pools` (namespace/name) hold so many of its GPUs, `others` so many more; the rest is free."""

    name: str
    usable: bool  # ready, and not cordoned
    gpus: int
    pools: Mapping[str, int]
    others: int

    @property
    def free(self) -> int:
        """GPUs that nobody holds."""
        return max(0, self.gpus - self.others - sum(self.pools.values()))


def node_map(store: ClusterStore, classes: Mapping[str, GpuClass]) -> dict[str, list[GpuNode]]:
    """The nodes of each GPU class that has any, by name."""
    held: dict[tuple[str, str], dict[str, int]] = {}  # (node, resource) -> holder -> GPUs; "" is somebody else
    for pod in store.all(POD):
        spec = pod.get("spec") or {}
        if not spec.get("nodeName") or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        for resource, amount in gpus_of_pod(spec).items():
            of_node = held.setdefault((spec["nodeName"], resource), {})
            holder = pool_of(pod) or ""
            of_node[holder] = of_node.get(holder, 0) + amount
    found: dict[str, list[GpuNode]] = {}
    for name, gpu in classes.items():
        for node in store.all(NODE) if gpu.resource_name else ():
            there = count_of(((node.get("status") or {}).get("allocatable") or {}).get(gpu.resource_name))
            if not is_of(node, gpu) or not there:
                continue
            own = node["metadata"]["name"]
            holders = held.get((own, gpu.resource_name), {})
            pools = {pool: amount for pool, amount in sorted(holders.items()) if pool and amount}
            found.setdefault(name, []).append(GpuNode(own, takes_pods(node), there, pools, holders.get("", 0)))
    return found
