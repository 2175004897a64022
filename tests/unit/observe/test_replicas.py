"""Pods read as replicas."""

from __future__ import annotations

import pytest

from comptroller.kube.resources import POD, KubeDict
from comptroller.kube.store import ClusterStore
from comptroller.observe.replicas import PoolReplicas, moment, read_replica, replicas_by_pool, replicas_of
from tests.unit.kube import build


def store_of(*pods: KubeDict) -> ClusterStore:
    store = ClusterStore()
    for pod in pods:
        store.upsert(POD, pod)
    return store


def read(*pods: KubeDict) -> PoolReplicas:
    return replicas_of(store_of(*pods), "ai/big")


def test_replicas_are_grouped_by_pool_and_oldest_first() -> None:
    store = store_of(
        build.engine_pod("b", born=60), build.engine_pod("a", born=90), build.engine_pod("c", "small"),
        build.engine_pod("r", component="router"), build.foreign_pod(), build.engine_pod("done", phase="Failed"),
    )  # fmt: skip
    found = replicas_by_pool(store)
    assert {pool: [one.name for one in some.replicas] for pool, some in found.items()} == {
        "ai/big": ["b", "a"], "ai/small": ["c"],
    }  # fmt: skip
    assert replicas_of(store, "ai/big") == found["ai/big"]


def test_serving_starting_and_warm_are_counted_apart() -> None:
    found = read(
        build.engine_pod("a", warm=("True", "Warm")),
        build.engine_pod("b", warm=("True", "Admitted")),
        build.engine_pod("c", ready=False, warm=("True", "Warm")),
        build.engine_pod("d"),
    )
    assert [one.name for one in found.serving] == ["a", "b", "d"]
    assert [one.name for one in found.starting] == ["c"]
    assert found.warm == 1


def test_what_is_being_deleted_is_no_replica() -> None:
    assert read(build.engine_pod("a", deletionTimestamp=build.at(5))).replicas == ()


def test_a_pod_without_a_node_says_why() -> None:
    found = read(build.engine_pod("a", ready=False, node=""), build.engine_pod("b"))
    assert [(one.name, one.unschedulable) for one in found.unschedulable] == [("a", "no GPU is free")]


@pytest.mark.parametrize(
    ("pods", "seconds"),
    [
        ([], {}),
        ([build.engine_pod("a", ready_at=100), build.engine_pod("b", ready_at=140)], {"Pod-a": 100.0, "Pod-b": 140.0}),
        ([build.engine_pod("a", ready=False)], {}),
        ([build.engine_pod("a", born=60, ready_at=100)], {"Pod-a": 40.0}),
        # its container restarted: the time since creation says nothing about a start
        (
            [build.engine_pod("a", ready_at=100, started_at=99), build.engine_pod("b", ready_at=900, started_at=1000)],
            {"Pod-a": 100.0},
        ),
    ],
)
def test_a_start_lasts_from_creation_to_ready(pods: list[KubeDict], seconds: dict[str, float]) -> None:
    assert read(*pods).starts() == seconds


def test_a_pod_of_which_nothing_is_known_yet_is_a_replica_that_is_not_ready() -> None:
    bare = build.item("Pod", "a", labels=build.engine_pod("a")["metadata"]["labels"])
    one = read_replica(bare)
    assert (one.ready, one.engine_ready, one.ip, one.node, one.unschedulable, one.started_seconds) == (
        False, False, "", "", "", None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        (build.BORN, build.BORN_SECONDS),
        ("2026-11-22T07:00:00+01:00", build.BORN_SECONDS),
        ("2026-11-22T06:00:00.500000Z", build.BORN_SECONDS + 0.5),
    ],
)
def test_a_moment_is_seconds_since_the_epoch(text: str | None, seconds: float | None) -> None:
    assert moment(text) == seconds
