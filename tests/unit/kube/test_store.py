"""The picture of the cluster: newer wins, a list heals, whatever order things arrive in."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from comptroller.kube.resources import DEPLOYMENT, MODEL_POOL, POD, SERVICE, KubeDict
from comptroller.kube.store import ClusterStore
from tests.unit.kube import build

KEY = ("ai", "big")


def pool(version: int, uid: str = "u1", name: str = "big", **more: Any) -> KubeDict:
    return build.item("ModelPool", name, version, uid, **more)


def store_of(*items: KubeDict) -> ClusterStore:
    store = ClusterStore()
    for item in items:
        store.upsert(MODEL_POOL, item)
    return store


def version_of(store: ClusterStore) -> str | None:
    found = store.get(MODEL_POOL, KEY)
    return None if found is None else f"{found['metadata']['uid']}@{found['metadata']['resourceVersion']}"


def test_a_newer_state_replaces_an_older_one() -> None:
    store = store_of(pool(1))
    assert store.upsert(MODEL_POOL, pool(2))
    assert version_of(store) == "u1@2"


def test_a_late_or_repeated_event_changes_nothing() -> None:
    store = store_of(pool(9))
    assert not store.upsert(MODEL_POOL, pool(9))
    assert not store.upsert(MODEL_POOL, pool(8))
    assert version_of(store) == "u1@9"


def test_versions_are_numbers_and_not_words() -> None:
    store = store_of(pool(9))
    assert store.upsert(MODEL_POOL, pool(10))
    assert version_of(store) == "u1@10"


def test_an_object_made_anew_under_its_old_name_takes_its_place() -> None:
    store = store_of(pool(5))
    assert store.upsert(MODEL_POOL, pool(7, "u2"))
    assert version_of(store) == "u2@7"


def test_a_late_event_of_the_object_before_does_not_displace_the_new_one() -> None:
    store = store_of(pool(5), pool(7, "u2"))
    assert not store.upsert(MODEL_POOL, pool(6, "u1"))
    assert not store.remove(MODEL_POOL, pool(6, "u1"))
    assert version_of(store) == "u2@7"


def test_what_was_deleted_does_not_come_back_with_a_late_event_or_the_answer_to_a_write() -> None:
    store = store_of(pool(5))
    assert store.remove(MODEL_POOL, pool(6))
    assert not store.upsert(MODEL_POOL, pool(5))
    assert version_of(store) is None
    assert store.upsert(MODEL_POOL, pool(7, "u2"))


def test_a_deletion_that_is_older_than_what_is_known_is_late() -> None:
    """A child that lost our label is deleted for the watch; when it has the label again, it is the same object."""
    store = store_of(pool(5))
    store.remove(MODEL_POOL, pool(6))
    assert store.upsert(MODEL_POOL, pool(8))
    assert not store.remove(MODEL_POOL, pool(6))
    assert version_of(store) == "u1@8"


def test_a_list_heals_lost_deletions_and_says_what_changed() -> None:
    store = store_of(pool(1), pool(2, "u2", "gone"), pool(3, "u3", "changed"))
    changed = store.replace(MODEL_POOL, [pool(1), pool(9, "u3", "changed"), pool(8, "u4", "new")])
    assert sorted(one["metadata"]["name"] for one in changed) == ["changed", "gone", "new"]
    assert [one["metadata"]["name"] for one in store.all(MODEL_POOL)] == ["big", "changed", "new"]


def test_the_list_of_a_namespace_forgets_nothing_of_another() -> None:
    store = store_of(pool(1), pool(2, "u2", "other", namespace="lab"))
    store.replace(MODEL_POOL, [], namespace="ai")
    assert [one["metadata"]["namespace"] for one in store.all(MODEL_POOL)] == ["lab"]


def test_what_was_created_while_the_list_was_under_way_stays() -> None:
    store = store_of(pool(1), pool(2, "u2", "gone"))
    marked = store.uids(MODEL_POOL)
    store.upsert(MODEL_POOL, pool(9, "u9", "born-meanwhile"))
    store.replace(MODEL_POOL, [pool(1)], marked=marked)
    assert [one["metadata"]["name"] for one in store.all(MODEL_POOL)] == ["big", "born-meanwhile"]


def test_what_was_deleted_while_the_list_was_under_way_stays_away() -> None:
    store = store_of(pool(1))
    marked = store.uids(MODEL_POOL)
    store.remove(MODEL_POOL, pool(2))
    assert store.replace(MODEL_POOL, [pool(1)], marked=marked) == []
    assert version_of(store) is None


def test_children_are_found_by_the_uid_of_their_owner() -> None:
    store = ClusterStore()
    service, deployment = build.item("Service", "big", 1, owner="u1"), build.item("Deployment", "big", 1, owner="u1")
    store.upsert(SERVICE, service)
    store.upsert(DEPLOYMENT, deployment)
    store.upsert(SERVICE, build.item("Service", "other", 1, owner="u2"))
    assert [one["kind"] for one in store.children("u1")] == ["Deployment", "Service"]
    store.remove(SERVICE, service)
    assert [one["kind"] for one in store.children("u1")] == ["Deployment"]
    store.upsert(DEPLOYMENT, build.item("Deployment", "big", 2, owner="u2"))
    assert store.children("u1") == []
    assert [one["metadata"]["name"] for one in store.children("u2")] == ["big", "other"]


def test_of_foreign_pods_only_what_holds_gpus_is_kept() -> None:
    store = ClusterStore()
    store.upsert(POD, build.foreign_pod())
    kept = store.get(POD, ("ai", "training"))
    assert kept is not None
    assert kept["spec"] == {
        "nodeName": "node-1",
        "containers": [{"resources": {"limits": {"nvidia.com/gpu": "2", "cpu": "8"}}}],
    }
    assert kept["status"] == {"phase": "Running"}
    assert set(kept["metadata"]) == {"name", "namespace", "uid", "resourceVersion", "labels"}


def test_of_foreign_services_only_where_they_lead_is_kept() -> None:
    foreign = build.item("Service", "theirs", 1) | {
        "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.9", "ports": [1]}
    }
    foreign["metadata"] |= {"labels": {"app": "x"}, "annotations": {"note": "long"}}
    own = build.item("Service", "ours", 1, owner="u1") | {"spec": {"ports": [1]}}
    store = ClusterStore()
    store.upsert(SERVICE, foreign)
    store.upsert(SERVICE, own)
    kept, mine = sorted(store.all(SERVICE), key=lambda one: one["metadata"]["name"] == "ours")
    assert kept["spec"] == {"type": "ClusterIP", "clusterIP": "10.0.0.9"}
    assert not {"labels", "annotations"} & {*kept["metadata"]}
    assert mine["spec"] == {"ports": [1]}


def test_our_own_pods_are_kept_whole_but_for_the_managed_fields() -> None:
    pod = build.engine_pod("a")
    pod["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    store = ClusterStore()
    store.upsert(POD, pod)
    kept = store.get(POD, ("ai", "a"))
    assert kept is not None
    assert (kept["spec"], kept["status"]) == (pod["spec"], pod["status"])
    assert "managedFields" not in kept["metadata"]
    assert "managedFields" in pod["metadata"]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[str, KubeDict]], list[KubeDict]]:
    """A true history of three names, as events in any order with losses and doubles, and the list at its end."""
    living: dict[str, KubeDict] = {}
    events: list[tuple[str, KubeDict]] = []
    for version in range(1, draw(st.integers(1, 25))):
        name = draw(st.sampled_from("abc"))
        known = living.get(name)
        owner = draw(st.sampled_from(["", "o1", "o2"]))
        if known is not None and draw(st.booleans()):
            gone = living.pop(name)
            dead = build.item("Service", name, version, gone["metadata"]["uid"])
            events.append(("DELETED", dead))
        else:
            uid = known["metadata"]["uid"] if known else f"uid-{version}"
            living[name] = build.item("Service", name, version, uid, owner)
            events.append(("MODIFIED" if known else "ADDED", living[name]))
    seen = draw(st.lists(st.sampled_from(events), max_size=40)) if events else []
    return seen, list(living.values())


@given(histories())
def test_any_order_of_events_and_then_one_list_is_the_list(
    history: tuple[list[tuple[str, KubeDict]], list[KubeDict]],
) -> None:
    events, listed = history
    store = ClusterStore()
    for kind, item in events:
        if kind == "DELETED":
            store.remove(SERVICE, item)
        else:
            store.upsert(SERVICE, item)
    store.replace(SERVICE, listed)
    assert list(store.all(SERVICE)) == sorted(listed, key=lambda one: one["metadata"]["name"])
    for owner in ("o1", "o2"):
        mine = [one for one in listed if (one["metadata"].get("ownerReferences") or [{}])[0].get("uid") == owner]
        assert len(store.children(owner)) == len(mine)


@given(histories(), st.integers(0, 40))
def test_events_that_arrive_after_the_list_and_are_older_than_it_undo_nothing(
    history: tuple[list[tuple[str, KubeDict]], list[KubeDict]], cut: int
) -> None:
    events, listed = history
    store = ClusterStore()
    living = {one["metadata"]["uid"] for one in listed}

    def take(some: list[tuple[str, KubeDict]]) -> None:
        for kind, item in some:
            if kind == "DELETED":
                store.remove(SERVICE, item)
            else:
                store.upsert(SERVICE, item)

    take(events[:cut])
    store.replace(SERVICE, listed)
    take([one for one in events[cut:] if one[1]["metadata"]["uid"] in living])
    assert list(store.all(SERVICE)) == sorted(listed, key=lambda one: one["metadata"]["name"])
