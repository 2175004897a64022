"""Keeps a router's configuration in force where the new one is not worth a reload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comptroller.allocation.decision import RoutePlan
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.apply.drift import HASH_ANNOTATION, with_fingerprint
from comptroller.kube.resources import CONFIG_MAP, key_of
from comptroller.kube.store import ClusterStore
from comptroller.render.router.steady import says_the_same

FILE = "config.yaml"


def steadied(
    store: ClusterStore, children: Sequence[Mapping[str, Any]], *, blind: bool = False
) -> list[Mapping[str, Any]]:
    """The children, with the live configuration in place of one that says the same.

    Only what the operator itself has written is kept: the live text must be the one that its own mark speaks of.
    `blind`: some demand that the limits follow from is unknown; then they stay.
    """
    return [_steadied(store, child, blind) for child in children]


def is_blind(policy: str, spec: RoutingPolicySpec, routes: Mapping[str, RoutePlan]) -> bool:
    """Whether the limits of this policy, which are parts of the whole load of its pools, follow from nothing: the
    demand of one of its routes (keyed namespace/policy/route), or of one that shares a pool with it, is unknown."""
    namespace = policy.split("/", 1)[0]
    pools = {f"{namespace}/{backend.pool}" for route in spec.routes for backend in route.backends}
    return any(
        plan.requests_per_second is None
        and (key.startswith(f"{policy}/") or not pools.isdisjoint((*plan.shares, *plan.spill_order)))
        for key, plan in routes.items()
    )


def _steadied(store: ClusterStore, child: Mapping[str, Any], blind: bool) -> Mapping[str, Any]:
    live = store.get(CONFIG_MAP, key_of(child)) if child["kind"] == CONFIG_MAP.kind and FILE in child["data"] else None
    text = ((live or {}).get("data") or {}).get(FILE)
    if live is None or text is None or not says_the_same(child["data"][FILE], text, blind=blind):
        return child
    kept = {**child, "data": {**child["data"], FILE: text}}
    mark = with_fingerprint(kept)["metadata"]["annotations"][HASH_ANNOTATION]
    return kept if mark == (live["metadata"].get("annotations") or {}).get(HASH_ANNOTATION) else child
