"""What may go on of a policy that is stalled or paused: its last good rules, less what is forbidden or gone by now.

Nothing here ever adds a backend to a route: narrowing is safe while nobody can say what the new spec means as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from comptroller.allocation.decision import RoutePlan
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import Backend, DataRules, Route, RoutingPolicySpec
from comptroller.kube.resources import KubeDict
from comptroller.render.router.build import is_restricted, permits

FILE = "config.yaml"


def narrowed_policy(
    last_good: RoutingPolicySpec, now: RoutingPolicySpec | None, namespace: str, pools: Mapping[str, ModelPoolSpec]
) -> RoutingPolicySpec:
    """The last good spec under its own data rules and those of the routes of the same names now.

    `now` is None where the spec cannot be read. `pools` are those that can be used, keyed namespace/name. A route that
    nobody may answer any more stays where it was, without a backend.
    """
    current = {} if now is None else {one.name: one for one in now.routes}
    routes = [_narrowed_route(one, current.get(one.name), namespace, pools) for one in last_good.routes]
    return last_good.model_copy(update={"routes": routes})


def _narrowed_route(route: Route, now: Route | None, namespace: str, pools: Mapping[str, ModelPoolSpec]) -> Route:
    rules = [route] if now is None else [route, now]
    watching = {
        part: one
        if one is not None and _left(Backend(pool=one.pool), rules, pools.get(f"{namespace}/{one.pool}"))
        else None
        for part, one in (("evaluator", route.evaluator), ("shadow", route.shadow))
    }
    route = route.model_copy(update=watching)
    left = [one for one in route.backends if _left(one, rules, pools.get(f"{namespace}/{one.pool}"))]
    if not left or now is None or now.data is None:
        return route.model_copy(update={"backends": left})
    data = now.data if route.data is None else _both(route.data, now.data)
    return route.model_copy(update={"backends": left, "data": data})


def _left(backend: Backend, rules: Sequence[Route], pool: ModelPoolSpec | None) -> bool:
    if pool is None or not _permitted(rules, pool):
        return False
    adapters = {one.name for one in pool.local.adapters} if pool.local is not None else set()
    return backend.adapter is None or backend.adapter in adapters


def _permitted(rules: Sequence[Route], pool: ModelPoolSpec) -> bool:
    return all(permits(one, pool) and not (is_restricted(one) and pool.hosted is not None) for one in rules)


def _both(one: DataRules, other: DataRules) -> DataRules:
    """What both permit. An empty list permits anything, so two lists without a common word must not become one: that
    is where no backend is left, and this is not asked."""
    return other.model_copy(
        update={
            "jurisdictions": _common(one.jurisdictions, other.jurisdictions),
            "perimeters": _common(one.perimeters, other.perimeters),
        }
    )


def _common(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    return [word for word in one if word in other] if one and other else list(one or other)


def plans_that_hold(routes: Mapping[str, RoutePlan], policy: str, narrowed: RoutingPolicySpec) -> dict[str, RoutePlan]:
    """The decision without the plans of this policy that send nothing to a pool that is left: such a route starts
    anew with what it has, as on a first start."""
    namespace = policy.split("/", 1)[0]
    left = {
        f"{policy}/{one.name}": {f"{namespace}/{backend.pool}" for backend in one.backends} for one in narrowed.routes
    }
    return {key: plan for key, plan in routes.items() if key not in left or left[key] & plan.shares.keys()}


def narrowed_config_map(
    live: KubeDict, rules: Mapping[str, Sequence[Route]], pools: Mapping[str, ModelPoolSpec]
) -> dict[str, Any] | None:
    """A router's ConfigMap as it is, less the entries that `rules` (by name of the route) or `pools` leave no room for.

    None where nothing is to be taken out, or where the text is none of ours. Weights stay: they are relative.
    """
    try:
        config = yaml.safe_load((live.get("data") or {})[FILE])
        open_router = config["x_comptroller"]["kind"] == "open"
        kept = [one for one in config["model_list"] if _stays(one, open_router, rules, pools)]
        if len(kept) == len(config["model_list"]):
            return None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None
    text = yaml.safe_dump({**config, "model_list": kept}, sort_keys=False, width=200)
    metadata = {name: live["metadata"][name] for name in ("name", "namespace", "labels", "ownerReferences")}
    frame = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata}
    return {**frame, "data": {**live["data"], FILE: text}}


def _stays(
    entry: Mapping[str, Any],
    open_router: bool,
    rules: Mapping[str, Sequence[Route]],
    pools: Mapping[str, ModelPoolSpec],
) -> bool:
    of_route = rules.get(entry["model_name"].rpartition(":")[2], ())  # also who judges or shadows it
    pool = pools.get(entry["model_info"]["id"].rpartition("/")[0])
    if pool is None or not _permitted(of_route, pool):
        return False
    return not (open_router and any(is_restricted(one) for one in of_route))  # it may not be on a router with a way out
