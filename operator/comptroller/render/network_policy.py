"""NetworkPolicies: who reaches an engine, and what a restricted router reaches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from comptroller.render.child import child
from comptroller.render.labels import COMPONENT, MANAGED_BY, engine_selector

ANY_NAMESPACE: dict[str, Any] = {}


def pool_network_policy(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    port: int,
    owner: Mapping[str, Any],
) -> dict[str, Any]:
    """Engines answer routers and warm-ups of their own namespace, the operator (which reads their counters) and
    Prometheus, wherever those two run. Nobody else: engines have no authentication of their own.

    Egress is left alone: engines download weights."""
    ours = {MANAGED_BY: "comptroller"}
    callers = [
        {"podSelector": {"matchLabels": ours | {COMPONENT: "router"}}},
        {"podSelector": {"matchLabels": ours | {COMPONENT: "warmup"}}},
        {"namespaceSelector": ANY_NAMESPACE, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "comptroller"}}},
        {"namespaceSelector": ANY_NAMESPACE, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}},
    ]
    spec = {
        "podSelector": {"matchLabels": dict(selector)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": callers, "ports": [{"protocol": "TCP", "port": port}]}],
    }
    return child("networking.k8s.io/v1", "NetworkPolicy", name, namespace, labels, owner, spec=spec)


def restricted_router_network_policy(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    pools: Iterable[tuple[str, int]],
    owner: Mapping[str, Any],
) -> dict[str, Any]:
    """Egress of a restricted router: the pods of its pools, each on its port, and the cluster's DNS. Nothing else has a
    path. An open router gets no policy: hosted APIs have no stable addresses.

    `pools` are (ModelPool in the namespace, port of its pods)."""
    dns = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }
    engines = [
        {
            "to": [{"podSelector": {"matchLabels": {MANAGED_BY: "comptroller"} | engine_selector(pool)}}],
            "ports": [{"protocol": "TCP", "port": port}],
        }
        for pool, port in sorted(set(pools))
    ]
    spec = {
        "podSelector": {"matchLabels": dict(selector)},
        "policyTypes": ["Egress"],
        "egress": [dns, *engines],
    }
    return child("networking.k8s.io/v1", "NetworkPolicy", name, namespace, labels, owner, spec=spec)
