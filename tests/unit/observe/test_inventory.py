"""How many GPUs there are for us."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.allocation.snapshot import Measurement, Sample, Unknown
from comptroller.api.settings import built_in_gpu_classes
from comptroller.kube.resources import NODE, POD, KubeDict
from comptroller.kube.store import ClusterStore
from comptroller.observe.inventory import gpu_inventory
from tests.unit.kube import build

CLASSES = {name: one for name, one in built_in_gpu_classes().items() if name in ("h100", "a100", "cpu")}


def inventory(*items: KubeDict) -> dict[tuple[str, str], Measurement]:
    store = ClusterStore()
    for item in items:
        store.upsert(NODE if item["kind"] == "Node" else POD, item)
    return gpu_inventory(store, CLASSES, {"ai/big"})


A100 = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}


def ours(name: str = "a", **more: Any) -> KubeDict:
    """A replica with four GPUs of a pool that is decided about, unless told otherwise."""
    return build.engine_pod(name, gpus=4, **more)


@pytest.mark.parametrize(
    ("items", "h100"),
    [
        pytest.param([build.node()], 8, id="a ready node counts"),
        pytest.param([build.node(), build.node("node-2", 4)], 12, id="nodes add up"),
        pytest.param([build.node(ready="False")], 0, id="a node that is not ready does not count"),
        pytest.param([build.node(ready="Unknown")], 0, id="a node that is silent does not count"),
        pytest.param([build.node(cordoned=True)], 0, id="a cordoned node offers nothing"),
        pytest.param([build.node(cordoned=True), ours()], 4, id="what we hold on a cordoned node is ours"),
        pytest.param([build.node(ready="False"), ours()], 4, id="so it is on a node that is not ready"),
        pytest.param([build.node(ready="Unknown", gpus=0), ours()], 4, id="and on one that tells no amount"),
        pytest.param(
            [build.node(cordoned=True), ours(), ours(name="b", node="node-2"), build.node("node-2")],
            12,
            id="a node that is drained loses only what nobody of us holds",
        ),
        pytest.param([build.node(cordoned=True), ours(phase="Failed")], 0, id="an ended replica holds nothing there"),
        pytest.param(
            [build.node(cordoned=True), ours(deletionTimestamp=build.at(1))], 0, id="a replica that goes takes its GPUs"
        ),
        pytest.param([build.node(cordoned=True, labels=A100), ours()], 0, id="a cordoned node of another class"),
        pytest.param([build.node(cordoned=True), build.foreign_pod()], 0, id="what others hold there is theirs"),
        pytest.param([build.node(cordoned=True), ours(pool="stalled")], 0, id="and what a stalled pool holds there"),
        pytest.param([build.node(), ours(pool="stalled")], 4, id="a stalled pool's replicas are strangers"),
        pytest.param([build.node(), ours(namespace="other")], 4, id="so is a pool of that name elsewhere"),
        pytest.param([build.node(), ours(component="warmup")], 4, id="so is what is no replica"),
        pytest.param([build.node(), ours(deletionTimestamp=build.at(1))], 8, id="a replica that goes leaves its GPUs"),
        pytest.param([build.node(labels=A100)], 0, id="a node of another class does not count"),
        pytest.param([build.node(gpus=0)], 0, id="a node whose plugin has not come up offers none"),
        pytest.param([build.node(gpus="many")], 0, id="an amount that is no number is none"),
        pytest.param([build.node(), build.foreign_pod()], 6, id="what others hold is subtracted"),
        pytest.param([build.node(), build.foreign_pod(gpus=99)], 0, id="a node has never fewer than none"),
        pytest.param([build.node(), build.node("node-2"), build.foreign_pod(gpus=99)], 8, id="each node for itself"),
        pytest.param([build.node(), build.foreign_pod(phase="Succeeded")], 8, id="an ended pod holds nothing"),
        pytest.param([build.node(), build.foreign_pod(on="")], 8, id="a pod without a node holds nothing"),
        pytest.param([build.node(), build.foreign_pod(on="node-9")], 8, id="a pod elsewhere holds nothing here"),
        pytest.param([build.node(), build.engine_pod("a", gpus=4)], 8, id="our own replicas are ours"),
    ],
)
def test_gpus_of_a_class(items: list[KubeDict], h100: int) -> None:
    assert inventory(*items)["h100", ""] == Sample(float(h100))


def test_a_class_without_nodes_has_none_and_a_class_without_gpus_no_inventory() -> None:
    found = inventory(build.node())
    assert found["a100", ""] == Sample(0.0)
    assert ("cpu", "") not in found


def test_a_cluster_without_nodes_is_not_known() -> None:
    found = inventory()
    assert set(found) == {("h100", ""), ("a100", "")}
    assert all(isinstance(one, Unknown) and "no node is known" in one.reason for one in found.values())
