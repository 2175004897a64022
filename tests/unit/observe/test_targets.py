"""What Prometheus is told to scrape."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.kube.resources import POD, KubeDict
from comptroller.kube.store import ClusterStore
from comptroller.observe.targets import scrape_targets
from tests.unit.kube import build


def targets(*pods: KubeDict) -> list[dict[str, Any]]:
    store = ClusterStore()
    for pod in pods:
        store.upsert(POD, pod)
    return scrape_targets(store)


def test_an_engine_bears_its_pool() -> None:
    assert targets(build.engine_pod("a")) == [
        {
            "targets": ["10.0.0.1:8000"],
            "labels": {
                "namespace": "ai", "pod": "a", "component": "engine", "pool": "big", "__metrics_path__": "/metrics",
            },
        }
    ]  # fmt: skip


def test_a_router_bears_its_policy_under_a_name_that_its_own_series_do_not_use() -> None:
    router = build.engine_pod("r", component="router", labels={"comptroller.dev/policy": "research"})
    labels = targets(router)[0]["labels"]
    assert labels["router_policy"] == "ai/research"
    assert "router" in labels
    assert "policy" not in labels
    assert labels["__metrics_path__"] == "/metrics/"


def without_ip() -> KubeDict:
    pod = build.engine_pod("a")
    pod["status"]["podIP"] = ""
    return pod


def without_port() -> KubeDict:
    pod = build.engine_pod("a")
    pod["spec"]["containers"][0]["ports"] = [{"name": "grpc", "containerPort": 1}]
    return pod


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(build.foreign_pod(), id="somebody else's"),
        pytest.param(build.engine_pod("a", component="warmup"), id="a warm-up"),
        pytest.param(build.engine_pod("a", phase="Pending"), id="not running"),
        pytest.param(build.engine_pod("a", deletionTimestamp=build.at(1)), id="being deleted"),
        pytest.param(without_ip(), id="without an address"),
        pytest.param(without_port(), id="without a port that speaks HTTP"),
    ],
)
def test_nothing_else_is_scraped(pod: KubeDict) -> None:
    assert targets(pod) == []


def test_a_replica_that_is_not_ready_is_scraped() -> None:
    assert len(targets(build.engine_pod("a", ready=False))) == 1
