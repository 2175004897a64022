"""A policy that is stalled or paused: what goes on of it, and what is taken out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import yaml

from comptroller.allocation.audit_pod import secrets_of
from comptroller.allocation.audit_router import audit_router_config
from comptroller.allocation.audit_section import Kind
from comptroller.allocation.decision import RoutePlan
from comptroller.api.parse import parse_spec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.kube.resources import KubeDict
from comptroller.runtime.reconcile.steady import is_blind
from tests.unit.kube import build
from tests.unit.runtime.test_reconcile import conditions, edited, reconcile, status
from tests.unit.runtime.world import World

ONLY_HERE = {"perimeters": ["onPremises"]}
OPEN, RESTRICTED = "research-router", "research-router-restricted"


def route(name: str, *pools: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "backends": [{"pool": one} for one in pools], **more}


BOTH = [route("chat", "big", "api"), route("draft", "big", "api")]
TIGHTENED = [route("chat", "big", "api", data=ONLY_HERE), route("draft", "big", "typo")]


async def settled(routes: Sequence[dict[str, Any]] = tuple(BOTH)) -> World:
    world = World()
    for name in ("big-0", "big-1"):
        world.api.put(build.engine_pod(name))
    world.api.edit("RoutingPolicy", "research", lambda item: item["spec"].update(routes=list(routes)))
    await next_round(world)
    return world


async def next_round(world: World) -> None:
    await world.round(5.0)
    await reconcile(world)


async def with_routes(world: World, routes: Sequence[dict[str, Any]]) -> None:
    world.api.edit("RoutingPolicy", "research", lambda item: edited(item, routes=list(routes)))
    await next_round(world)


def gone(world: World, name: str) -> None:
    """Takes a pool away, as its user does."""
    world.api.edit("ModelPool", name, lambda item: item["metadata"].update(deletionTimestamp=build.at(1)))


def pause(world: World) -> None:
    annotations = {"comptroller.dev/paused": "true"}
    world.api.edit("RoutingPolicy", "research", lambda item: item["metadata"].update(annotations=annotations))


def config(world: World, router: str = OPEN) -> dict[str, Any]:
    text = (world.api.live("ConfigMap", router) or {})["data"]["config.yaml"]
    return yaml.safe_load(text)  # type: ignore[no-any-return]


def backends(world: World, router: str = OPEN) -> dict[str, set[str]]:
    """Route -> pools that its entries name."""
    found: dict[str, set[str]] = {}
    for entry in config(world, router)["model_list"]:
        found.setdefault(entry["model_name"], set()).add(entry["model_info"]["id"].split("/")[1])
    return found


def audited(world: World, routes: Sequence[dict[str, Any]], router: str = OPEN) -> list[str]:
    """What the auditor says of the applied configuration under these routes."""
    item = build.policy()
    item["spec"]["routes"] = list(routes)
    spec = parse_spec("RoutingPolicy", item)
    assert isinstance(spec, RoutingPolicySpec)
    secrets = secrets_of((world.api.live("Deployment", router) or {})["spec"]["template"]["spec"])
    kind: Kind = "restricted" if router == RESTRICTED else "open"
    pools = world.context.picture().specs.pools
    found = audit_router_config(spec, pools, kind, config(world, router), secrets, name="ai/research")
    return [str(one) for one in found]


RULES_OF_NOW = [route("chat", "big", "api", data=ONLY_HERE), route("draft", "big", "api")]


async def test_a_tightened_route_leaves_the_hosted_pool_although_another_route_has_a_typo() -> None:
    world = await settled()
    assert backends(world) == {"chat": {"big", "api"}, "draft": {"big", "api"}}
    await with_routes(world, TIGHTENED)
    assert conditions(world, "research", "RoutingPolicy")["Stalled"] == ("True", "UnknownPool")
    assert backends(world) == {"draft": {"big", "api"}}
    assert backends(world, RESTRICTED) == {"chat": {"big"}}
    assert audited(world, RULES_OF_NOW) == audited(world, RULES_OF_NOW, RESTRICTED) == []
    before = world.api.writes
    await reconcile(world)
    assert world.api.writes == before


async def test_after_a_restart_the_forbidden_is_taken_out_of_what_runs() -> None:
    world = await settled()
    world.state.last_good_policies.clear()
    await with_routes(world, TIGHTENED)
    assert backends(world) == {"draft": {"big", "api"}}
    assert RESTRICTED not in " ".join(world.api.names())
    assert audited(world, RULES_OF_NOW) == []
    before = world.api.writes
    await reconcile(world)
    assert world.api.writes == before


@pytest.mark.parametrize("remembered", [True, False])
async def test_jurisdictions_narrow_in_place(remembered: bool) -> None:
    world = await settled()
    if not remembered:
        world.state.last_good_policies.clear()
    rules = [route("chat", "big", "api", data={"jurisdictions": ["EU"]}), route("draft", "big", "api")]
    await with_routes(world, [rules[0], route("draft", "big", "typo")])
    assert backends(world) == {"chat": {"big"}, "draft": {"big", "api"}}
    assert audited(world, rules) == []


@pytest.mark.parametrize("remembered", [True, False])
async def test_a_pool_that_is_gone_is_asked_no_more(remembered: bool) -> None:
    world = await settled()
    if not remembered:
        world.state.last_good_policies.clear()
    gone(world, "api")
    await next_round(world)
    assert conditions(world, "research", "RoutingPolicy")["Stalled"] == ("True", "UnknownPool")
    assert backends(world) == {"chat": {"big"}, "draft": {"big"}}


async def test_a_pool_that_moved_away_is_asked_no_more() -> None:
    at_home = [route("chat", "big", "api", data={"jurisdictions": ["US"]}), route("draft", "big", "api")]
    world = await settled(at_home)
    assert backends(world)["chat"] == {"api"}
    location = {"jurisdiction": "CN", "perimeter": "external"}
    world.api.edit("ModelPool", "api", lambda item: edited(item, location=location))
    await next_round(world)
    assert "chat" not in backends(world)
    assert [one["name"] for one in config(world)["x_comptroller"]["routes"]] == ["chat", "draft"]
    assert audited(world, at_home) == []


async def test_rules_that_widen_open_nothing_while_the_policy_is_stalled() -> None:
    world = await settled([route("chat", "big", "api", data={"jurisdictions": ["EU"]}), route("draft", "big", "api")])
    await with_routes(world, [route("chat", "big", "api"), route("draft", "big", "typo")])
    assert backends(world) == {"chat": {"big"}, "draft": {"big", "api"}}


async def test_a_paused_policy_is_narrowed_and_otherwise_left_as_it_is() -> None:
    world = await settled()
    before = config(world)
    pause(world)
    await with_routes(world, RULES_OF_NOW)
    after = config(world)
    assert after["model_list"] == [one for one in before["model_list"] if one["model_name"] == "draft"]
    assert {**after, "model_list": None} == {**before, "model_list": None}
    assert audited(world, RULES_OF_NOW) == []


def without_conditions(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in ("conditions", "observedGeneration")}


async def test_a_stalled_policy_keeps_the_rest_of_its_status() -> None:
    world = await settled()
    before = status(world, "research", "RoutingPolicy")
    assert before["endpoints"]
    await with_routes(world, [*BOTH[:1], route("draft", "big", "typo")])
    after = status(world, "research", "RoutingPolicy")
    assert without_conditions(after) == without_conditions(before)
    assert after["observedGeneration"] == 2


async def test_a_stalled_pool_keeps_the_rest_of_its_status() -> None:
    world = await settled()
    before = status(world)
    world.api.edit("ModelPool", "big", lambda item: edited(item, model=None))
    await next_round(world)
    assert without_conditions(status(world)) == without_conditions(before)
    assert conditions(world)["Stalled"] == ("True", "Invalid")


async def test_a_paused_policy_keeps_its_endpoints() -> None:
    world = await settled()
    before = status(world, "research", "RoutingPolicy")
    pause(world)
    await next_round(world)
    after = status(world, "research", "RoutingPolicy")
    assert conditions(world, "research", "RoutingPolicy")["Paused"][0] == "True"
    assert after["endpoints"] == before["endpoints"] != []
    assert [one["endpoint"] for one in after["routes"]] == [one["endpoint"] for one in before["routes"]]


def plan(pool: str, rate: float | None) -> Any:
    class Plan:
        shares, spill_order, requests_per_second = {pool: 1.0}, (), rate

    return Plan()


@pytest.mark.parametrize(
    ("other", "pool", "blind"),
    [("ai/research/chat", "ai/big", True), ("ai/else/chat", "ai/big", True), ("far/else/chat", "far/big", False)],
)
def test_only_demand_on_the_same_pools_makes_blind(other: str, pool: str, blind: bool) -> None:
    item: KubeDict = build.policy()
    spec = parse_spec("RoutingPolicy", item)
    assert isinstance(spec, RoutingPolicySpec)
    routes: dict[str, RoutePlan] = {"ai/research/chat": plan("ai/big", 5.0)}
    assert not is_blind("ai/research", spec, routes)
    assert is_blind("ai/research", spec, {**routes, other: plan(pool, None)}) is blind
