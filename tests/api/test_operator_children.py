"""Children: hand edits are put back, owners take them along, and what belongs to others is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.api.operator_objects import hosted_pool, local_pool, policy, warmup
from tests.api.operator_process import MANAGED, Fleet, until

pytestmark = [pytest.mark.api, pytest.mark.xdist_group("operator")]

CHILDREN = "deployments,replicasets,pods,services,configmaps,poddisruptionbudgets,networkpolicies,jobs"


@pytest.fixture(scope="module")
def settled(fleet: Fleet) -> Fleet:
    """A pool, a hosted one and their policy, ready."""
    fleet.apply(local_pool("edited", fleet.gpu_class), hosted_pool("api"), policy("desk", "edited", "api"))
    fleet.drive("desk", chat=0)
    until("the pool is deployed", lambda: fleet.wanted("edited") == 1)
    fleet.ready("modelpool/edited", "modelpool/api", "routingpolicy/desk")
    return fleet


EDITS: dict[str, tuple[str, str, dict[str, Any], Callable[[dict[str, Any]], Any]]] = {
    "replicas": ("deployment", "edited", {"spec": {"replicas": 3}}, lambda one: one["spec"]["replicas"]),
    "image": (
        "deployment",
        "edited",
        {"spec": {"template": {"spec": {"containers": [{"name": "engine", "image": "example.com/other:1"}]}}}},
        lambda one: one["spec"]["template"]["spec"]["containers"][0]["image"],
    ),
    "label": (
        "deployment",
        "edited",
        {"metadata": {"labels": {"app.kubernetes.io/name": "mine"}}},
        lambda one: one["metadata"]["labels"]["app.kubernetes.io/name"],
    ),
    "selector of a Service": (
        "service",
        "edited",
        {"spec": {"selector": {"comptroller.dev/pool": "other"}}},
        lambda one: one["spec"]["selector"],
    ),
    # its limits and weights move with every decision: what is put back is its list of models
    "configuration of a router": (
        "configmap",
        "desk-router",
        {"data": {"config.yaml": "model_list: []\n"}},
        lambda one: [entry["model_name"] for entry in yaml.safe_load(one["data"]["config.yaml"])["model_list"]],
    ),
    "disruption budget": (
        "poddisruptionbudget",
        "edited",
        {"metadata": {"labels": {"app.kubernetes.io/component": "mine"}}},
        lambda one: one["metadata"]["labels"]["app.kubernetes.io/component"],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_hand_edited_child_is_put_back(settled: Fleet, edit: str) -> None:
    kind, name, patch, read = EDITS[edit]
    before = read(settled.get(kind, name))
    settled.kubectl("patch", kind, name, "--type=strategic", f"--patch={json.dumps(patch)}")
    until("it is put back", lambda: read(settled.get(kind, name)) == before, 20)
    owner = "desk" if name.startswith("desk") else "edited"

    def told() -> bool:
        found = [one for one in settled.events("DriftCorrected") if one["regarding"]["name"] == owner]
        return any(one["note"].lower().startswith(f"{kind} {name} ") for one in found)

    until("an event tells of it", told, 20)


def test_a_field_that_somebody_adds_and_the_operator_does_not_set_is_left_alone(settled: Fleet) -> None:
    mark = settled.mark()
    settled.kubectl("annotate", "deployment", "edited", "example.com/ticket=42")
    settled.kubectl("label", "service", "edited", "example.com/team=ml")
    decided = settled.operator.metric("comptroller_decision_seconds_count")
    until("five decisions", lambda: settled.operator.metric("comptroller_decision_seconds_count") >= decided + 5)
    assert settled.get("deployment", "edited")["metadata"]["annotations"]["example.com/ticket"] == "42"
    assert settled.get("service", "edited")["metadata"]["labels"]["example.com/team"] == "ml"
    assert not [one for one in settled.writes(mark) if "/deployments/" in one or "/services/" in one]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("service", "edited"),
        ("deployment", "edited"),
        ("configmap", "desk-router"),
        ("networkpolicy", "edited"),
        ("poddisruptionbudget", "desk-router"),
    ],
)
def test_a_deleted_child_comes_back(settled: Fleet, kind: str, name: str) -> None:
    uid = settled.get(kind, name)["metadata"]["uid"]
    settled.kubectl("delete", kind, name, "--wait=false")

    def back() -> bool:
        found = settled.get(kind, name).get("metadata", {})
        return found.get("uid", uid) != uid and "deletionTimestamp" not in found

    until("it is there again", back, 20)


def test_children_go_with_their_owner(fleet: Fleet) -> None:
    fleet.apply(local_pool("leaving", fleet.gpu_class), policy("parting", "leaving"), warmup("gone", "leaving"))
    fleet.drive("parting", chat=0)
    until("the warm-up has run", lambda: _of(fleet, "job", "gone"))
    until("the router runs", lambda: fleet.get("deployment", "parting-router"))
    fleet.kubectl("delete", "cachewarmup/gone")
    until("its Jobs and plans are gone", lambda: not _of(fleet, "job", "gone") and not _of(fleet, "configmap", "gone"))
    fleet.kubectl("delete", "routingpolicy/parting")
    until("the router is gone", lambda: not _of(fleet, CHILDREN, "parting"))
    assert _of(fleet, "deployment", "leaving")
    fleet.kubectl("delete", "modelpool/leaving")
    until("the pool's children are gone", lambda: not _of(fleet, CHILDREN, "leaving"))
    decided = fleet.operator.metric("comptroller_decision_seconds_count")
    until("three decisions", lambda: fleet.operator.metric("comptroller_decision_seconds_count") >= decided + 3)
    assert not [one for name in ("gone", "parting", "leaving") for one in _of(fleet, CHILDREN, name)]
    assert fleet.operator.complaints() == []


FOREIGN: dict[str, dict[str, Any]] = {
    "deployment": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "other"}},
            "template": {
                "metadata": {"labels": {"app": "other"}},
                "spec": {"containers": [{"name": "other", "image": "example.com/other:1"}]},
            },
        },
    },
    "service": {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}], "selector": {"app": "other"}}},
    "configmap": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "mine"}},
}


@pytest.mark.parametrize("labelled", [False, True], ids=["without our label", "with our label"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_an_object_of_somebody_else_is_reported_and_never_touched(fleet: Fleet, kind: str, labelled: bool) -> None:
    owner, child = ("routingpolicy/theirs", "theirs-router") if kind == "configmap" else ("modelpool/theirs", "theirs")
    owner_kind, owner_name = owner.split("/")
    labels = dict([MANAGED.split("=")]) if labelled else {}
    fleet.apply({**FOREIGN[kind], "metadata": {"name": child, "labels": labels}})
    before = fleet.kubectl("get", kind, child, "--output=yaml", "--show-managed-fields")
    if kind == "configmap":
        fleet.apply(hosted_pool("theirs-api"), policy("theirs", "theirs-api"))
    else:
        fleet.apply(local_pool("theirs", fleet.gpu_class))
    fleet.kubectl("wait", "--for=condition=Stalled", owner, "--timeout=30s")
    stalled = fleet.condition(owner_kind, owner_name, "Stalled")
    assert stalled["reason"] == "NameTaken"
    assert f"{FOREIGN[kind]['kind']} {child}" in stalled["message"]
    assert "remove" in stalled["message"]
    assert fleet.kubectl("get", kind, child, "--output=yaml", "--show-managed-fields") == before
    # nothing of a half-made object is left, and it goes on when the name is free
    assert not [one for one in fleet.all(CHILDREN, "-l", MANAGED) if one["metadata"]["name"].startswith("theirs") and
                "ownerReferences" in one["metadata"]]  # fmt: skip
    fleet.kubectl("delete", kind, child)
    until("it goes on", lambda: fleet.condition(owner_kind, owner_name, "Stalled").get("status") == "False", 40)
    until("the child is its own", lambda: fleet.get(kind, child)["metadata"].get("ownerReferences"))
    fleet.kubectl("delete", owner)
    until("the child is gone", lambda: not fleet.get(kind, child))


def _of(fleet: Fleet, kinds: str, instance: str) -> list[dict[str, Any]]:
    """Children of one object."""
    return fleet.all(kinds, "-l", f"app.kubernetes.io/instance={instance}")
