"""How many GPUs there are for us."""

from __future__ import annotations

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
    return gpu_inventory(store, CLASSES)


A100 = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}


@pytest.mark.parametrize(
    ("items", "h100"),
    [
        pytest.param([build.node()], 8, id="a ready node counts"),
        pytest.param([build.node(), build.node("node-2", 4)], 12, id="nodes add up"),
        pytest.param([build.node(ready="False")], 0, id="a node that is not ready does not count"),
        pytest.param([build.node(ready="Unknown")], 0, id="a node that is silent does not count"),
        pytest.param([build.node(cordoned=True)], 0, id="a cordoned node does not count"),
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
