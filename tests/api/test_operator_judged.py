"""Judged answers move a route: its status tells what was measured, and the router's weights follow."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml

from tests.api.operator_objects import Object, hosted_pool, local_pool, policy
from tests.api.operator_process import Fleet, until

pytestmark = [pytest.mark.api, pytest.mark.xdist_group("operator")]

JUDGE = {"pool": "api", "sampleRatio": "0.05", "rubric": "Every amount is listed once."}


def judged_policy() -> Object:
    """A cheap pool that is declared to solve 97 %, an API that solves 99 %; 95 % are asked for."""
    backends = [{"pool": "chat", "passRate": "0.97"}, {"pool": "api", "passRate": "0.99"}]
    return policy("graded", backends=backends, quality={"minimumPassRate": "0.95"}, evaluator=JUDGE)


@pytest.fixture(scope="module")
def graded(fleet: Fleet) -> Iterator[Fleet]:
    fleet.apply(local_pool("chat", fleet.gpu_class, maximum=6), hosted_pool("api"), judged_policy())
    fleet.drive("graded", chat=4.0)
    yield fleet
    fleet.kubectl("delete", "routingpolicy", "graded")
    fleet.routers.remove(f"{fleet.namespace}/graded")


def judge(fleet: Fleet, *, passed: float, failed: float) -> None:
    """What the judge says of the cheap pool from now on, per second; the API's answers all pass."""
    name, space = f"{fleet.namespace}/graded", fleet.namespace
    fleet.routers.judge(name, "chat", f"{space}/chat", passed=passed, failed=failed)
    fleet.routers.judge(name, "chat", f"{space}/api", passed=2.0, failed=0.0)


def told(fleet: Fleet) -> Object:
    found: Object = fleet.get("routingpolicy", "graded")["status"]["routes"][0]
    return found


def test_a_pool_that_is_found_to_solve_less_gets_less_and_more_again_when_it_recovers(graded: Fleet) -> None:
    judge(graded, passed=9.7, failed=0.3)
    until("the cheap pool has it all", lambda: graded.shares("graded", "chat") == {"chat": 1.0}, 60)
    honoured = graded.condition("routingpolicy", "graded", "FieldsHonoured")
    assert honoured["status"] == "True"
    config = yaml.safe_load(graded.get("configmap", "graded-router")["data"]["config.yaml"])
    assert config["x_comptroller"]["routes"][0]["evaluator"]["rubric"] == JUDGE["rubric"]
    models = {one["model_name"]: one for one in config["model_list"]}
    assert models["judge:chat"]["model_info"]["id"] == f"{graded.namespace}/api/judge:chat"

    judge(graded, passed=14.0, failed=6.0)
    until("the API takes a part", lambda: graded.shares("graded", "chat").get("api", 0) > 0.3, 60)
    until("the status tells what was judged", lambda: _judged(graded, "chat")[1] < 0.93, 60)
    answers, rate = _judged(graded, "chat")
    assert answers > 20
    assert float(told(graded)["passRate"]) == pytest.approx(0.95, abs=0.02)
    assert rate < 0.97
    assert re.search(r"chat solves \d\d% by \d+ judged answers", told(graded)["message"])

    judge(graded, passed=400.0, failed=0.0)
    until("it comes back", lambda: graded.shares("graded", "chat") == {"chat": 1.0}, 90)


def _judged(fleet: Fleet, pool: str) -> tuple[float, float]:
    """Judged answers and pass rate of a pool."""
    found = {one["pool"]: one for one in told(fleet).get("judged") or ()}
    return float(found[pool]["answers"]), float(found[pool]["passRate"])


def test_a_judge_outside_never_sees_what_must_stay_inside(graded: Fleet) -> None:
    secret = policy("sealed", "chat", data={"perimeters": ["onPremises"]}, evaluator=JUDGE)
    graded.apply(secret)
    try:
        until("it is stalled", lambda: graded.condition("routingpolicy", "sealed", "Stalled").get("status") == "True")
        message = graded.condition("routingpolicy", "sealed", "Stalled")["message"]
        assert "spec.routes[0].evaluator.pool is api, which is external in US" in message
        assert "Name a pool that may judge its answers, or remove spec.routes[0].evaluator." in message
        assert graded.get("deployment", "sealed-router-restricted") == {}
    finally:
        graded.kubectl("delete", "routingpolicy", "sealed")
