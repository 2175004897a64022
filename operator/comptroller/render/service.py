"""Services: one address for all ready pods of a pool or router, and one that lists each replica."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comptroller.render.child import child

REPLICAS_SUFFIX = "-replicas"


def service(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    port: int,
    owner: Mapping[str, Any],
) -> dict[str, Any]:
    """The ClusterIP Service. The port keeps the pods' number, so that a network policy can name it too."""
    spec = {"type": "ClusterIP", "selector": dict(selector), "ports": [_port(port)]}
    return child("v1", "Service", name, namespace, labels, owner, spec=spec)


def replicas_service(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    port: int,
    owner: Mapping[str, Any],
) -> dict[str, Any]:
    """The headless Service: every replica by its own address, also before it is ready, for warm-ups and scraping."""
    spec = {
        "type": "ClusterIP",
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": dict(selector),
        "ports": [_port(port)],
    }
    return child("v1", "Service", name, namespace, labels, owner, spec=spec)


def _port(number: int) -> dict[str, Any]:
    return {"name": "http", "port": number, "targetPort": "http", "protocol": "TCP"}
