"""Verdicts of the routers become pass rates of the decision; what is not known changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.allocation.decide import decide
from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.kube.store import ClusterStore
from comptroller.learning.pass_rates import Evidence
from comptroller.observe.measurements import Measurements
from comptroller.runtime.judgements import Judgements, as_judged, judgements_after
from tests.unit.allocation.build import hosted, local, route, snapshot

POLICY, ROUTE, OWN, API = "ai/policy", "ai/policy/chat", "ai/own", "ai/api"
WINDOW = 60.0


def policy(**chat: Any) -> dict[str, RoutingPolicySpec]:
    evaluator = {"pool": "api", "sampleRatio": "0.05", "rubric": "It is right.", "escalateOnFail": True}
    named = {"name": "chat", "backends": [{"pool": "own"}, {"pool": "api"}], "evaluator": evaluator}
    return {POLICY: RoutingPolicySpec.model_validate({"routes": [named | chat]})}


def told(**per_second: float) -> Measurements:
    """Verdicts by pool_verdict, such as own_pass=1."""
    series = {
        (POLICY, "chat", f"ai/{key.split('_')[0]}", key.split("_")[1]): Sample(v) for key, v in per_second.items()
    }
    return Measurements(verdicts=series)


def store(*judged: dict[str, str]) -> ClusterStore:
    made = ClusterStore()
    if judged:
        from comptroller.kube.resources import ROUTING_POLICY

        made.upsert(
            ROUTING_POLICY,
            {
                "apiVersion": "comptroller.dev/v1alpha1", "kind": "RoutingPolicy",
                "metadata": {"name": "policy", "namespace": "ai", "uid": "1", "resourceVersion": "1"},
                "status": {"routes": [{"name": "chat", "judged": list(judged)}]},
            },
        )  # fmt: skip
    return made


def learned(measured: Measurements, before: Judgements | None = None, **more: Any) -> Judgements:
    spec = more.get("spec", policy())
    at = more.get("at", 1000.0)
    return judgements_after(before or Judgements(), more.get("store", store()), spec, measured, WINDOW, at)


def test_verdicts_become_evidence_of_the_pool_that_gave_the_answer() -> None:
    found = learned(told(own_pass=0.5, own_fail=0.1, api_pass=0.0, api_fail=0.0))
    own, api = found.evidence[ROUTE, OWN], found.evidence[ROUTE, API]
    assert own.answers == pytest.approx(0.6 * WINDOW, rel=0.05)  # the window that the rates speak of, and no more
    assert own.passed / own.answers == pytest.approx(5 / 6)
    assert api.answers == 0.0


@pytest.mark.parametrize(
    "measured",
    [Measurements(), Measurements(verdicts=Unknown("away")), told(), told(own_pass=1.0)],
    ids=["never", "away", "no series", "half of it"],
)
def test_what_is_not_known_is_neither_learned_nor_forgotten(measured: Measurements) -> None:
    before = Judgements({(ROUTE, OWN): Evidence(30.0, 10.0, 1000.0)}, {ROUTE: 0.25})
    found = learned(measured, before, at=5000.0)
    assert (found.evidence[ROUTE, OWN].passed, found.evidence[ROUTE, OWN].failed) == (30.0, 10.0)
    assert found.verified_ratio == {ROUTE: 0.25}


def test_no_verdicts_are_not_unknown_ones() -> None:
    before = Judgements({(ROUTE, OWN): Evidence(30.0, 10.0, 1000.0)})
    found = learned(told(own_pass=0.0, own_fail=0.0), before, at=1060.0)
    assert 37.0 < found.evidence[ROUTE, OWN].answers < 38.0


def test_a_successor_goes_on_with_what_the_status_tells() -> None:
    status = store({"pool": "own", "answers": "400", "passed": "0.9"}, {"pool": "api", "answers": "x", "passed": "1"})
    found = learned(Measurements(), store=status)
    assert found.evidence[ROUTE, OWN].passed == pytest.approx(360.0)
    assert found.evidence[ROUTE, API].answers == 0.0


def test_a_shadow_is_learned_of_too_and_a_route_without_an_evaluator_is_forgotten() -> None:
    spec = policy(shadow={"pool": "new", "sampleRatio": "0.1"})
    found = learned(told(new_pass=1.0, new_fail=0.0), spec=spec)
    assert found.evidence[ROUTE, "ai/new"].answers > 50.0
    assert learned(told(own_pass=1.0, own_fail=0.0), found, spec=policy(evaluator=None)) == Judgements()


@pytest.mark.parametrize(("verified", "answered", "ratio"), [(0.5, 2.0, 0.25), (5.0, 2.0, 1.0), (0.0, 2.0, 0.0)])
def test_the_part_that_is_verified_is_measured(verified: float, answered: float, ratio: float) -> None:
    key = (POLICY, "chat")
    found = learned(Measurements(verified={key: Sample(verified)}, answered={key: Sample(answered)}))
    assert found.verified_ratio == {ROUTE: ratio}


def test_the_decision_reckons_with_what_was_judged_and_says_so() -> None:
    chat = route(rps=5, minimum_pass_rate=0.95)
    evidence = {(ROUTE, OWN): Evidence(350.0, 62.0), (ROUTE, API): Evidence(198.0, 2.0)}
    world = (local(serving=1, previous=1), hosted())
    judged = as_judged(chat, Judgements(evidence, {ROUTE: 0.5}))

    before, after = (decide(snapshot(*world, one)).routes[ROUTE] for one in (chat, judged))

    assert before.shares == {OWN: 1.0}
    assert after.shares[API] > 0.3
    assert after.pass_rate == pytest.approx(0.95, abs=0.001)
    assert judged.judged_ratio == 0.5
    assert "own solves 86% by 412 judged answers" in after.message
    assert after.pass_rates[OWN] == pytest.approx((20 + 350) / 432)
