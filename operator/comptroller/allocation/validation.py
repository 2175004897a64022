"""Objects that are well formed and still cannot be acted upon: why, at which field, and what to do.

The API server checks one object at a time; these checks look at several. A stalled route or pool is left as it is; the
others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from comptroller.allocation.declared import pass_rate_of
from comptroller.allocation.words import number
from comptroller.api.conditions import Reason
from comptroller.api.modelpool import ModelPoolSpec, Perimeter
from comptroller.api.routingpolicy import Backend, Route, RoutingPolicySpec
from comptroller.api.settings import Settings
from comptroller.economics.prices import HostedPrice


@dataclass(frozen=True, slots=True)
class Stall:
    """Why an object cannot be acted upon; the message names the field and the remedy."""

    reason: Reason
    field: str
    message: str


def explain_stalls(
    policies: Mapping[str, RoutingPolicySpec],
    pools: Mapping[str, ModelPoolSpec],
    settings: Settings,
    price_of: Callable[[ModelPoolSpec], HostedPrice | None],
) -> dict[str, list[Stall]]:
    """All stalls of all objects, by `modelpool/<namespace>/<name>` and `routingpolicy/<namespace>/<name>`; objects
    without one are absent. `policies` and `pools` are keyed namespace/name."""
    found = {f"modelpool/{key}": pool_stalls(spec, settings, price_of) for key, spec in sorted(pools.items())}
    for key, policy in sorted(policies.items()):
        found[f"routingpolicy/{key}"] = policy_stalls(key.split("/", 1)[0], policy, pools)
    return {key: stalls for key, stalls in found.items() if stalls}


def pool_stalls(
    spec: ModelPoolSpec, settings: Settings, price_of: Callable[[ModelPoolSpec], HostedPrice | None]
) -> list[Stall]:
    """What is wrong with one pool."""
    if spec.local is not None and spec.local.accelerator.class_ not in settings.gpu_classes:
        field = "spec.local.accelerator.class"
        classes = ", ".join(sorted(settings.gpu_classes))
        text = (
            f"{field} is {spec.local.accelerator.class_}, which is no GPU class of the settings. Known are {classes}. "
        )
        return [Stall(Reason.UNKNOWN_GPU_CLASS, field, f"{text}Use one of them or add it to gpuClasses.")]
    if spec.hosted is not None and price_of(spec) is None:
        field = "spec.hosted.prices"
        text = f"{field} is absent, and the price list does not know {spec.model.name} of {spec.hosted.provider.value}."
        return [Stall(Reason.MISSING_PRICE, field, f"{text} Set {field}, or correct spec.model.name.")]
    return []


def policy_stalls(namespace: str, policy: RoutingPolicySpec, pools: Mapping[str, ModelPoolSpec]) -> list[Stall]:
    """What is wrong with one policy, route by route."""
    stalls: list[Stall] = []
    for index, route in enumerate(policy.routes):
        place = f"spec.routes[{index}]"
        members = [(backend, pools.get(f"{namespace}/{backend.pool}")) for backend in route.backends]
        stalls += _unknown_pools(place, namespace, route, pools)
        stalls += _unknown_adapters(place, members)
        there = [(backend, spec) for backend, spec in members if spec is not None]
        permitted = [(backend, spec) for backend, spec in there if _permitted(route, spec)]
        if there and not permitted:
            stalls.append(_nobody(place, route, there))
        stalls += _unreachable_quality(place, route, permitted)
        stalls += _forbidden_watchers(place, namespace, route, pools)
    return stalls


def _unknown_pools(place: str, namespace: str, route: Route, pools: Mapping[str, ModelPoolSpec]) -> Iterator[Stall]:
    named = [(f"{place}.backends[{i}].pool", backend.pool) for i, backend in enumerate(route.backends)]
    named += [(f"{place}.evaluator.pool", route.evaluator.pool)] if route.evaluator else []
    named += [(f"{place}.shadow.pool", route.shadow.pool)] if route.shadow else []
    for field, name in named:
        if f"{namespace}/{name}" not in pools:
            text = f"{field} names {name}, but there is no ModelPool {name} in namespace {namespace}."
            yield Stall(Reason.UNKNOWN_POOL, field, f"{text} Create it or correct the name.")


def _unknown_adapters(place: str, members: list[tuple[Backend, ModelPoolSpec | None]]) -> Iterator[Stall]:
    for index, (backend, spec) in enumerate(members):
        if backend.adapter is None or spec is None:
            continue
        known = sorted(adapter.name for adapter in spec.local.adapters) if spec.local else []
        if backend.adapter not in known:
            field = f"{place}.backends[{index}].adapter"
            has = f"has {', '.join(known)}" if known else "has no adapter" if spec.local else "is hosted and has none"
            text = f"{field} is {backend.adapter}, but pool {backend.pool} {has}."
            yield Stall(Reason.INVALID, field, f"{text} Add it to the pool's spec.local.adapters or correct the name.")


def _permitted(route: Route, spec: ModelPoolSpec) -> bool:
    if route.data is None:
        return True
    law, distance = route.data.jurisdictions, route.data.perimeters
    if spec.hosted is not None and distance and Perimeter.EXTERNAL not in distance:
        return False
    return (not law or spec.location.jurisdiction in law) and (not distance or spec.location.perimeter in distance)


def _nobody(place: str, route: Route, there: list[tuple[Backend, ModelPoolSpec]]) -> Stall:
    """Says which of the rules excludes the backends, in the words of the spec."""
    law = list(route.data.jurisdictions) if route.data else []
    distance = [one.value for one in route.data.perimeters] if route.data else []
    wrong_place = bool(distance) and all(spec.location.perimeter not in distance for _, spec in there)
    wrong_law = bool(law) and all(spec.location.jurisdiction not in law for _, spec in there)
    names = ", ".join(backend.pool for backend, _ in there)
    add = f"to {place}.backends or widen {place}.data"
    if wrong_place:
        kinds = " or ".join(sorted({spec.location.perimeter.value for _, spec in there}))
        allows, are = f"perimeters [{', '.join(distance)}]", f"all {kinds} ({names})"
        remedy = f"Add a local pool {add}.perimeters"
    elif wrong_law:
        kinds = " or ".join(sorted({spec.location.jurisdiction for _, spec in there}))
        allows, are = f"jurisdictions [{', '.join(law)}]", f"all in {kinds} ({names})"
        remedy = f"Add a pool in {' or '.join(law)} {add}.jurisdictions"
    else:
        each = ", ".join(
            f"{backend.pool}: {spec.location.perimeter.value}, {spec.location.jurisdiction}"
            f"{', hosted' if spec.hosted is not None else ''}"
            for backend, spec in there
        )
        rules = [f"perimeters [{', '.join(distance)}]"] if distance else []
        rules += [f"jurisdictions [{', '.join(law)}]"] if law else []
        allows, are = " and ".join(rules), f"none within all of it ({each})"
        remedy = f"Add a local pool {add}"
    message = f"{place}.data allows {allows}, but its backends are {are}. {remedy}."
    return Stall(Reason.NO_PERMITTED_BACKEND, f"{place}.data", message)


def _forbidden_watchers(
    place: str, namespace: str, route: Route, pools: Mapping[str, ModelPoolSpec]
) -> Iterator[Stall]:
    """Who judges answers or shadows requests sees the data, so the data rules hold for it like for a backend."""
    for part, watching in (("evaluator", route.evaluator), ("shadow", route.shadow)):
        spec = pools.get(f"{namespace}/{watching.pool}") if watching is not None else None
        if watching is None or spec is None or _permitted(route, spec):
            continue
        law = list(route.data.jurisdictions) if route.data else []
        distance = [one.value for one in route.data.perimeters] if route.data else []
        rules = [f"perimeters [{', '.join(distance)}]"] if distance else []
        rules += [f"jurisdictions [{', '.join(law)}]"] if law else []
        field, does = f"{place}.{part}.pool", "judge its answers" if part == "evaluator" else "see its requests"
        hosted = ", a hosted API" if spec.hosted is not None else ""
        where = f"{spec.location.perimeter.value} in {spec.location.jurisdiction}{hosted}"
        text = f"{field} is {watching.pool}, which is {where}, but {place}.data allows {' and '.join(rules)} only."
        remedy = f"Name a pool that may {does}, or remove {place}.{part}."
        yield Stall(Reason.NO_PERMITTED_BACKEND, field, f"{text} {remedy}")


def _unreachable_quality(place: str, route: Route, permitted: list[tuple[Backend, ModelPoolSpec]]) -> Iterator[Stall]:
    if route.quality is None or not permitted:
        return
    rates = {backend.pool: pass_rate_of(backend) for backend, _ in permitted}
    best = max(rates, key=lambda pool: (rates[pool], pool))
    wanted = float(route.quality.minimum_pass_rate)
    if rates[best] < wanted:
        field = f"{place}.quality.minimumPassRate"
        text = f"{field} is {number(wanted)}, but the best permitted backend, {best}, passes {number(rates[best])}."
        remedy = f"Lower it or add a better pool to {place}.backends."
        yield Stall(Reason.UNREACHABLE_PASS_RATE, field, f"{text} {remedy}")
