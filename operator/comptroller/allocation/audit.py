"""The independent auditor: holds plans and router configurations against the raw specs, and refuses them whole.

It shares no code with what builds them, on purpose: a mistake in one must not hide in the other. It imports nothing of
this package but the decision's types, and has its own words for what data rules permit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from comptroller.allocation.decision import Decision, RoutePlan
from comptroller.api.modelpool import ModelPoolSpec, Perimeter
from comptroller.api.routingpolicy import Route, RoutingPolicySpec

_DNS_LABEL = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
_CLUSTER_HOST = re.compile(r"^(?P<name>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc(\.cluster\.local)?$")
_FROM_ENVIRONMENT = "os.environ/"
_FALLBACKS = ("fallbacks", "default_fallbacks", "context_window_fallbacks", "content_policy_fallbacks")


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that is broken: where, what that means, and what to do."""

    field: str
    meaning: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.meaning}. {self.remedy}."


_REPORT = "Nothing was applied; the last plan stays. Please report this as a bug of Comptroller"


def audit_plan(
    policies: Mapping[str, RoutingPolicySpec], pools: Mapping[str, ModelPoolSpec], decision: Decision
) -> list[Violation]:
    """What a decision breaks; empty if nothing. `policies` and `pools` are keyed namespace/name."""
    found: list[Violation] = []
    for key, plan in sorted(decision.routes.items()):
        namespace, policy, name = ([*key.split("/", 2), "", ""])[:3]
        spec = policies.get(f"{namespace}/{policy}")
        route = None if spec is None else next((one for one in spec.routes if one.name == name), None)
        if route is None:
            found.append(Violation(f"routes[{key}]", "no policy has this route", _REPORT))
            continue
        for where in ("shares", "spill_order"):
            for pool in getattr(plan, where):
                found += _pair(f"routes[{key}].{where}[{pool}]", namespace, route, pool, pools)
        found += _sums(f"routes[{key}]", plan)
    for key, target in sorted(decision.pools.items()):
        if key not in pools or pools[key].local is None:
            found.append(Violation(f"pools[{key}]", "no local pool has this name", _REPORT))
        if target.replicas < 0:
            found.append(Violation(f"pools[{key}].replicas", f"{target.replicas} replicas cannot be", _REPORT))
    return found


def _pair(
    field: str, namespace: str, route: Route, pool: str, pools: Mapping[str, ModelPoolSpec]
) -> Iterator[Violation]:
    spec = pools.get(pool)
    if spec is None:
        yield Violation(field, f"there is no pool {pool}", _REPORT)
        return
    if pool not in {f"{namespace}/{backend.pool}" for backend in route.backends}:
        yield Violation(field, f"{pool} is not a backend of route {route.name}", _REPORT)
    yield from _data_rules(field, route, spec)


def _data_rules(field: str, route: Route, pool: ModelPoolSpec) -> Iterator[Violation]:
    """The sovereignty check from the raw specs."""
    if route.data is None:
        return
    law, distance = pool.location.jurisdiction, pool.location.perimeter
    if len(route.data.jurisdictions) > 0 and law not in set(route.data.jurisdictions):
        may = ", ".join(route.data.jurisdictions)
        yield Violation(field, f"data of route {route.name} may only be in [{may}], the pool is in {law}", _REPORT)
    if len(route.data.perimeters) > 0 and distance not in set(route.data.perimeters):
        may = ", ".join(route.data.perimeters)
        yield Violation(field, f"data of route {route.name} may only be [{may}], the pool is {distance}", _REPORT)
    if _stays_inside(route) and pool.hosted is not None:
        yield Violation(field, f"route {route.name} must stay inside, the pool is a hosted API", _REPORT)


def _stays_inside(route: Route) -> bool:
    """Whether the data rules leave nothing external."""
    return route.data is not None and len(route.data.perimeters) > 0 and Perimeter.EXTERNAL not in route.data.perimeters


def _sums(field: str, plan: RoutePlan) -> Iterator[Violation]:
    values = [*plan.shares.values(), plan.shed_ratio]
    if not all(math.isfinite(one) and -1e-9 <= one <= 1.0 + 1e-9 for one in values):
        yield Violation(f"{field}.shares", f"{values} are not all between 0 and 1", _REPORT)
    elif abs(sum(values) - 1.0) > 1e-6:
        yield Violation(f"{field}.shares", f"shares and what is shed sum to {sum(values):.6f}, not to 1", _REPORT)


def audit_router_config(
    policy: RoutingPolicySpec,
    pools: Mapping[str, ModelPoolSpec],
    kind: Literal["open", "restricted"],
    rendered: Mapping[str, Any],
    secret_variables: AbstractSet[str] = frozenset(),
) -> list[Violation]:
    """What a rendered LiteLLM configuration breaks; empty if nothing.

    `pools` is keyed namespace/name, `rendered` is the parsed config.yaml, `secret_variables` are the environment
    variables that the router's pod gets from Secrets. Every entry must serve a route of the policy from a backend that
    the route names and its data rules permit, at that pool's own address. A restricted router has no hosted pool, no
    address outside the cluster, no key and no fallback; an open one has no route that must stay inside.
    """
    found: list[Violation] = []
    entries = rendered.get("model_list")
    if not isinstance(entries, list):
        return [Violation("model_list", "there is no list of models", _REPORT)]
    for index, entry in enumerate(entries):
        found += _entry(f"model_list[{index}]", entry, policy, pools, kind, secret_variables)
    found += _ways_around(rendered)
    if kind == "restricted":
        found += [
            Violation(path, "a restricted router may hold no key", _REPORT) for path in _environment_reads(rendered, "")
        ]
        if secret_variables:
            names = ", ".join(sorted(secret_variables))
            found.append(Violation("env", f"a restricted router may hold no key, but its pod gets {names}", _REPORT))
    return found


def _entry(
    field: str, entry: Any, policy: RoutingPolicySpec, pools: Mapping[str, ModelPoolSpec], kind: str,
    secret_variables: AbstractSet[str],
) -> Iterator[Violation]:  # fmt: skip
    try:
        name, identity = str(entry["model_name"]), str(entry["model_info"]["id"])
        parameters = dict(entry["litellm_params"])
    except (KeyError, TypeError, ValueError):
        yield Violation(field, "the entry lacks model_name, model_info.id or litellm_params", _REPORT)
        return
    namespace, pool, claimed = ([*identity.split("/", 2), "", ""])[:3]
    route = next((one for one in policy.routes if one.name == name), None)
    spec = pools.get(f"{namespace}/{pool}")
    if route is None or claimed != name:
        yield Violation(f"{field}.model_name", f"{name} is not the route that its id {identity} speaks of", _REPORT)
        return
    if spec is None:
        yield Violation(f"{field}.model_info.id", f"there is no pool {namespace}/{pool}", _REPORT)
        return
    yield from _pair(f"{field}.model_info.id", namespace, route, f"{namespace}/{pool}", pools)
    if kind == "open" and _stays_inside(route):
        yield Violation(field, f"route {name} must stay inside and may not be on a router with a way out", _REPORT)
    if kind == "restricted" and spec.hosted is not None:
        yield Violation(field, f"a restricted router may not know the hosted pool {pool}", _REPORT)
    yield from _address(field, parameters.get("api_base"), namespace, pool, spec, kind)
    yield from _keys(field, parameters, spec, secret_variables)


def _address(
    field: str, address: Any, namespace: str, pool: str, spec: ModelPoolSpec, kind: str
) -> Iterator[Violation]:
    """A local pool is asked at its Service, with its port; a hosted one at its declared address or the provider's."""
    field = f"{field}.litellm_params.api_base"
    if spec.local is not None or kind == "restricted":
        parts = urlsplit(address if isinstance(address, str) else "")
        host = _CLUSTER_HOST.match(parts.hostname or "")
        if host is None or parts.username is not None or host["namespace"] != namespace:
            yield Violation(field, f"{address} is not the address of a pool in namespace {namespace}", _REPORT)
        elif _DNS_LABEL.match(pool) and host["name"] != pool:
            yield Violation(field, f"{address} is not the address of pool {pool}", _REPORT)
        elif spec.local is not None and parts.port != spec.local.engine.port:
            yield Violation(field, f"{address} is not port {spec.local.engine.port} of pool {pool}", _REPORT)
    elif spec.hosted is not None and address is not None and address != spec.hosted.base_url:
        yield Violation(field, f"{address} is not spec.hosted.baseUrl of pool {pool}", _REPORT)


def _keys(
    field: str, parameters: Mapping[str, Any], spec: ModelPoolSpec, secret_variables: AbstractSet[str]
) -> Iterator[Violation]:
    """Keys come from the environment, by name, and only to hosted pools; no key stands in the file."""
    key = parameters.get("api_key")
    variables = list(_environment_reads(parameters, f"{field}.litellm_params"))
    if spec.hosted is None:
        yield from (Violation(path, "a local pool gets no key", _REPORT) for path in variables)
        return
    if isinstance(key, str) and not key.startswith(_FROM_ENVIRONMENT) and key not in ("", "none"):
        yield Violation(f"{field}.litellm_params.api_key", "a key stands in the configuration itself", _REPORT)
    if isinstance(key, str) and key.startswith(_FROM_ENVIRONMENT):
        variable = key.removeprefix(_FROM_ENVIRONMENT)
        if variable not in secret_variables:
            yield Violation(f"{field}.litellm_params.api_key", f"{variable} comes from no Secret of the pod", _REPORT)


def _ways_around(rendered: Mapping[str, Any]) -> Iterator[Violation]:
    """LiteLLM's fallbacks lead from one route's backends to another's, past the data rules."""
    for section in ("router_settings", "litellm_settings", "general_settings"):
        settings = rendered.get(section) or {}
        for name in _FALLBACKS:
            if isinstance(settings, Mapping) and settings.get(name):
                yield Violation(f"{section}.{name}", "a fallback leads past the data rules of the route", _REPORT)


def _environment_reads(value: Any, path: str) -> Iterator[str]:
    """The paths of all strings that LiteLLM would replace by an environment variable."""
    if isinstance(value, str) and value.startswith(_FROM_ENVIRONMENT):
        yield path
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _environment_reads(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _environment_reads(inner, f"{path}[{index}]")
