"""Which pods a Service has, and which of them a caller may reach."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.processes.network import Network, backends, egress_allows

READY = {"type": "Ready", "status": "True"}


def pod(name: str, namespace: str = "inference", ready: bool = True, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8000}]}]},
        "status": {"phase": "Running", "podIP": "127.9.0.1", "conditions": [READY] if ready else []},
    }


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": "http"}]
    return {"metadata": {"name": "s", "namespace": "inference"}, "spec": {"ports": ports, **spec}}


PODS = [
    pod("b", app="x"), pod("a", app="x", more="1"), pod("starting", ready=False, app="x"),
    pod("other", app="y"), pod("elsewhere", "demo", app="x"),
]  # fmt: skip


def test_a_service_has_the_ready_pods_of_its_selector_and_namespace() -> None:
    found = backends(service(selector={"app": "x"}), 80, PODS)
    assert [(one["metadata"]["name"], port) for one, port in found] == [("a", 8000), ("b", 8000)]


def test_a_service_that_publishes_all_addresses_has_those_that_start_too() -> None:
    found = backends(service(selector={"app": "x"}, publishNotReadyAddresses=True), 80, PODS)
    assert [one["metadata"]["name"] for one, _ in found] == ["a", "b", "starting"]


def test_a_pod_that_is_being_deleted_gets_nothing_new() -> None:
    leaving = pod("leaving", app="x")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert backends(service(selector={"app": "x"}), 80, [leaving]) == []


def test_without_a_selector_or_such_a_port_there_is_nobody() -> None:
    assert backends(service(), 80, PODS) == []
    assert backends(service(selector={"app": "x"}), 81, PODS) == []


def policy(*egress: dict[str, Any], **labels: str) -> dict[str, Any]:
    spec = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Egress"], "egress": list(egress)}
    return {"metadata": {"namespace": "inference"}, "spec": spec}


ENGINE = pod("engine", app="engine")
API = pod("openai", "hosted-apis", app="openai")
ROUTER = pod("router", kind="restricted")
TO_ENGINES = {"to": [{"podSelector": {"matchLabels": {"app": "engine"}}}], "ports": [{"port": 8000}]}
TO_DNS = {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]}


@pytest.mark.parametrize(
    ("policies", "target", "port", "allowed"),
    [
        ([], API, 8000, True),
        ([policy(TO_ENGINES, TO_DNS, kind="open")], API, 8000, True),  # selects somebody else
        ([policy(TO_ENGINES, TO_DNS, kind="restricted")], ENGINE, 8000, True),
        ([policy(TO_ENGINES, TO_DNS, kind="restricted")], ENGINE, 9000, False),
        ([policy(TO_ENGINES, TO_DNS, kind="restricted")], API, 8000, False),
        ([policy(kind="restricted")], ENGINE, 8000, False),
        ([policy({"to": [{"namespaceSelector": {}}]}, kind="restricted")], API, 8000, True),
    ],
)
def test_a_pod_reaches_what_the_policies_that_select_it_allow(
    policies: list[dict[str, Any]], target: dict[str, Any], port: int, allowed: bool
) -> None:
    assert egress_allows(policies, ROUTER, target, port) is allowed


def test_addresses_stay_and_each_caller_has_its_own_for_a_service() -> None:
    network = Network(9, list, list)
    first = network.pod_address("a")
    assert first.startswith("127.9.")
    assert network.pod_address("a") == first
    by_a, by_b = network.service_address("a", "ns", "s"), network.service_address("b", "ns", "s")
    assert len({first, by_a, by_b}) == 3
    assert network.service_address("a", "ns", "s") == by_a
