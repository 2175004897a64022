"""The independent auditor of what the router's plugin reads: who may ask for what, what is shed, what is in flight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal
from urllib.parse import urlsplit

from comptroller.allocation.audit import Violation, watched_by
from comptroller.allocation.audit_budgets import own_budgets
from comptroller.allocation.audit_watching import watching
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.settings import RedisSettings

Kind = Literal["open", "restricted"]
KEYS_FOLDER = "/etc/comptroller/keys/"

_ROUTE = frozenset(("name", "workflow", "step", "shed_ratio", "waits", "evaluator", "shadow"))
_SECTION = frozenset(
    ("policy", "kind", "routes", "tenants", "elsewhere", "limits", "budgets", "outside", "redis", "prompt_caches")
)
_TENANT = frozenset(("name", "keys", "routes"))
_LIMIT = frozenset(("pool", "max_concurrency", "assured"))


def own_section(
    section: Any,
    policy: RoutingPolicySpec,
    pools: Mapping[str, ModelPoolSpec],
    kind: Kind,
    name: str,
    redis: RedisSettings | None,
    asked_outside: AbstractSet[str],
) -> Iterator[Violation]:
    """What the section breaks. `name` is namespace/name of the policy, `redis` the settings', `asked_outside` the
    hosted pools that the configuration has entries for."""
    try:
        routes, tenants, limits = (list(section.get(part) or ()) for part in ("routes", "tenants", "limits"))
        asked = [(str(one["name"]), one["keys"], one.get("routes")) for one in tenants]
        shed = [(str(one["name"]), one.get("shed_ratio")) for one in routes]
        elsewhere, said = dict(section["elsewhere"]), (section["policy"], section["kind"])
        parts = [(section, _SECTION), *((one, _ROUTE) for one in routes), *((one, _TENANT) for one in tenants)]
        unknown = [str(key) for one, may in (*parts, *((one, _LIMIT) for one in limits)) for key in {*one} - may]
    except (KeyError, TypeError, ValueError, AttributeError):
        yield Violation("x_comptroller", "cannot be read")
        return
    yield from (Violation(f"x_comptroller.{key}", "is nothing that may be rendered") for key in sorted(unknown))
    if said != (name, kind):
        yield Violation("x_comptroller", f"{said[0]} ({said[1]}) is not {name} ({kind})")
    wanted = [(one.name, f"{KEYS_FOLDER}{one.name}", list(one.routes) or None) for one in policy.tenants]
    if sorted(asked, key=str) != sorted(wanted, key=str):
        yield Violation("x_comptroller.tenants", "are not the tenants of the policy with their routes")
    yield from _routes(shed, policy)
    yield from watching(routes, policy, name.split("/", 1)[0])
    yield from _places(limits, elsewhere, policy, name.split("/", 1)[0])
    yield from _outside(section.get("outside"), asked_outside, pools)
    yield from own_budgets(section.get("budgets"), policy)
    address = redis.url if redis is not None and kind == "open" else None
    if section.get("redis") not in (None, address):
        yield Violation("x_comptroller.redis", "is not the Redis of the settings, or has no business on this router")


def _outside(named: Any, asked: AbstractSet[str], pools: Mapping[str, ModelPoolSpec]) -> Iterator[Violation]:
    """A hosted pool that is not named here would be asked by those whose budget is spent."""
    hosted = {key for key, pool in pools.items() if pool.hosted is not None}
    texts = isinstance(named, list) and all(isinstance(one, str) for one in named)
    if not texts or not asked <= {*named} <= hosted:
        yield Violation("x_comptroller.outside", "are not the hosted pools that the routes use")


def _routes(routes: Sequence[tuple[str, Any]], policy: RoutingPolicySpec) -> Iterator[Violation]:
    known, names = {one.name for one in policy.routes}, [route for route, _ in routes]
    for route, shed in routes:
        if route not in known or names.count(route) > 1:
            yield Violation(f"x_comptroller.routes[{route}]", "is no route of the policy, or stands there twice")
        if not is_amount(shed) or shed > 1:
            yield Violation(f"x_comptroller.routes[{route}].shed_ratio", f"{shed!r} is not between 0 and 1")


def _places(
    limits: Sequence[Mapping[str, Any]], elsewhere: Mapping[Any, Any], policy: RoutingPolicySpec, namespace: str
) -> Iterator[Violation]:
    known = {one.name for one in policy.routes}
    used = {f"{namespace}/{backend.pool}" for route in policy.routes for backend in route.backends}
    used |= {f"{namespace}/{pool}" for route in policy.routes for _, pool in watched_by(route)}
    for one in limits:
        if not _is_limit(one, used, known):
            yield Violation("x_comptroller.limits", f"{one} is no limit of a pool that a route may use")
    for route, address in elsewhere.items():
        if route not in known or not _is_router(address, namespace):
            yield Violation(f"x_comptroller.elsewhere[{route}]", f"{address} is no router of this policy")


def _is_limit(limit: Mapping[str, Any], pools: AbstractSet[str], routes: AbstractSet[str]) -> bool:
    assured = limit.get("assured") or {}
    numbers = [limit.get("max_concurrency"), *(assured.values() if isinstance(assured, Mapping) else [None])]
    whole = all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in numbers)
    return whole and limit.get("pool") in pools and {*assured} <= routes


def _is_router(address: Any, namespace: str) -> bool:
    try:
        parts = urlsplit(str(address))
    except ValueError:
        return False
    ends = tuple(f".{namespace}.svc{rest}" for rest in ("", ".cluster.local"))
    return parts.scheme == "http" and parts.username is None and (parts.hostname or "").endswith(ends)


def is_amount(value: Any) -> bool:
    """Whether it is a finite number from 0 on."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
