"""Where the names of local pools lead: their Services, endpoints made by hand, and Services that claim addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from comptroller.allocation.perimeter import Way
from comptroller.kube.resources import ENDPOINT_SLICE, MODEL_POOL, POD, SERVICE, KubeDict, key_of, owner_of
from comptroller.kube.store import ClusterStore
from comptroller.observe.replicas import pool_of
from comptroller.render.labels import engine_selector
from comptroller.render.names import child_name

SERVICE_NAME = "kubernetes.io/service-name"


def ways(store: ClusterStore, pools: Iterable[str]) -> dict[str, Way]:
    """The way to each of these local pools (namespace/name) whose Service exists."""
    pods: dict[str, set[str]] = {}
    for pod in store.all(POD):
        if (pool := pool_of(pod)) is not None and (address := (pod.get("status") or {}).get("podIP")):
            pods.setdefault(pool, set()).add(address)
    slices: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
    for one in store.all(ENDPOINT_SLICE):
        key = (one["metadata"]["namespace"], served(one))
        slices.setdefault(key, {})[one["metadata"]["name"]] = _addresses(one)
    claims = {
        "/".join(key_of(one)): addresses for one in store.all(SERVICE) if (addresses := frozenset(external_ips(one)))
    }
    found = {}
    for pool in pools:
        namespace, name = pool.split("/", 1)
        service, item = store.get(SERVICE, (namespace, child_name(name))), store.get(MODEL_POOL, (namespace, name))
        if service is None or item is None:
            continue
        hand_made = slices.get((namespace, service["metadata"]["name"]), {})
        found[pool] = _way(name, item, service, hand_made, claims, frozenset(pods.get(pool, ())))
    return found


def _way(
    pool: str,
    item: KubeDict,
    service: KubeDict,
    hand_made: Mapping[str, tuple[str, ...]],
    claims: Mapping[str, frozenset[str]],
    pods: frozenset[str],
) -> Way:
    spec, owner, mine = service.get("spec") or {}, owner_of(service), "/".join(key_of(service))
    own = {one for one in (spec.get("clusterIP"), *(spec.get("clusterIPs") or ())) if one and one != "None"} | pods
    return Way(
        service=service["metadata"]["name"],
        kind=spec.get("type") or "ClusterIP",
        external_name=spec.get("externalName") or "",
        external_ips=tuple(spec.get("externalIPs") or ()),
        owned=owner is not None and owner["uid"] == item["metadata"]["uid"],
        selector=spec.get("selector") or {},
        wanted_selector=engine_selector(pool),
        hand_made=hand_made,
        claimed_by=tuple(sorted(name for name, claimed in claims.items() if name != mine and claimed & own)),
        pods=pods,
    )


def external_ips(service: Mapping[str, Any]) -> list[str]:
    """Addresses that every node sends to this Service, whatever they are elsewhere."""
    spec, status = service.get("spec") or {}, service.get("status") or {}
    balancer = (status.get("loadBalancer") or {}).get("ingress") or ()
    return [*(spec.get("externalIPs") or ()), *(one["ip"] for one in balancer if one.get("ip"))]


def served(endpoint_slice: Mapping[str, Any]) -> str:
    """The name of the Service that an EndpointSlice belongs to."""
    name: str = (endpoint_slice["metadata"].get("labels") or {}).get(SERVICE_NAME, "")
    return name


def _addresses(endpoint_slice: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(address for one in endpoint_slice.get("endpoints") or () for address in one.get("addresses") or ())
