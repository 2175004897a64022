"""What may stand behind a pool's name, and what makes the pool untrusted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from comptroller.allocation.perimeter import Way, way_stalls
from comptroller.api.conditions import Reason

OWN = {"app.kubernetes.io/component": "engine", "comptroller.dev/pool": "qwen"}
GOOD = Way(
    "qwen",
    selector=OWN,
    wanted_selector=OWN,
    hand_made={"copy": ("10.1.0.4",)},
    pods=frozenset({"10.1.0.4", "10.1.0.5"}),
)


def test_its_own_service_with_its_own_pods_is_trusted() -> None:
    assert way_stalls(GOOD) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "ExternalName", "external_name": "api.example.com"}, "leads to api.example.com"),
        ({"kind": "ExternalName", "owned": False, "external_name": "x.example"}, "leads to x.example"),
        ({"external_ips": ("203.0.113.7",)}, "has externalIPs (203.0.113.7)"),
        ({"selector": {"app": "proxy"}}, "selects other pods"),
        ({"selector": {}}, "selects other pods"),
        ({"hand_made": {"mine": ("10.1.0.4", "203.0.113.7")}}, "EndpointSlice mine adds 203.0.113.7, which no pod"),
        ({"hand_made": {"mine": ("10.1.0.9",)}}, "adds 10.1.0.9"),
        ({"hand_made": {"mine": ("api.example.com",)}}, "adds api.example.com"),
        ({"hand_made": {"mine": tuple(f"192.0.2.{n}" for n in range(9))}}, "192.0.2.2 and 6 more"),
        ({"claimed_by": ("other/thief",)}, "Service other/thief claims the address"),
    ],
)
def test_whatever_leads_elsewhere_is_named_with_its_remedy(change: dict[str, Any], words: str) -> None:
    (stall,) = way_stalls(replace(GOOD, **change))

    assert stall.reason is Reason.ESCAPES_PERIMETER
    assert words in stall.message
    assert any(word in stall.message for word in ("Remove", "put back"))


def test_a_service_of_somebody_else_takes_the_name() -> None:
    (stall,) = way_stalls(replace(GOOD, owned=False, selector={"app": "other"}, hand_made={}))

    assert (stall.reason, stall.field) == (Reason.NAME_TAKEN, "metadata.name")


def test_every_way_out_is_told() -> None:
    assert len(way_stalls(replace(GOOD, external_ips=("192.0.2.1",), claimed_by=("other/thief",)))) == 2
