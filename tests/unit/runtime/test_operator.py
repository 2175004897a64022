"""What an event or a list asks for. No reconciler runs here; the queue is what is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import Memory, Snapshot
from comptroller.api.settings import Settings
from comptroller.kube.client import KubeError
from comptroller.kube.resources import (
    BY_KIND,
    CHILDREN,
    MODEL_POOL,
    POD,
    ROUTING_POLICY,
    SERVICE,
    WATCHED,
    KubeDict,
    Resource,
    key_of,
)
from comptroller.observe.measurements import Measurements
from comptroller.runtime import operator as module
from comptroller.runtime.clock import monotonic_seconds, now_seconds
from comptroller.runtime.operator import MissingCrdError, Operator
from comptroller.runtime.reconcile.context import Context, NotYetError
from comptroller.runtime.state import Picture, Specs, wish_of
from tests.unit.apply.fake_api import FakeApi
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
            now_seconds(), specs, Measurements(), {}, Snapshot(0.0, (), (), (), {}), decision
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
    assert not world.operator.ready()["ok"], "not everything has been listed"
    world.operator._synced_at = 0.0
    assert world.operator.ready()["ok"]
    world.operator.context.state.last_round_seconds = 0.0
    assert not world.operator.healthy()["ok"], "the loop came round in 1970"


def test_a_process_whose_rounds_all_fail_is_not_healthy_once_it_had_a_picture() -> None:
    world = World()
    limit = world.operator._limit_seconds
    assert world.operator.healthy()["ok"], "before the first picture that is for readiness to tell"
    world.decided()
    world.operator.loop.succeeded_seconds = now_seconds() - limit + 5
    assert world.operator.healthy()["ok"]
    world.operator.loop.succeeded_seconds = now_seconds() - limit - 5
    assert not world.operator.healthy()["ok"]


def test_an_auditor_that_keeps_refusing_makes_it_unready_and_not_unhealthy() -> None:
    world = World()
    world.decided()
    world.operator._synced_at = 0.0
    state = world.operator.context.state
    assert state.picture is not None
    state.picture = replace(state.picture, at_seconds=now_seconds() - world.operator._limit_seconds - 5)
    world.operator.loop.succeeded_seconds = now_seconds()
    assert (world.operator.healthy()["ok"], world.operator.ready()["ok"]) == (True, False)


def waits(world: World) -> bool:
    """Whether the failed pool still waits for its next attempt."""
    return world.operator.queue._when[BIG] > monotonic_seconds() + 30


def failed(world: World) -> None:
    """The pool was understood, and its last attempt failed."""
    world.see(seen_pool())
    world.decided()
    world.operator.queue._when.clear()
    world.operator.queue.retry(BIG, 60.0)


def test_a_status_does_not_cut_short_the_wait_of_a_failed_object_and_news_do() -> None:
    world = World()
    failed(world)
    world.see(seen_pool(2))
    assert waits(world)
    world.see(seen_pool(3, generation=2))
    assert not waits(world)


@pytest.mark.parametrize("child", [build.item("Service", "big", owner="owner-1"), build.engine_pod("a")])
def test_a_changed_child_cuts_short_the_wait_of_its_failed_owner(child: KubeDict) -> None:
    world = World()
    failed(world)
    world.see(child)
    assert not waits(world)


class Refusing:
    """An operator before an API server that refuses a child of its only pool."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: KubeError, status: KubeDict | None = None) -> None:
        self.api = FakeApi()
        self.operator = Operator(self.api, Settings(), store=self.api.store)  # type: ignore[arg-type]
        pool = build.pool(status=status or {})
        pool["metadata"]["generation"] = 3
        live = self.api.put(pool)
        specs = Specs(asked={("ModelPool", "ai/big"): wish_of(live)})
        self.operator.context.state.picture = Picture(
            0.0, specs, Measurements(), {}, Snapshot(0.0, (), (), (), {}), Decision({}, {}, {}, 0.0, "milp", Memory())
        )
        self.tries = 0

        async def reconcile(*_: Any) -> None:
            self.tries += 1
            raise error

        monkeypatch.setitem(module.RECONCILERS, "ModelPool", reconcile)

    def status(self) -> KubeDict:
        found: KubeDict = (self.api.live("ModelPool", "big") or {})["status"]
        return found


QUOTA = KubeError(403, 'deployments.apps "big" is forbidden: exceeded quota: gpus.')


@pytest.mark.parametrize("status", [403, 422, 400])
async def test_a_refusal_of_a_child_is_told_and_the_rest_of_the_status_stays(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    metrics = {"type": "MetricsAvailable", "status": "True", "reason": "Available", "observedGeneration": 2}
    ready = {"type": "Ready", "status": "True", "reason": "DemandServed", "observedGeneration": 2}
    before = [
        {**one, "message": "m", "lastTransitionTime": build.BORN}
        for one in (ready, metrics, {**metrics, "type": "Theirs"})
    ]
    world = Refusing(
        monkeypatch, KubeError(status, QUOTA.message), {"replicas": 2, "observedGeneration": 2, "conditions": before}
    )
    await world.operator._work(BIG)
    found = {one["type"]: one for one in world.status()["conditions"]}
    text = (
        'The API server refused: deployments.apps "big" is forbidden: exceeded quota: gpus. '
        "Correct the spec, or what refuses it; it is tried again."
    )
    assert [(found[one]["status"], found[one]["reason"], found[one]["message"]) for one in ("Ready", "Stalled")] == [
        ("False", "Refused", text), ("True", "Refused", text),
    ]  # fmt: skip
    assert found["Reconciling"]["status"] == "False"
    assert (found["MetricsAvailable"], found["Theirs"]["status"]) == (before[1], "True")
    assert world.api._conditions["ModelPool", ("ai", "big")] == {"Ready", "Reconciling", "Stalled", "MetricsAvailable"}
    assert (world.status()["replicas"], world.status()["observedGeneration"]) == (2, 3)
    assert [one["reason"] for one in world.api.events] == ["Refused"]
    assert world.operator.queue.failing == 1


async def test_a_refusal_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Refusing(monkeypatch, QUOTA)
    await world.operator._work(BIG)
    writes = world.api.writes
    await world.operator._work(BIG)
    assert (world.tries, world.api.writes) == (2, writes)


@pytest.mark.parametrize("status", [0, 404, 409, 429, 500])
async def test_what_passes_by_itself_is_not_told(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    world = Refusing(monkeypatch, KubeError(status, "not now"))
    await world.operator._work(BIG)
    assert (world.api.writes, world.operator.queue.failing) == (0, 1)


@pytest.mark.parametrize("second", [KubeError(403, "nor the status"), RuntimeError("a mistake of ours")])
async def test_a_refusal_that_cannot_be_told_is_no_reason_to_try_sooner(
    monkeypatch: pytest.MonkeyPatch, second: Exception
) -> None:
    world = Refusing(monkeypatch, QUOTA)
    monkeypatch.setattr(world.api, "refuses", second)
    await world.operator._work(BIG)
    assert (world.tries, world.operator.queue._failures) == (1, {BIG: 1})
    assert world.status() == {}


async def test_a_refusal_of_what_is_no_longer_asked_for_or_no_longer_there_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Refusing(monkeypatch, QUOTA)
    world.api.edit("ModelPool", "big", lambda item: item["metadata"].update(generation=4))
    await world.operator._work(BIG)
    world.api.edit("ModelPool", "big", lambda item: item["metadata"].update(generation=3, deletionTimestamp="now"))
    await world.operator._work(BIG)
    await world.operator._work(("ModelPool", ("ai", "gone")))
    assert world.api.writes == 0


def remembers(operator: Operator) -> list[object]:
    """Everything that is remembered of single objects."""
    state = operator.context.state
    return [
        *operator.context.applier._settled, *operator.context.status._written_at, *state.last_good_policies,
        *state.history,
    ]  # fmt: skip


def with_memories(world: World) -> list[KubeDict]:
    """A policy and one child of each kind, all of them remembered."""
    items = [build.policy(), *(build.item(one.kind, "research", owner="p") for one in CHILDREN)]
    world.see(*items)
    context = world.operator.context
    context.status._written_at[items[0]["metadata"]["uid"]] = 1.0
    context.state.last_good_policies["ai/research"] = None  # type: ignore[assignment] - that it is there is enough
    context.state.history["ai/research"] = []
    context.applier._settled |= {(one.kind, ("ai", "research")): ("hash", {}) for one in CHILDREN}
    assert len(remembers(world.operator)) == 3 + len(CHILDREN)
    return items


def test_nothing_is_remembered_of_what_was_deleted() -> None:
    world = World()
    for item in with_memories(world):
        item["metadata"]["resourceVersion"] = "9"
        world.see(item, kind="DELETED")
    assert remembers(world.operator) == []


async def test_nothing_is_remembered_of_what_a_list_lacks() -> None:
    world = World()
    items = with_memories(world)
    world.client.items = items
    for resource in WATCHED:
        await world.operator.relist(resource)
    assert len(remembers(world.operator)) == 3 + len(CHILDREN)
    world.client.items = []
    for resource in WATCHED:
        await world.operator.relist(resource)
    assert remembers(world.operator) == []


def test_the_end_of_a_predecessor_forgets_nothing_of_its_successor() -> None:
    world = World()
    with_memories(world)
    for kind in (ROUTING_POLICY.kind, SERVICE.kind):
        world.see(build.item(kind, "research", 9, uid="another"), kind="DELETED")
    assert len(remembers(world.operator)) == 3 + len(CHILDREN)
