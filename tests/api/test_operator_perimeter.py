"""A pool whose name leads elsewhere is not asked any more, at once, and comes back when its name is its own again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.operator_objects import local_pool, policy
from tests.api.operator_process import Fleet, until

pytestmark = [pytest.mark.api, pytest.mark.xdist_group("operator")]

RESTRICTED = {"classification": "restricted", "perimeters": ["onPremises"]}
OUTSIDE = "203.0.113.7"


def hand_made(name: str, service: str, address: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
    }


def asked(fleet: Fleet) -> str:
    """What the restricted router's configuration says."""
    text: str = fleet.get("configmap", "inner-router-restricted").get("data", {}).get("config.yaml", "")
    return text


@pytest.fixture(scope="module")
def inner(fleet: Fleet) -> Iterator[Fleet]:
    fleet.apply(local_pool("walled", fleet.gpu_class, maximum=1), local_pool("beside", fleet.gpu_class, maximum=1))
    fleet.apply(policy("inner", "walled", "beside", data=RESTRICTED))
    fleet.drive("inner", chat=8)  # more than one of them can answer
    fleet.ready("modelpool/walled", "modelpool/beside", "routingpolicy/inner")
    until("both are asked", lambda: both(asked(fleet)))
    yield fleet
    fleet.kubectl("delete", "routingpolicy/inner", "modelpool/walled", "modelpool/beside")


def both(text: str) -> bool:
    return "/walled/chat" in text and "/beside/chat" in text


def refused(fleet: Fleet, *words: str) -> None:
    fleet.kubectl("wait", "--for=condition=Stalled", "modelpool/walled", "--timeout=30s")
    stalled = fleet.condition("modelpool", "walled", "Stalled")
    assert stalled["reason"] == "EscapesPerimeter"
    for word in words:
        assert word in stalled["message"], stalled["message"]
    until("the other pool answers alone", lambda: "/walled/chat" not in asked(fleet) and "/beside/" in asked(fleet))


def trusted(fleet: Fleet) -> None:
    until("it is trusted", lambda: fleet.condition("modelpool", "walled", "Stalled").get("status") == "False")
    until("both are asked again", lambda: both(asked(fleet)))


def test_endpoints_made_by_hand(inner: Fleet) -> None:
    inner.apply(hand_made("smuggled", "walled", OUTSIDE))
    refused(inner, "EndpointSlice smuggled", OUTSIDE, "Remove that EndpointSlice")

    inner.kubectl("delete", "endpointslice/smuggled")
    trusted(inner)


def test_external_addresses_of_its_service(inner: Fleet) -> None:
    inner.kubectl("patch", "service/walled", "--type=merge", '--patch={"spec":{"externalIPs":["' + OUTSIDE + '"]}}')
    refused(inner, "externalIPs", OUTSIDE, "Remove them")

    inner.kubectl("patch", "service/walled", "--type=merge", '--patch={"spec":{"externalIPs":null}}')
    trusted(inner)


def test_another_service_that_claims_its_address(inner: Fleet) -> None:
    address = inner.get("service", "walled")["spec"]["clusterIP"]
    thief = {"ports": [{"port": 8000}], "selector": {"app": "thief"}, "externalIPs": [address]}
    inner.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "thief"}, "spec": thief})
    refused(inner, "/thief claims the address")

    inner.kubectl("delete", "service/thief")
    trusted(inner)


@pytest.mark.parametrize(
    "patch",
    [
        '{"spec":{"selector":{"comptroller.dev/pool":"beside"}}}',
        '{"spec":{"type":"ExternalName","externalName":"api.example.com","clusterIP":"","clusterIPs":null}}',
    ],
    ids=["other pods", "a name outside"],
)
def test_its_service_is_put_back(inner: Fleet, patch: str) -> None:
    inner.kubectl("patch", "service/walled", "--type=merge", f"--patch={patch}")

    def healed() -> bool:
        spec = inner.get("service", "walled")["spec"]
        return spec["selector"]["comptroller.dev/pool"] == "walled" and spec["type"] == "ClusterIP"

    until("the Service is as it was", healed)
    trusted(inner)


def test_a_service_that_was_there_before_the_pool(fleet: Fleet) -> None:
    outside = {"type": "ExternalName", "externalName": "api.example.com"}
    fleet.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken"}, "spec": outside})
    fleet.apply(local_pool("taken", fleet.gpu_class, maximum=1), policy("late", "taken", data=RESTRICTED))

    fleet.kubectl("wait", "--for=condition=Stalled", "modelpool/taken", "--timeout=30s")
    assert fleet.condition("modelpool", "taken", "Stalled")["reason"] == "EscapesPerimeter"
    until("its router is there", lambda: fleet.get("configmap", "late-router-restricted"))
    assert "/taken/chat" not in fleet.get("configmap", "late-router-restricted")["data"]["config.yaml"]

    fleet.kubectl("delete", "service/taken")
    until("the name is its own", lambda: fleet.get("service", "taken").get("metadata", {}).get("ownerReferences"))
    fleet.kubectl("delete", "routingpolicy/late", "modelpool/taken")
