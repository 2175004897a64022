"""The auditor against mutations: what the allocator makes of random fleets passes, and no change for the worse does.

Each example is a fleet of raw specs. Its snapshot is decided upon and rendered by the real code, and then everything
that can be wrong with the decision, the configuration, the pod and the network policy is tried, one by one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comptroller.allocation.audit import Beside, Violation, audit_plan
from comptroller.allocation.audit_pod import audit_egress, audit_router_pod, secrets_of
from comptroller.allocation.audit_router import audit_router_config
from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import LocalPool, Snapshot
from comptroller.api.modelpool import ModelPoolSpec, Provider
from comptroller.api.routingpolicy import Backend, Route, RoutingPolicySpec
from comptroller.api.settings import RedisSettings, Settings
from comptroller.render.policy import policy_children
from comptroller.render.router.build import BackendState, TokenPrices, build_plans
from comptroller.render.router.plan import RouterPlan
from tests.unit.allocation.build import hosted, local, route, snapshot

few = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

NAME = "ai/policy"
REDIS = RedisSettings.model_validate(
    {"url": "redis://redis.shared:6379/0", "passwordSecretRef": {"name": "redis", "key": "password"}}
)
HOLD, PAUSE = {"comptroller.dev/hold-replicas": "2"}, {"comptroller.dev/paused": "true"}


@dataclass(frozen=True)
class Fleet:
    """Raw specs, what was decided on them, and what was rendered."""

    pools: Mapping[str, ModelPoolSpec]
    policy: RoutingPolicySpec
    snapshot: Snapshot
    decision: Decision
    beside: Beside

    def audit(self, decision: Decision) -> list[Violation]:
        return audit_plan({NAME: self.policy}, self.pools, decision, self.beside)

    def allows(self, one: Route, pool: str) -> bool:
        """The data rules in other words than anybody's."""
        spec = self.pools[pool]
        if pool not in [f"ai/{backend.pool}" for backend in one.backends]:
            return False
        if one.data is None:
            return True
        far = bool(one.data.perimeters) and "external" not in [each.value for each in one.data.perimeters]
        return (
            (not one.data.jurisdictions or spec.location.jurisdiction in one.data.jurisdictions)
            and (not one.data.perimeters or spec.location.perimeter in one.data.perimeters)
            and not (far and spec.hosted is not None)
        )


@st.composite
def pool_specs(draw: st.DrawFn) -> dict[str, ModelPoolSpec]:
    made: dict[str, Any] = {}
    for index in range(draw(st.integers(1, 3))):
        low = draw(st.integers(0, 2))
        made[f"ai/own{index}"] = {
            "model": {"name": f"own-{index}", "source": "hf://a/b"},
            "location": {
                "jurisdiction": draw(st.sampled_from(["EU", "US"])),
                "perimeter": draw(st.sampled_from(["onPremises", "privateCloud"])),
            },
            "local": {
                "engine": {"name": "vllm", "port": draw(st.sampled_from([8000, 9000]))},
                "accelerator": {"class": "h100"},
                "replicas": {"min": low, "max": low + draw(st.integers(0, 6))},
            },
        }
    for index in range(draw(st.integers(0, 2))):
        provider = draw(st.sampled_from(sorted(Provider)))
        own_address = provider in ("azure", "openaiCompatible") or draw(st.booleans())
        inside = ["onPremises"] if own_address else []
        limits = {"requestsPerMinute": draw(st.sampled_from([60, 6000])), "maxConcurrency": draw(st.integers(1, 64))}
        made[f"ai/api{index}"] = {
            "model": {"name": f"api-{index}"},
            "location": {
                "jurisdiction": draw(st.sampled_from(["EU", "US"])),
                "perimeter": draw(st.sampled_from(["external", "privateCloud", *inside])),
            },
            "hosted": {
                "provider": provider,
                "apiKeySecretRef": {"name": f"secret-{index}", "key": "key"},
                "limits": draw(st.sampled_from([{}, limits])),
                **({"baseUrl": f"https://own{index}.example/v1"} if own_address else {}),
                **draw(st.sampled_from([{}, *({"promptCache": one} for one in CACHES)])),
            },
        }
    return {key: ModelPoolSpec.model_validate(one) for key, one in made.items()}


CACHES = ({"mode": "none"}, {"mode": "explicit", "ttls": ["5m"], "minimumTokens": 2048}, {"mode": "explicit"})


@st.composite
def route_specs(draw: st.DrawFn, name: str, pools: list[str]) -> dict[str, Any]:
    named = draw(st.lists(st.sampled_from(pools), min_size=1, max_size=4, unique=True))
    rules = draw(
        st.sampled_from(
            [None, None, {"jurisdictions": ["EU"]}, {"perimeters": ["onPremises"]},
             {"perimeters": ["onPremises", "privateCloud"], "jurisdictions": ["EU"]}]
        )
    )  # fmt: skip
    made: dict[str, Any] = {"name": name, "backends": [{"pool": one.split("/")[1]} for one in named]}
    made |= draw(
        st.sampled_from([{}, {"promptCache": {"ttl": "1h"}}, {"promptCache": {"breakpoints": ["lastMessage"]}}])
    )
    made["onOverload"] = draw(st.sampled_from(["spill", "spill", "queue", "reject"]))
    if draw(st.booleans()):
        judge = draw(st.sampled_from(pools)).split("/")[1]
        made["evaluator"] = {
            "pool": judge, "sampleRatio": "0.1", "rubric": "It is right.", "escalateOnFail": draw(st.booleans()),
        }  # fmt: skip
    if draw(st.booleans()):
        made["shadow"] = {"pool": draw(st.sampled_from(pools)).split("/")[1], "sampleRatio": "0.02"}
    return made | ({"data": rules} if rules else {})


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    pools = draw(pool_specs())
    tenants = [
        {"name": "all", "keysSecretRef": {"name": "all-keys"}},
        {"name": "some", "keysSecretRef": {"name": "some-keys"}, "routes": ["route0"]},
    ]
    tenants[0]["budget"] = draw(st.sampled_from([None, {"usd": "10.50", "period": "day", "timeZone": "Europe/Rome"}]))
    whole = draw(st.sampled_from([None, {"usd": "900", "period": "month", "onExhausted": "reject"}]))
    asked = [draw(route_specs(f"route{index}", sorted(pools))) for index in range(draw(st.integers(1, 3)))]
    policy = RoutingPolicySpec.model_validate(
        {"routes": asked, "tenants": draw(st.sampled_from([[], tenants])), "budget": whole}
    )
    annotations = {key: draw(st.sampled_from([{}, {}, {}, HOLD, PAUSE])) for key in sorted(pools)}
    world = snapshot(
        *(_pool(draw, key, spec, annotations[key]) for key, spec in pools.items()),
        *(_route(one, draw(st.floats(0, 40))) for one in policy.routes),
    )
    applied = {pool.key: pool.previous for pool in world.local_pools if pool.previous is not None}
    beside = Beside(annotations, applied, world.rules.maximum_step_up)
    return Fleet(pools, policy, world, decide(world), beside)


def _pool(draw: st.DrawFn, key: str, spec: ModelPoolSpec, annotations: Mapping[str, str]) -> Any:
    name, paused = key.split("/")[1], annotations is PAUSE
    where = {"jurisdiction": spec.location.jurisdiction, "perimeter": spec.location.perimeter.value, "paused": paused}
    if spec.hosted is not None:
        return hosted(name, requests_per_minute=spec.hosted.limits.requests_per_minute, **where)
    assert spec.local is not None
    bounds = spec.local.replicas
    serving = draw(st.integers(0, bounds.max))
    held = min(2, bounds.max) if annotations is HOLD else None
    return local(name, minimum=bounds.min, maximum=bounds.max, serving=serving, previous=serving, held_at=held, **where)


def _route(spec: Route, rps: float) -> Any:
    rules = spec.data
    return replace(
        route(spec.name, *(one.pool for one in spec.backends), rps=rps),
        on_overload=spec.on_overload,
        jurisdictions=tuple(rules.jurisdictions) if rules else (),
        perimeters=tuple(one.value for one in rules.perimeters) if rules else (),
    )


@few
@given(fleets())
def test_what_is_decided_on_a_random_fleet_passes(fleet: Fleet) -> None:
    assert fleet.audit(fleet.decision) == []


@few
@given(fleets())
def test_every_plan_that_breaks_a_rule_is_refused(fleet: Fleet) -> None:
    for name, mutated in (*wrong_routes(fleet), *wrong_targets(fleet)):
        assert fleet.audit(mutated), name


def wrong_routes(fleet: Fleet) -> Iterator[tuple[str, Decision]]:
    for key, plan in fleet.decision.routes.items():
        spec = next(one for one in fleet.policy.routes if key.endswith(f"/{one.name}"))

        def changed(key: str = key, plan: Any = plan, **changes: Any) -> Decision:
            return replace(fleet.decision, routes={**fleet.decision.routes, key: replace(plan, **changes)})

        for pool in [*(one for one in fleet.pools if not fleet.allows(spec, one)), "ai/none", "other/own0"]:
            goes = 1.0 if pool in fleet.pools and fleet.pools[pool].hosted is not None else 0.0
            yield f"{key} to {pool}", changed(shares={pool: 1.0}, shed_ratio=0.0, spill_ratio=goes)
            yield f"{key} spills to {pool}", changed(spill_order=(*plan.spill_order, pool))
            yield f"{key} has {pool} with nothing", changed(shares={**plan.shares, pool: 0.0})
        for number in (math.nan, math.inf, -0.1, 1.1, plan.shed_ratio + 0.01):
            yield f"{key} sheds {number}", changed(shed_ratio=number)
        for pool, share in plan.shares.items():
            for number in (math.nan, -math.inf, -share, share + 1e-3):
                yield f"{key}: {pool} gets {number}", changed(shares={**plan.shares, pool: number})
        yield f"{key} spills more than it says", changed(spill_ratio=plan.spill_ratio + 0.01)
        routes = {one: each for one, each in fleet.decision.routes.items() if one != key}
        yield f"{key} under another name", replace(fleet.decision, routes={**routes, "ai/policy/other": plan})


def wrong_targets(fleet: Fleet) -> Iterator[tuple[str, Decision]]:
    for key, target in fleet.decision.pools.items():
        spec = fleet.pools[key].local
        assert spec is not None
        bounds = spec.replicas
        counts: list[Any] = [-1, bounds.max + 1, math.nan, 1.5, None, True]
        counts += [bounds.min - 1] if fleet.beside.annotations[key] == {} else []
        counts += [target.replicas + 1] if fleet.beside.annotations[key] != {} else []
        for count in counts:
            if count == target.replicas and count is not True:
                continue  # a pool that is held is where it was, even if its bounds have moved
            mutated = {**fleet.decision.pools, key: replace(target, replicas=count)}
            yield f"{key} at {count}", replace(fleet.decision, pools=mutated)
        yield f"{key} is another", replace(fleet.decision, pools={key: replace(target, pool="ai/none")})
        yield f"{key} is unknown", replace(fleet.decision, pools={"ai/none": replace(target, pool="ai/none")})


@dataclass(frozen=True)
class Rendered:
    """One router as it would be applied."""

    plan: RouterPlan
    config: dict[str, Any]
    pod: dict[str, Any]
    labels: dict[str, str]
    network: dict[str, Any] | None

    def audit(self, fleet: Fleet, config: Any = None, pod: Any = None) -> list[Violation]:
        pod = self.pod if pod is None else pod
        config = self.config if config is None else config
        kind, secrets = self.plan.kind, secrets_of(pod)
        return [
            *audit_router_config(fleet.policy, fleet.pools, kind, config, secrets, name=NAME, redis=REDIS),
            *audit_router_pod(fleet.policy, fleet.pools, kind, pod, name=NAME, redis=REDIS),
        ]


def rendered(fleet: Fleet) -> list[Rendered]:
    states = {
        pool.key: BackendState(TokenPrices(), pool.serving, 16)
        if isinstance(pool, LocalPool)
        else BackendState(TokenPrices(Decimal(3)), 0, _limit(fleet.pools[pool.key]))
        for pool in (*fleet.snapshot.local_pools, *fleet.snapshot.hosted_pools)
    }
    plans = build_plans("policy", "ai", fleet.policy, fleet.pools, states, fleet.decision.routes, redis=REDIS)
    children = policy_children(plans, fleet.policy, {"uid": "1", "name": "policy"}, Settings())
    found = []
    for plan in plans:
        named = {one["kind"]: one for one in children if one["metadata"]["name"] == plan.name}
        config = yaml.safe_load(named["ConfigMap"]["data"]["config.yaml"])
        template = named["Deployment"]["spec"]["template"]
        labels = template["metadata"]["labels"]
        found.append(Rendered(plan, config, template["spec"], labels, named.get("NetworkPolicy")))
    return found


def egress(fleet: Fleet, one: Rendered, network: Any) -> list[Violation]:
    return audit_egress(fleet.policy, fleet.pools, network, one.labels, name=NAME)


def _limit(spec: ModelPoolSpec) -> int | None:
    return spec.hosted.limits.max_concurrency if spec.hosted is not None else None


@few
@given(fleets())
def test_what_is_rendered_for_a_random_fleet_passes(fleet: Fleet) -> None:
    for one in rendered(fleet):
        assert one.audit(fleet) == []
        if one.plan.kind == "restricted":
            assert egress(fleet, one, one.network) == []


HARMLESS = (
    "weight", "max_parallel_requests", "timeout", "cost", "allowed_fails", "retries", "cooldown_time", "max_fallbacks",
    "enable_", "routing_strategy", "drop_params", "require_auth_for_metrics_endpoint", "reject_clientside",
    "disable_budget", "cancel_on_disconnect", "workflow", "step", "shed_ratio", "waits", "limits",
    "elsewhere",
)  # fmt: skip
"""Leaves whose other values send nothing anywhere else; their types are checked all the same."""

Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield path
    for key, one in inner or ():
        yield from leaves(one, (*path, key))


def mappings(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict):
        yield path
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from mappings(one, (*path, key))


def changed(value: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """The value with another at a path."""
    made = copy.deepcopy(value)
    if not path:
        return change(made)
    place = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = change(place[path[-1]])
    return made


EVIL = (
    "evil",
    "*",
    "sk-123",
    "https://evil.example/v1",
    "os.environ/HOME",
    "http://own0.ai.svc.cluster.local:1/v1",
    "",
)


@few
@given(fleets())
def test_every_configuration_that_says_something_else_is_refused(fleet: Fleet) -> None:
    """Every single text of the configuration is replaced by every evil one."""
    for one in rendered(fleet):
        for path in leaves(one.config):
            if any(word in str(step) for step in path for word in HARMLESS):
                continue
            for evil in EVIL:
                if path[-1] in ("api_key", "vertex_credentials") and evil == "":
                    continue  # no key is no way out
                mutated = changed(one.config, path, lambda _, evil=evil: evil)
                assert one.audit(fleet, mutated), f"{path} = {evil}"


@few
@given(fleets())
def test_nothing_may_be_added_anywhere(fleet: Fleet) -> None:
    for one in rendered(fleet):
        for path in mappings(one.config):
            for name, value in (("fallbacks", ["a"]), ("api_base", "https://evil.example/v1"), ("evil", 1)):
                present = one.config
                for step in path:
                    present = present[step]  # type: ignore[index]
                if name in present or "control" in path or "assured" in path:
                    continue
                mutated = changed(one.config, path, lambda now, name=name, value=value: {**now, name: value})
                assert one.audit(fleet, mutated), f"{path}.{name}"


@few
@given(fleets())
def test_numbers_that_are_none_are_refused(fleet: Fleet) -> None:
    for one in rendered(fleet):
        for path in leaves(one.config):
            if path[-1] in ("weight", "max_parallel_requests") or "cost" in str(path[-1]) or path[-1] == "shed_ratio":
                for number in (math.nan, -1, "7", None):
                    mutated = changed(one.config, path, lambda _, number=number: number)
                    assert one.audit(fleet, mutated), f"{path} = {number}"


@few
@given(fleets())
def test_entries_that_change_places_are_refused(fleet: Fleet) -> None:
    """Every two entries with other names, models, addresses, keys or ids swap one of these."""
    places: tuple[Path, ...] = (
        ("model_name",), ("model_info", "id"), ("litellm_params", "model"), ("litellm_params", "api_base"),
        ("litellm_params", "api_key"), ("litellm_params", "vertex_credentials"),
    )  # fmt: skip
    for one in rendered(fleet):
        entries = one.config["model_list"]
        for first in range(len(entries)):
            assert one.audit(fleet, {**one.config, "model_list": [*entries, entries[first]]}), "an entry twice"
            for second in range(first):
                for place in places:
                    swapped = _swapped(one.config, first, second, place)
                    if swapped is not None:
                        assert one.audit(fleet, swapped), (first, second, place)


def _swapped(config: dict[str, Any], first: int, second: int, place: Path) -> dict[str, Any] | None:
    made: dict[str, Any] = copy.deepcopy(config)
    one, other = made["model_list"][first], made["model_list"][second]
    for step in place[:-1]:
        one, other = one[step], other[step]
    mine, theirs = one.get(place[-1]), other.get(place[-1])
    if mine == theirs:
        return None
    one[place[-1]], other[place[-1]] = theirs, mine
    return made


@few
@given(fleets())
def test_a_forbidden_pool_is_refused_however_well_its_entry_is_made(fleet: Fleet) -> None:
    """An entry that is perfect for its pool, on a route that may not use it or a router that may not know it."""
    routers = rendered(fleet)
    for one in routers:
        for entry in (entry for each in routers for entry in each.config["model_list"]):
            pool = entry["model_info"]["id"].rpartition("/")[0]
            for spec in fleet.policy.routes:
                stays = spec.data is not None and bool(spec.data.perimeters)
                if fleet.allows(spec, pool) and stays is (one.plan.kind == "restricted"):
                    continue
                made = copy.deepcopy(entry)
                made["model_name"], made["model_info"]["id"] = spec.name, f"{pool}/{spec.name}"
                made["litellm_params"]["extra_headers"] = {"x-comptroller-route": spec.name}
                others = [each for each in one.config["model_list"] if each["model_info"] != made["model_info"]]
                if one.plan.kind == "restricted" and not stays and fleet.allows(spec, pool):
                    continue  # an open route on the router that reaches less: nothing leaves
                assert one.audit(fleet, {**one.config, "model_list": [*others, made]}), (pool, spec.name)


@few
@given(fleets())
def test_a_judge_or_shadow_that_may_not_see_the_data_is_refused(fleet: Fleet) -> None:
    """An entry that is perfect for its pool, as judge or shadow of every route that does not name it so, or may not."""
    routers = rendered(fleet)
    for one in routers:
        for entry in (entry for each in routers for entry in each.config["model_list"]):
            pool = entry["model_info"]["id"].rpartition("/")[0]
            for spec in fleet.policy.routes:
                for role, named in (("judge", spec.evaluator), ("shadow", spec.shadow)):
                    stays = spec.data is not None and bool(spec.data.perimeters)
                    named_so = named is not None and pool == f"ai/{named.pool}"
                    asked = fleet.policy.routes[0].model_copy(
                        update={"data": spec.data, "backends": [Backend(pool=pool.split("/")[1])]}
                    )
                    if named_so and fleet.allows(asked, pool) and (one.plan.kind == "restricted" or not stays):
                        continue
                    made, name = copy.deepcopy(entry), f"{role}:{spec.name}"
                    made["model_name"], made["model_info"]["id"] = name, f"{pool}/{name}"
                    made["litellm_params"]["extra_headers"] = {"x-comptroller-route": spec.name}
                    others = [each for each in one.config["model_list"] if each["model_info"] != made["model_info"]]
                    assert one.audit(fleet, {**one.config, "model_list": [*others, made]}), (pool, name)


@few
@given(fleets())
def test_a_pod_with_other_variables_or_secrets_is_refused(fleet: Fleet) -> None:
    secret = {"secretKeyRef": {"name": "foreign", "key": "key"}}
    for one in rendered(fleet):
        for variable in (
            {"name": "HTTPS_PROXY", "value": "http://evil.example"},
            {"name": "OPENAI_API_KEY", "value": "sk-123"},
            {"name": "API_KEY_EVIL", "valueFrom": secret},
            {"name": "HOME", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}},
        ):
            mutated = copy.deepcopy(one.pod)
            mutated["containers"][0]["env"].append(variable)
            assert one.audit(fleet, pod=mutated), variable
        for name, value in (("hostNetwork", True), ("hostAliases", []), ("initContainers", []), ("dnsConfig", {})):
            assert one.audit(fleet, pod={**one.pod, name: value}), name
        mutated = copy.deepcopy(one.pod)
        mutated["volumes"].append({"name": "node", "hostPath": {"path": "/"}})
        assert one.audit(fleet, pod=mutated)
        for field in ("command", "args"):
            mutated = copy.deepcopy(one.pod)
            mutated["containers"][0][field] = ["litellm", "--config", "/tmp/other.yaml"]
            assert one.audit(fleet, pod=mutated), field
        mutated = copy.deepcopy(one.pod)
        mutated["containers"][0]["envFrom"] = [{"secretRef": {"name": "foreign"}}]
        assert one.audit(fleet, pod=mutated)
        for index, volume in enumerate(one.pod["volumes"]):
            if "secret" in volume:
                mutated = copy.deepcopy(one.pod)
                mutated["volumes"][index]["secret"]["secretName"] = "foreign"
                assert one.audit(fleet, pod=mutated), volume


@few
@given(fleets())
def test_a_restricted_router_with_a_wider_way_out_is_refused(fleet: Fleet) -> None:
    for one in rendered(fleet):
        if one.network is None:
            continue
        assert egress(fleet, one, None)
        rules = one.network["spec"]["egress"]
        for wider in (
            {},
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]},
            {"to": [{"namespaceSelector": {}}], "ports": [{"port": 443}]},
            {**rules[-1], "ports": [{"port": 443}]} if len(rules) > 1 else {},
            {"ports": [{"port": 53}]},
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 53}]},
            {**rules[0], "ports": [{"port": 53, "endPort": 65535}]},
        ):
            network = changed(one.network, ("spec", "egress"), lambda now, wider=wider: [*now, wider])
            assert egress(fleet, one, network), wider
        elsewhere = changed(one.network, ("metadata", "namespace"), lambda _: "other")
        assert egress(fleet, one, elsewhere)
        for selector in ({"matchLabels": {"app": "other"}}, {"matchExpressions": []}):
            others = changed(one.network, ("spec", "podSelector"), lambda _, selector=selector: selector)
            assert egress(fleet, one, others), selector
        ingress = changed(one.network, ("spec", "policyTypes"), lambda _: ["Ingress"])
        assert egress(fleet, one, ingress)
