"""What Prometheus shall scrape: engines and routers, as its HTTP service discovery reads them.

For a Prometheus that has no discovery of its own in this cluster, `/targets` of the operator is one. Labels: all get
namespace, pod and component (engine or router); engines get pool too, and routers router (their Deployment) and
router_policy (namespace/name), since `policy` is a label of their own series.
"""

from __future__ import annotations

from typing import Any

from comptroller.kube.resources import POD
from comptroller.kube.store import ClusterStore
from comptroller.observe.replicas import POOL_LABEL

POLICY_LABEL = "comptroller.dev/policy"
ROUTER_LABEL = "comptroller.dev/router"
PORT_NAMES = ("http", "metrics")


def scrape_targets(store: ClusterStore) -> list[dict[str, Any]]:
    """One group per pod that has an address and is not being deleted."""
    groups = []
    for pod in store.all(POD):
        metadata, status = pod["metadata"], pod.get("status") or {}
        labels = metadata.get("labels") or {}
        component = labels.get("app.kubernetes.io/component")
        if component not in ("engine", "router") or not status.get("podIP") or metadata.get("deletionTimestamp"):
            continue
        if status.get("phase") != "Running" or (port := _port(pod)) is None:
            continue
        found = {"namespace": metadata["namespace"], "pod": metadata["name"], "component": component}
        if component == "engine":
            found["pool"] = labels.get(POOL_LABEL, "")
        else:
            found["router"] = labels.get(ROUTER_LABEL, "")
            found["router_policy"] = f"{metadata['namespace']}/{labels.get(POLICY_LABEL, '')}"
        path = "/metrics/" if component == "router" else "/metrics"
        groups.append({"targets": [f"{_host(status['podIP'])}:{port}"], "labels": {**found, "__metrics_path__": path}})
    return groups


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _port(pod: dict[str, Any]) -> int | None:
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") in PORT_NAMES:
                number: int = port["containerPort"]
                return number
    return None
