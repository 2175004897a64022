"""The kinds the operator reads or writes, and where the API server has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from comptroller.api.fields import GROUP, VERSION

KubeDict: TypeAlias = dict[str, Any]
"""An object as the API server sends it."""

ObjectKey: TypeAlias = tuple[str, str]
"""Namespace and name; the namespace of a cluster-scoped object is empty."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind: its group, version, plural, and which of its objects concern the operator."""

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool = True
    selector: str | None = None  # server-side label selector of list and watch

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The path on the server, such as `/apis/apps/v1/namespaces/inference/deployments/qwen`."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        rest = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{rest}"


MANAGED = "app.kubernetes.io/managed-by=comptroller"

MODEL_POOL = Resource("ModelPool", GROUP, VERSION, "modelpools")
ROUTING_POLICY = Resource("RoutingPolicy", GROUP, VERSION, "routingpolicies")
CACHE_WARMUP = Resource("CacheWarmup", GROUP, VERSION, "cachewarmups")
DEPLOYMENT = Resource("Deployment", "apps", "v1", "deployments", selector=MANAGED)
SERVICE = Resource("Service", "", "v1", "services")
CONFIG_MAP = Resource("ConfigMap", "", "v1", "configmaps", selector=MANAGED)
JOB = Resource("Job", "batch", "v1", "jobs", selector=MANAGED)
POD_DISRUPTION_BUDGET = Resource("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets", selector=MANAGED)
NETWORK_POLICY = Resource("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies", selector=MANAGED)
HAND_MADE = "kubernetes.io/service-name,endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io"
"""Kubernetes' own controller removes what is not its own from the slices that bear its name."""

ENDPOINT_SLICE = Resource("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices", selector=HAND_MADE)
POD = Resource("Pod", "", "v1", "pods")
NODE = Resource("Node", "", "v1", "nodes", namespaced=False)
EVENT = Resource("Event", "events.k8s.io", "v1", "events")
LEASE = Resource("Lease", "coordination.k8s.io", "v1", "leases")

OWNED_BY_USERS = (MODEL_POOL, ROUTING_POLICY, CACHE_WARMUP)
CHILDREN = (DEPLOYMENT, SERVICE, CONFIG_MAP, JOB, POD_DISRUPTION_BUDGET, NETWORK_POLICY)
WATCHED = (*OWNED_BY_USERS, *CHILDREN, ENDPOINT_SLICE, POD, NODE)

BY_KIND: Mapping[str, Resource] = {resource.kind: resource for resource in (*WATCHED, EVENT, LEASE)}


def key_of(item: Mapping[str, Any]) -> ObjectKey:
    """Namespace and name of an object."""
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def owner_of(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The controlling owner reference, if there is one."""
    for reference in item["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Mapping[str, Any] = reference
            return found
    return None
