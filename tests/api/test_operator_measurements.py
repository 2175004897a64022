"""Prometheus that is down, hangs or lies never moves a replica and never adds spill."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nan
from typing import Any

import pytest

from tests.api.operator_objects import hosted_pool, local_pool, policy
from tests.api.operator_process import SCALE_DOWN_DELAY_SECONDS, Fleet, steadily, until

pytestmark = [pytest.mark.api, pytest.mark.xdist_group("operator")]

LONGER_THAN_EVERY_DELAY = SCALE_DOWN_DELAY_SECONDS + 4
DEMAND = 10.0  # far enough from a fourth replica: where one series ends and another begins, both count for a moment


@pytest.fixture(scope="module")
def loaded(fleet: Fleet) -> Iterator[Fleet]:
    """Three or so of eight replicas busy, and an API that could be asked."""
    fleet.apply(local_pool("busy", fleet.gpu_class, maximum=8), hosted_pool("api"), policy("desk", "busy", "api"))
    fleet.drive("desk", chat=DEMAND)
    until("the whole demand is seen", lambda: _measured(fleet) > 0.95 * DEMAND)
    until("a first guess of the peak has been replaced", lambda: _rests(fleet), 60)
    yield fleet
    fleet.routers.remove(f"{fleet.namespace}/desk")


@pytest.fixture
def steady(loaded: Fleet) -> Fleet:
    """All that is wanted is ready, and everything is answered inside."""

    def settled() -> bool:
        status = loaded.get("modelpool", "busy").get("status", {})
        counts = status.get("replicas", {})
        return (
            counts.get("desired", 0) > 1
            and counts["ready"] == counts["desired"]
            and status["allocation"]["reason"] == "DemandServed"
            and loaded.shares("desk", "chat") == {"busy": 1.0}
            and _known(loaded)
        )

    until("the fleet is steady", settled, 60)
    return loaded


def test_prometheus_that_is_down_moves_nothing(steady: Fleet) -> None:
    before = _world(steady)
    steady.prometheus.kill()
    try:
        until("it says so", lambda: not _known(steady), 20)
        for kind, name in (("modelpool", "busy"), ("modelpool", "api"), ("routingpolicy", "desk")):
            told = steady.condition(kind, name, "MetricsAvailable")
            assert (told["status"], told["reason"]) == ("False", "Unreachable"), name
            assert "Prometheus cannot be reached" in told["message"]
            assert "Holding the last" in told["message"]
        assert steady.get("modelpool", "busy")["status"]["allocation"]["reason"] == "HoldingUnknown"
        steadily("the world", lambda: _world(steady), LONGER_THAN_EVERY_DELAY)
        assert _world(steady) == before
        steady.ready("modelpool/busy", "routingpolicy/desk", seconds=5)
    finally:
        steady.prometheus.start()
    until("it sees again", lambda: _known(steady))
    steadily("the world", lambda: _world(steady), LONGER_THAN_EVERY_DELAY)
    assert _world(steady) == before


def test_prometheus_that_hangs_moves_nothing(steady: Fleet) -> None:
    before = _world(steady)
    steady.prometheus.freeze()
    try:
        until("it says so", lambda: not _known(steady), 30)
        assert "did not answer within 2 s" in steady.condition("modelpool", "busy", "MetricsAvailable")["message"]
        steadily("the world", lambda: _world(steady), LONGER_THAN_EVERY_DELAY)
        # and it still works: what is edited is put back
        steady.kubectl("scale", "deployment", "busy", "--replicas=1")
        until("the edit is put back", lambda: _world(steady) == before, 20)
    finally:
        steady.prometheus.thaw()
    until("it sees again", lambda: _known(steady))
    steadily("the world", lambda: _world(steady), 5)
    assert _world(steady) == before


@pytest.mark.parametrize("lies", [(nan,) * 6, (inf,) * 6, (nan, 1e12, nan)], ids=["NaN", "infinity", "mixed"])
def test_a_counter_that_lies_moves_nothing(steady: Fleet, lies: tuple[float, ...]) -> None:
    before = _world(steady)
    steady.routers.lie(f"{steady.namespace}/desk", "chat", *lies)
    steadily("the world", lambda: _world(steady), LONGER_THAN_EVERY_DELAY)
    assert _world(steady) == before
    assert _known(steady)


def test_one_sample_that_spikes_stays_within_the_bounds_adds_no_spill_and_passes(steady: Fleet) -> None:
    """The spike itself is not believed. What follows it is: a counter that falls has begun anew, says Prometheus, and
    adds all it shows to the rate. That cannot be told from a real rise, so replicas may be added for a while."""
    before = _world(steady)
    steady.routers.lie(f"{steady.namespace}/desk", "chat", 1e12)

    def passed() -> bool:
        now = _world(steady)
        assert before["replicas"]["busy"] <= now["replicas"]["busy"] <= 8
        assert now["weights"] == before["weights"]
        return now == before and _known(steady)

    until("it has passed", passed, 60)


def test_a_counter_below_zero_moves_nothing(steady: Fleet) -> None:
    before, policy_name = _world(steady), f"{steady.namespace}/desk"
    steady.routers.lie(policy_name, "chat", *(-(10.0**power) for power in range(6, 12)))
    steady.routers.replace(policy_name)  # the pod that lied is gone
    steadily("the world", lambda: _world(steady), LONGER_THAN_EVERY_DELAY)
    assert _world(steady) == before
    until("it sees again", lambda: _known(steady))


def test_a_router_that_restarts_moves_nothing(steady: Fleet) -> None:
    before, policy_name = _world(steady), f"{steady.namespace}/desk"
    steady.routers.restart(policy_name)
    steadily("the world", lambda: _world(steady), LONGER_THAN_EVERY_DELAY)
    steady.routers.replace(policy_name)
    steadily("the world", lambda: _world(steady), LONGER_THAN_EVERY_DELAY)
    assert _world(steady) == before


def test_routers_that_fall_silent_move_nothing(steady: Fleet) -> None:
    before, policy_name = _world(steady), f"{steady.namespace}/desk"
    steady.routers.remove(policy_name)
    until("it says so", lambda: not _known(steady), 30)
    told = steady.condition("modelpool", "busy", "MetricsAvailable")
    assert told["reason"] in ("Stale", "NoData")
    steadily("the world", lambda: _world(steady), LONGER_THAN_EVERY_DELAY)
    assert _world(steady) == before
    steady.drive("desk", chat=DEMAND)
    until("it sees again", lambda: _known(steady))
    assert _world(steady) == before


def _measured(fleet: Fleet) -> float:
    return fleet.operator.metric("comptroller_route_requests_per_second")


def _rests(fleet: Fleet) -> bool:
    """Whether nothing moves for longer than scaling in takes."""
    before = fleet.wanted("busy")
    decisions = fleet.operator.metric("comptroller_decision_seconds_count")
    later = decisions + SCALE_DOWN_DELAY_SECONDS + 4
    until("more decisions", lambda: fleet.operator.metric("comptroller_decision_seconds_count") > later)
    return fleet.wanted("busy") == before > 1


def _known(fleet: Fleet) -> bool:
    told = [
        fleet.condition(kind, name, "MetricsAvailable").get("status")
        for kind, name in (("modelpool", "busy"), ("routingpolicy", "desk"))
    ]
    return told == ["True", "True"]


def _world(fleet: Fleet) -> dict[str, Any]:
    """What is deployed, and where the router sends requests."""
    entries = fleet.config("desk-router")["model_list"]
    return {
        "replicas": {one["metadata"]["name"]: one["spec"]["replicas"] for one in fleet.all("deployments")},
        "weights": {one["model_info"]["id"]: one["litellm_params"]["weight"] for one in entries},
    }
