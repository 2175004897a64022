"""From a decision to children and a status: the whole way on a small API server in memory."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.kube.resources import KubeDict
from comptroller.runtime.reconcile.context import NotYetError
from comptroller.runtime.reconcile.policy import reconcile_policy
from comptroller.runtime.reconcile.pool import reconcile_pool
from tests.unit.kube import build
from tests.unit.runtime.world import World

POOL, API, POLICY = ("ai", "big"), ("ai", "api"), ("ai", "research")


async def reconcile(world: World) -> None:
    await reconcile_pool(world.context, POOL)
    await reconcile_pool(world.context, API)
    await reconcile_policy(world.context, POLICY)


async def settled(rps: float | None = 5.0) -> World:
    """A world in which everything was decided and reconciled once."""
    world = World()
    await world.round(rps)
    await reconcile(world)
    return world


def status(world: World, name: str = "big", kind: str = "ModelPool") -> dict[str, Any]:
    return (world.api.live(kind, name) or {})["status"]  # type: ignore[no-any-return]


def conditions(world: World, name: str = "big", kind: str = "ModelPool") -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status(world, name, kind)["conditions"]}


def edited(item: KubeDict, generation: int = 2, **spec: Any) -> KubeDict:
    """A new generation of an object; a None takes a field away."""
    item["metadata"]["generation"] = generation
    item["spec"] |= {key: value for key, value in spec.items() if value is not None}
    for key in [key for key, value in spec.items() if value is None]:
        del item["spec"][key]
    return item


async def test_before_the_first_decision_nothing_is_done() -> None:
    world = World()
    with pytest.raises(NotYetError):
        await reconcile_pool(world.context, POOL)
    assert world.api.writes == 0


async def test_a_decision_becomes_a_deployment_of_that_size() -> None:
    world = await settled()
    picture = world.context.picture()
    wanted = picture.decision.pools["ai/big"].replicas
    assert wanted >= 1
    assert (world.api.live("Deployment", "big") or {})["spec"]["replicas"] == wanted
    assert status(world)["allocation"]["desired"] == wanted
    assert status(world)["observedGeneration"] == 1


async def test_a_second_round_over_the_same_world_writes_nothing() -> None:
    world = await settled()
    before = world.api.writes
    await reconcile(world)
    await world.round(5.0)
    await reconcile(world)
    assert world.api.writes == before


@pytest.mark.parametrize("change", [{"model": None}, {"location": {"jurisdiction": "US", "perimeter": "external"}}])
async def test_a_status_never_tells_of_a_generation_that_was_not_decided_about(change: dict[str, Any]) -> None:
    """Between an edit and the next decision a status would say of the new spec what holds for the old one."""
    world = await settled()
    world.api.edit("ModelPool", "big", lambda item: edited(item, **change))
    before = world.api.writes
    await reconcile(world)
    assert world.api.writes == before
    assert status(world)["observedGeneration"] == 1
    await world.round(5.0)
    await reconcile(world)
    assert status(world)["observedGeneration"] == 2


async def test_a_pool_that_stalls_keeps_its_replicas_and_says_what_to_do() -> None:
    world = await settled()
    before = world.api.live("Deployment", "big")
    world.api.edit("ModelPool", "big", lambda item: edited(item, model=None))
    await world.round(5.0)
    await reconcile_pool(world.context, POOL)
    assert world.api.live("Deployment", "big") == before
    assert conditions(world)["Stalled"] == ("True", "Invalid")
    assert conditions(world)["Ready"][0] == "False"


async def test_a_name_that_is_taken_stalls_the_pool_and_touches_nothing() -> None:
    world = World()
    theirs = world.api.put(build.item("Deployment", "big", uid="theirs", spec={"replicas": 1}), seen=False)
    await world.round(5.0)
    await reconcile_pool(world.context, POOL)
    assert conditions(world)["Stalled"] == ("True", "NameTaken")
    assert [one for one in world.api.names() if one.split()[0] in ("Service", "Deployment")] == ["Deployment big"]
    assert world.api.live("Deployment", "big") == theirs


async def test_silence_is_told_and_holds() -> None:
    world = await settled()
    before = world.api.live("Deployment", "big")
    await world.round(None)
    await reconcile(world)
    assert world.api.live("Deployment", "big") == before
    assert conditions(world)["MetricsAvailable"] == ("False", "Unreachable")


async def test_a_paused_pool_is_not_touched_whatever_is_decided() -> None:
    world = await settled(1.0)
    before = world.api.live("Deployment", "big")
    world.api.edit(
        "ModelPool", "big", lambda item: item["metadata"].update(annotations={"comptroller.dev/paused": "true"})
    )
    await world.round(15.0)
    await reconcile_pool(world.context, POOL)
    assert world.api.live("Deployment", "big") == before
    assert conditions(world)["Paused"][0] == "True"


async def test_an_edit_by_hand_is_put_back_and_told_by_an_event() -> None:
    world = await settled()
    wanted = (world.api.live("Deployment", "big") or {})["spec"]["replicas"]
    world.api.edit("Deployment", "big", lambda item: item["spec"].update(replicas=8))
    await reconcile_pool(world.context, POOL)
    assert (world.api.live("Deployment", "big") or {})["spec"]["replicas"] == wanted
    assert "DriftCorrected" in [one["reason"] for one in world.api.events]


async def test_a_hosted_pool_deploys_nothing_and_is_ready() -> None:
    world = await settled()
    assert conditions(world, "api")["Ready"][0] == "True"
    assert status(world, "api")["modelClass"] == "hosted"


async def test_a_policy_becomes_a_router() -> None:
    world = await settled()
    assert "Deployment research-router" in world.api.names()
    assert status(world, "research", "RoutingPolicy")["observedGeneration"] == 1


async def test_an_object_that_is_being_deleted_is_left_alone() -> None:
    world = World()
    world.api.edit("ModelPool", "big", lambda item: item["metadata"].update(deletionTimestamp=build.at(1)))
    await world.round(5.0)
    before = world.api.names()
    await reconcile_pool(world.context, POOL)
    assert world.api.names() == before
