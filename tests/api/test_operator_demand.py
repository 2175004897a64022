"""Demand makes pods, shares and scale-in; GPUs of others are not ours; pause and hold are obeyed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.operator_objects import hosted_pool, local_pool, policy
from tests.api.operator_process import Fleet, steadily, until

pytestmark = [pytest.mark.api, pytest.mark.xdist_group("operator")]

LOW, HIGH = 4.0, 22.0


@pytest.fixture(scope="module")
def served(fleet: Fleet) -> Iterator[Fleet]:
    """A pool of at most six replicas on eight GPUs, an API to spill to."""
    fleet.apply(local_pool("chat", fleet.gpu_class, maximum=6), hosted_pool("api"), policy("desk", "chat", "api"))
    fleet.drive("desk", chat=LOW)
    yield fleet
    fleet.routers.remove(f"{fleet.namespace}/desk")


@pytest.fixture
def calm(served: Fleet) -> Fleet:
    """At the demand of a calm hour, and settled."""
    served.drive("desk", chat=LOW)
    until("the pool has what it wants", lambda: _settled(served) and _wanted(served) <= 2, 60)
    return served


def test_rising_demand_adds_replicas_and_falling_demand_takes_them_after_the_delay(calm: Fleet) -> None:
    first = _wanted(calm)
    calm.drive("desk", chat=HIGH)
    until("the whole demand is seen", lambda: _measured(calm) > 0.95 * HIGH)
    until("more are wanted", lambda: _wanted(calm) == 5, 30)
    until("they run and are ready", lambda: _settled(calm), 30)
    many = _wanted(calm)
    pods = [one for one in _pods(calm) if _is_ready(one)]
    assert len(pods) == many == calm.wanted("chat")
    assert {one["spec"]["nodeName"] for one in pods} == {calm.gpu_class}
    status = calm.get("modelpool", "chat")["status"]
    assert (status["summary"]["want"], status["summary"]["ready"]) == (str(many), str(many))
    assert status["allocation"]["reason"] == "DemandServed"
    assert re.search(r"rps of chat need 4\.\d+ replicas to keep first token", status["allocation"]["message"])
    until("the shares are shown", lambda: calm.shares("desk", "chat") == {"chat": 1.0})
    totals = calm.get("routingpolicy", "desk")["status"]["totals"]
    assert (totals["inside"], totals["spill"]) == ("100%", "0%")
    assert abs(float(totals["requestsPerSecond"]) - HIGH) < 0.15 * HIGH
    scaled = [one for one in calm.events("Scaled") if one["regarding"]["name"] == "chat"]
    assert any(f"-> {many}: " in one["note"] for one in scaled)
    assert calm.get("routingpolicy", "desk")["status"]["decisions"]

    calm.drive("desk", chat=LOW)
    steadily("the number of replicas during the delay", lambda: calm.wanted("chat"), 5)
    until("fewer run", lambda: calm.wanted("chat") == first, 60)
    until("the pods are gone", lambda: len(_pods(calm)) == first, 20)
    ready = calm.condition("modelpool", "chat", "Ready")
    assert ready["status"] == "True"


def test_a_pool_that_grows_is_bridged_by_the_api_until_its_replicas_are_ready(calm: Fleet) -> None:
    calm.kubectl("cordon", calm.gpu_class)  # replicas stay pending, as if they took long to start
    try:
        calm.drive("desk", chat=HIGH)
        # a cordoned node offers nothing: the pool is short of GPUs, and what it cannot answer goes out
        until("the API takes the rest", lambda: calm.shares("desk", "chat").get("api", 0) > 0.3, 40)
        weights = _weights(calm)
        assert weights["api"] > 300
        assert weights["chat"] > 0
        until("the API says so", lambda: calm.get("modelpool", "api")["status"]["allocation"]["reason"] == "Spill")
    finally:
        calm.kubectl("uncordon", calm.gpu_class)
    until("it comes back inside", lambda: calm.shares("desk", "chat") == {"chat": 1.0}, 60)
    until("the router follows", lambda: _weights(calm)["api"] < 1)


def test_gpus_that_pods_of_others_hold_are_not_counted(calm: Fleet) -> None:
    name = f"stranger-{calm.gpu_class}"
    stranger = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": calm.namespace},
        "spec": {
            "nodeName": calm.gpu_class,
            "containers": [
                {"name": "job", "image": "example.com/job:1", "resources": {"limits": {"nvidia.com/gpu": "6"}}}
            ],
        },
    }
    calm.apply(stranger)
    try:
        calm.drive("desk", chat=HIGH)
        until("all that is free is wanted", lambda: _wanted(calm) == 2, 30)
        until("the rest goes out", lambda: calm.shares("desk", "chat").get("api", 0) > 0.3, 30)
        status = calm.get("modelpool", "chat")["status"]
        assert status["allocation"]["reason"] == "CapacityShort"
        assert "the 2 GPUs of class" in status["allocation"]["message"]
        steadily("what is wanted", lambda: calm.wanted("chat"), 4)
        assert not [one for one in _pods(calm) if not _is_ready(one)]  # nothing waits for a GPU that is not there
    finally:
        calm.kubectl("delete", "pod", name, "--grace-period=0", "--force")
    until("all are wanted", lambda: _wanted(calm) >= 4, 30)


def test_a_paused_pool_is_frozen_and_a_held_one_is_pinned(calm: Fleet) -> None:
    first = _wanted(calm)
    calm.kubectl("annotate", "modelpool", "chat", "comptroller.dev/paused=true")
    until("it is paused", lambda: calm.condition("modelpool", "chat", "Paused").get("status") == "True")
    calm.drive("desk", chat=HIGH)
    until("the API takes the rest", lambda: calm.shares("desk", "chat").get("api", 0) > 0.3, 30)
    assert calm.wanted("chat") == first
    calm.kubectl("scale", "deployment", "chat", "--replicas=3")
    steadily("a frozen pool", lambda: calm.wanted("chat"), 4)
    assert calm.wanted("chat") == 3
    calm.kubectl("annotate", "modelpool", "chat", "comptroller.dev/paused-")
    until("it goes on", lambda: _wanted(calm) >= first + 3 and calm.wanted("chat") == _wanted(calm), 30)

    calm.kubectl("annotate", "modelpool", "chat", "comptroller.dev/hold-replicas=2")
    until("it is pinned", lambda: calm.wanted("chat") == 2, 30)
    status = calm.get("modelpool", "chat")["status"]
    assert status["allocation"]["reason"] == "Held"
    assert "hold-replicas" in status["allocation"]["message"]
    calm.kubectl("annotate", "modelpool", "chat", "comptroller.dev/hold-replicas-")
    until("it is free again", lambda: _wanted(calm) >= first + 3, 30)
    assert calm.get("modelpool", "chat")["metadata"]["generation"] == 1


def test_a_spike_stays_within_the_bounds_of_the_spec(calm: Fleet) -> None:
    calm.drive("desk", chat=50_000)
    until("it wants what the spec allows", lambda: _wanted(calm) == 6, 30)
    calm.drive("desk", chat=LOW)
    steadily("at most the maximum", lambda: calm.wanted("chat") <= 6, 3)
    until("it comes down", lambda: _wanted(calm) <= 2, 60)


def _wanted(fleet: Fleet) -> int:
    counts = (fleet.get("modelpool", "chat").get("status") or {}).get("replicas") or {}
    return int(counts.get("desired", -1))


def _measured(fleet: Fleet) -> float:
    return fleet.operator.metric("comptroller_route_requests_per_second")


def _settled(fleet: Fleet) -> bool:
    status = fleet.get("modelpool", "chat").get("status") or {}
    counts = status.get("replicas") or {}
    return bool(counts) and counts["ready"] == counts["desired"] and status["allocation"]["reason"] == "DemandServed"


def _pods(fleet: Fleet) -> list[dict[str, Any]]:
    return fleet.all("pods", "-l", "comptroller.dev/pool=chat")


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"


def _weights(fleet: Fleet) -> dict[str, float]:
    """Thousandths of the route by pool; a reserve has less than one."""
    entries = fleet.config("desk-router")["model_list"]
    return {one["model_info"]["id"].split("/")[1]: float(one["litellm_params"]["weight"]) for one in entries}
