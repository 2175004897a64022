"""Which measured rates are believed."""

from __future__ import annotations

import pytest

from comptroller.allocation.snapshot import Measurement, Sample, Unknown
from comptroller.kube.resources import POD
from comptroller.kube.store import ClusterStore
from comptroller.observe.belief import Beliefs, believed_peak, fell
from tests.unit.kube import build

ROUTE, POLICY = "ai/research/chat", "ai/research"


def router(started: str) -> ClusterStore:
    store = ClusterStore()
    pod = build.item("Pod", "research-router-1")
    pod["metadata"]["labels"] = {
        "app.kubernetes.io/managed-by": "comptroller",
        "app.kubernetes.io/component": "router",
        "comptroller.dev/policy": "research",
    }
    pod["status"] = {"phase": "Running", "containerStatuses": [{"state": {"running": {"startedAt": started}}}]}
    store.upsert(POD, pod)
    return store


@pytest.mark.parametrize(
    ("rates", "believed"),
    [
        pytest.param([5.0, 15.0, 40.0], [5.0, 15.0, 40.0], id="a service that grows"),
        pytest.param([0.0, 20.0], [0.0, 20.0], id="a service that wakes up"),
        pytest.param([5.0, 5000.0, 5.0], [5.0, None, 5.0], id="one absurd sample"),
        pytest.param([5.0, 5000.0, 5000.0, 5000.0], [5.0, None, 5000.0, 5000.0], id="a flood that lasts"),
        pytest.param([5.0, 5000.0, 5.0, 5000.0], [5.0, None, 5.0, None], id="two absurd samples apart"),
    ],
)
def test_a_rate_that_jumps_is_believed_the_second_time(rates: list[float], believed: list[float | None]) -> None:
    beliefs, previous, found = Beliefs(), 5.0, list[float | None]()
    for rate in rates:
        answer = beliefs.rate(ROUTE, Sample(rate), previous, fell=False)
        found.append(answer.value if isinstance(answer, Sample) else None)
        previous = answer.value if isinstance(answer, Sample) else previous
    assert found == believed


def test_the_first_rate_ever_is_believed() -> None:
    assert Beliefs().rate(ROUTE, Sample(900.0), None, fell=False) == Sample(900.0)


def test_unknown_stays_unknown_with_its_reason() -> None:
    assert Beliefs().rate(ROUTE, Unknown("NaN"), 5.0, fell=True) == Unknown("NaN")


def test_a_counter_that_fell_is_not_believed_however_modest_its_rate() -> None:
    answer = Beliefs().rate(ROUTE, Sample(5.0), 5.0, fell=True)
    assert isinstance(answer, Unknown)
    assert "went backwards" in answer.reason


@pytest.mark.parametrize(
    ("resets", "started", "expected"),
    [
        pytest.param(Sample(0.0), "1970-01-01T00:00:00Z", False, id="it never fell"),
        pytest.param(Unknown("no data"), "1970-01-01T00:00:00Z", False, id="nobody knows"),
        pytest.param(Sample(1.0), "1970-01-01T00:01:40Z", False, id="a router started within the window"),
        pytest.param(Sample(1.0), "1970-01-01T00:01:39Z", True, id="no router started since"),
    ],
)
def test_a_fall_counts_only_when_no_router_started(resets: Measurement, started: str, expected: bool) -> None:
    assert fell(resets, router(started), POLICY, since_seconds=100.0) is expected


def test_a_fall_of_another_policy_s_router_excuses_nothing() -> None:
    assert fell(Sample(1.0), router("1970-01-01T00:05:00Z"), "ai/other", since_seconds=100.0)


def test_a_peak_with_a_lie_in_it_is_unknown() -> None:
    assert believed_peak(Sample(9.0), peak_fell=False) == Sample(9.0)
    assert isinstance(believed_peak(Sample(9.0), peak_fell=True), Unknown)
    assert believed_peak(Unknown("none"), peak_fell=True) == Unknown("none")
