"""What an event or a list asks for. No reconciler runs here; the queue is what is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import Memory, Snapshot
from comptroller.api.settings import Settings
from comptroller.kube.client import KubeError
from comptroller.kube.resources import BY_KIND, MODEL_POOL, POD, SERVICE, WATCHED, KubeDict, Resource, key_of
from comptroller.observe.measurements import Measurements
from comptroller.runtime import operator as module
from comptroller.runtime.operator import MissingCrdError, Operator
from comptroller.runtime.reconcile.context import Context, NotYetError
from comptroller.runtime.state import Picture, Specs, wish_of
from tests.unit.kube import build

Key = tuple[str, tuple[str, str]]


class Lists:
    """A client that only lists. `meanwhile` runs while a list is under way, as a watch would."""

    def __init__(self, *items: KubeDict) -> None:
        self.items = list(items)
        self.asked: list[tuple[str, str | None]] = []
        self.error: KubeError | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        self.writes = 0

    async def list(self, resource: Resource, namespace: str | None = None) -> AsyncIterator[KubeDict]:
        self.asked.append((resource.kind, namespace))
        if self.error is not None:
            raise self.error
        found = [one for one in self.items if one["kind"] == resource.kind and namespace in (None, key_of(one)[0])]
        self.meanwhile()
        for one in found:
            yield one


class World:
    def __init__(self, *items: KubeDict, **settings: Any) -> None:
        self.client = Lists(*items)
        self.operator = Operator(self.client, Settings(**settings))  # type: ignore[arg-type]

    def see(self, *items: KubeDict, kind: str | None = "MODIFIED") -> None:
        for item in items:
            self.operator.observe(BY_KIND[item["kind"]], kind, item)

    def asked(self) -> set[Key]:
        """What the queue holds, which is then forgotten."""
        found = set(self.operator.queue._when)
        self.operator.queue._when.clear()
        return found

    def decision_asked(self) -> bool:
        """Whether a decision was asked for, which is then forgotten."""
        asked = self.operator.loop._asked.is_set()
        self.operator.loop._asked.clear()
        return asked

    def decided(self) -> None:
        """A first decision over what there is."""
        pools = self.operator.store.all(MODEL_POOL)
        specs = Specs(asked={("ModelPool", "/".join(key_of(one))): wish_of(one) for one in pools})
        decision = Decision({}, {}, {}, 0.0, "milp", Memory())
        self.operator.context.state.picture = Picture(
            0.0, specs, Measurements(), {}, Snapshot(0.0, (), (), (), {}), decision
        )


BIG: Key = ("ModelPool", ("ai", "big"))
NEW = "fresh"


def seen_pool(version: int = 1, generation: int = 1) -> KubeDict:
    """A pool whose status has taken in its spec of generation 1."""
    pool = build.pool(status={"observedGeneration": 1})
    pool["metadata"] |= {"resourceVersion": str(version), "generation": generation}
    return pool


def test_a_user_object_asks_for_itself_and_for_a_decision() -> None:
    world = World()
    world.see(seen_pool())
    assert (world.asked(), world.decision_asked()) == ({BIG}, True)


def test_a_status_that_was_written_asks_for_no_decision_and_a_new_spec_does() -> None:
    world = World()
    world.see(seen_pool())
    world.decided()
    world.decision_asked()
    world.see(seen_pool(2))
    assert not world.decision_asked()
    world.see(seen_pool(3, generation=2))
    assert world.decision_asked()


@pytest.mark.parametrize("annotation", ["comptroller.dev/paused", "comptroller.dev/hold-replicas"])
def test_an_annotation_that_steers_asks_for_a_decision(annotation: str) -> None:
    world = World()
    world.see(seen_pool())
    world.decided()
    world.decision_asked()
    changed = seen_pool(2)
    changed["metadata"]["annotations"] = {annotation: "true"}
    world.see(changed)
    assert world.decision_asked()


def test_a_deleted_object_asks_for_a_decision() -> None:
    world = World()
    world.see(seen_pool())
    world.decided()
    world.decision_asked()
    world.see(seen_pool(2), kind="DELETED")
    assert world.decision_asked()


@pytest.mark.parametrize("kind", ["Deployment", "Service", "ConfigMap", "Job", "PodDisruptionBudget", "NetworkPolicy"])
@pytest.mark.parametrize("event", ["ADDED", "DELETED"])
def test_a_child_asks_for_its_owner(kind: str, event: str) -> None:
    world = World()
    child = build.item(kind, "big-engine", owner="owner-1")
    if event == "DELETED":
        world.operator.store.upsert(BY_KIND[kind], child)
        child = build.item(kind, "big-engine", 2, owner="owner-1")
    world.see(child, kind=event)
    assert (world.asked(), world.decision_asked()) == ({BIG}, False)


def test_a_child_of_nobody_or_of_another_controller_asks_for_nothing() -> None:
    world = World()
    stranger = build.item("Service", "b", owner="x")
    stranger["metadata"]["ownerReferences"][0]["kind"] = "Gateway"
    world.see(build.item("Service", "a"), stranger)
    assert world.asked() == set()


def test_a_late_or_repeated_event_asks_for_nothing() -> None:
    world = World()
    world.see(seen_pool(5))
    world.asked(), world.decision_asked()
    world.see(seen_pool(5), seen_pool(4))
    world.see(seen_pool(4), kind="DELETED")
    assert (world.asked(), world.decision_asked()) == (set(), False)


def test_a_replica_asks_for_its_pool_its_warmups_and_a_decision() -> None:
    world = World()
    world.see(build.item("CacheWarmup", "rules"), build.item("CacheWarmup", "other", namespace="lab"))
    world.asked(), world.decision_asked()
    world.see(build.engine_pod("a"))
    assert (world.asked(), world.decision_asked()) == ({BIG, ("CacheWarmup", ("ai", "rules"))}, True)


def test_a_pod_of_a_warmup_asks_for_it() -> None:
    world = World()
    labels = {**build.MANAGED, "batch.kubernetes.io/job-name": "rules-1", "comptroller.dev/warmup": "rules"}
    world.see(build.item("Pod", "rules-1-x", labels=labels))
    assert world.asked() == {("CacheWarmup", ("ai", "rules"))}


def test_nodes_and_pods_of_others_wait_for_the_next_tick() -> None:
    world = World()
    world.see(build.node(), build.foreign_pod())
    assert (world.asked(), world.decision_asked()) == (set(), False)


async def test_a_list_finds_what_the_watch_has_lost() -> None:
    world = World(seen_pool())
    world.see(build.item("Service", "big", owner="owner-1"), build.engine_pod("a"))
    world.asked(), world.decision_asked()
    for resource in WATCHED:
        await world.operator.relist(resource)
    assert world.asked() == {BIG}
    assert world.operator.store.children("owner-1") == []
    assert list(world.operator.store.all(POD)) == []
    await world.operator.relist(MODEL_POOL)
    assert world.asked() == set()


async def test_what_happens_while_a_list_is_under_way_is_not_undone_by_it() -> None:
    gone = build.pool("gone")
    world = World(seen_pool(), gone)
    world.see(seen_pool(), gone)

    def meanwhile() -> None:
        world.see(build.pool(NEW))
        later = build.pool("gone")
        later["metadata"]["resourceVersion"] = "7"
        world.see(later, kind="DELETED")

    world.client.meanwhile = meanwhile
    await world.operator.relist(MODEL_POOL)
    assert [one["metadata"]["name"] for one in world.operator.store.all(MODEL_POOL)] == ["big", NEW]


async def test_only_the_watched_namespaces_are_listed_and_nodes_as_a_whole() -> None:
    world = World(watch_namespaces=["ai", "lab"])
    await world.operator.relist(SERVICE)
    await world.operator.relist(BY_KIND["Node"])
    assert world.client.asked == [("Service", "ai"), ("Service", "lab"), ("Node", None)]


async def test_a_kind_of_ours_that_is_not_served_is_told_with_the_remedy() -> None:
    world = World()
    world.client.error = KubeError(404, "404 page not found")
    with pytest.raises(MissingCrdError, match=r"modelpools\.comptroller\.dev.*crds/"):
        await world.operator.relist(MODEL_POOL)
    with pytest.raises(KubeError):
        await world.operator.relist(SERVICE)


async def test_a_list_that_fails_forgets_nothing() -> None:
    world = World()
    world.see(seen_pool())
    world.client.error = KubeError(500, "etcd has no leader")
    with pytest.raises(KubeError):
        await world.operator.relist(MODEL_POOL)
    assert len(list(world.operator.store.all(MODEL_POOL))) == 1


@pytest.mark.parametrize(
    ("error", "failing"),
    [
        (None, 0),
        (NotYetError(), 0),
        (KubeError(409, "conflict"), 1),
        (KubeError(0, "no answer"), 1),
        (RuntimeError("a mistake of ours"), 1),
    ],
)
async def test_a_reconcile_that_fails_comes_back_and_never_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, failing: int
) -> None:
    async def reconcile(_: Context, __: tuple[str, str]) -> None:
        if error is not None:
            raise error

    monkeypatch.setitem(module.RECONCILERS, "ModelPool", reconcile)
    world = World()
    await world.operator._work(BIG)
    assert world.operator.queue.failing == failing
    assert world.asked() == ({BIG} if failing else set())


def test_readiness_waits_for_the_first_decision_and_health_does_not() -> None:
    world = World()
    assert (world.operator.ready()["ok"], world.operator.healthy()["ok"]) == (False, True)
    world.decided()
    world.operator._synced_at = 0.0
    assert world.operator.ready()["ok"]
    world.operator.context.state.last_round_seconds = 0.0
    assert not world.operator.healthy()["ok"], "the loop came round in 1970"
