"""Where the API server has each kind."""

from __future__ import annotations

import pytest

from comptroller.kube.resources import (
    BY_KIND,
    CHILDREN,
    MODEL_POOL,
    NODE,
    OWNED_BY_USERS,
    POD,
    SERVICE,
    WATCHED,
    key_of,
    owner_of,
)
from tests.unit.kube import build


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "subresource", "path"),
    [
        ("Pod", "ai", "a", None, "/api/v1/namespaces/ai/pods/a"),
        ("Pod", None, None, None, "/api/v1/pods"),
        ("Node", "ignored", "n", None, "/api/v1/nodes/n"),
        ("Deployment", "ai", "d", "scale", "/apis/apps/v1/namespaces/ai/deployments/d/scale"),
        ("ModelPool", "ai", "m", "status", "/apis/comptroller.dev/v1alpha1/namespaces/ai/modelpools/m/status"),
        ("Event", "ai", None, None, "/apis/events.k8s.io/v1/namespaces/ai/events"),
    ],
)
def test_a_kind_lives_at_its_path(kind: str, namespace: str, name: str, subresource: str, path: str) -> None:
    assert BY_KIND[kind].path(namespace, name, subresource) == path


def test_only_children_are_filtered_by_our_label() -> None:
    """But for Services: one that is not ours may lead a pool's name elsewhere."""
    ours = [one for one in CHILDREN if one is not SERVICE]
    assert all(one.selector == "app.kubernetes.io/managed-by=comptroller" for one in ours)
    assert all(one.selector is None for one in (*OWNED_BY_USERS, SERVICE, POD, NODE))
    assert len({(one.group, one.plural) for one in WATCHED}) == len(WATCHED)


def test_a_cluster_scoped_object_has_an_empty_namespace() -> None:
    assert key_of(build.node("n")) == ("", "n")
    assert key_of(build.pool("big")) == ("ai", "big")
    assert MODEL_POOL.api_version == build.pool()["apiVersion"]


def test_only_the_controlling_owner_counts() -> None:
    child = build.item("Service", "s", owner="u1")
    assert (owner_of(child) or {})["uid"] == "u1"
    child["metadata"]["ownerReferences"][0]["controller"] = False
    assert owner_of(child) is None
    assert owner_of(build.item("Service", "s")) is None
