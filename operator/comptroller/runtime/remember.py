"""What a new process remembers of its predecessor: the status of the policies tells what was sent where."""

from __future__ import annotations

from comptroller.allocation.snapshot import Memory
from comptroller.kube.resources import ROUTING_POLICY, key_of
from comptroller.kube.store import ClusterStore


def remembered(store: ClusterStore) -> Memory:
    """Shares and rates of the last plan, per route. What cannot be read is left out: a status is no promise."""
    shares: dict[str, dict[str, float]] = {}
    rates: dict[str, float] = {}
    for item in store.all(ROUTING_POLICY):
        namespace, name = key_of(item)
        for route in (item.get("status") or {}).get("routes") or ():
            key = f"{namespace}/{name}/{route.get('name')}"
            try:
                found = {f"{namespace}/{one['pool']}": float(one["share"]) for one in route.get("shares") or ()}
                if found:
                    shares[key] = found
                if "requestsPerSecond" in route:
                    rates[key] = float(route["requestsPerSecond"])
            except (KeyError, TypeError, ValueError):
                continue
    return Memory(shares=shares, requests_per_second=rates)


def remembered_decisions(store: ClusterStore) -> dict[str, list[dict[str, str]]]:
    """The last decisions of each policy (namespace/name), newest first, so that a restart does not wipe them."""
    return {
        "/".join(key_of(item)): list(decisions)
        for item in store.all(ROUTING_POLICY)
        if (decisions := (item.get("status") or {}).get("decisions"))
    }
