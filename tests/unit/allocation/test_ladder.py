"""Every rung gives a plan that the same validator finds flawless."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from comptroller.allocation import solve
from comptroller.allocation.cases import Case
from comptroller.allocation.decide import decide
from comptroller.allocation.greedy import greedy_plan
from comptroller.allocation.limits import Bounds, held_load, held_places
from comptroller.allocation.measured import cleaned
from comptroller.allocation.plan import Plan
from comptroller.allocation.problem import Problem, kept_full, prepare
from comptroller.allocation.snapshot import Memory, Outlook, Rules, Snapshot, Unknown
from comptroller.allocation.validate import flaws
from tests.unit.allocation.build import demand, hosted, local, route, snapshot


def world() -> Snapshot:
    return snapshot(
        local("a", serving=1, previous=1), local("b", gpus_per_replica=2), hosted(requests_per_minute=300.0),
        route("chat", "a", "b", "api", rps=20), route("secret", "b", "api", rps=12, perimeters=("onPremises",)), gpus=5,
    )  # fmt: skip


def solved_with(rung: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = solve.run

    def weaker(programme: object, *, integer: bool, **rest: float) -> object:
        return None if integer or rung == "greedy" else real(programme, integer=integer, **rest)  # type: ignore[arg-type]

    if rung != "milp":
        monkeypatch.setattr(solve, "run", weaker)


@pytest.mark.parametrize("rung", ["milp", "routing-lp", "greedy"])
def test_each_rung_decides(rung: str, monkeypatch: pytest.MonkeyPatch) -> None:
    solved_with(rung, monkeypatch)
    decision = decide(world())
    assert decision.rung == rung
    assert sum(count.replicas * (2 if key == "ai/b" else 1) for key, count in decision.pools.items()) <= 5
    assert "ai/api" not in decision.routes["ai/policy/secret"].shares
    for plan in decision.routes.values():
        assert sum(plan.shares.values()) + plan.shed_ratio == pytest.approx(1.0)


def test_without_the_integer_solver_the_replicas_stay_and_the_routing_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    solved_with("routing-lp", monkeypatch)
    decision = decide(world())
    assert {key: one.replicas for key, one in decision.pools.items()} == {"ai/a": 1, "ai/b": 0}
    assert decision.hosted["ai/api"].requests_per_second == pytest.approx(5.0)


@pytest.mark.parametrize("rung", ["routing-lp", "greedy"])
def test_without_the_integer_solver_no_more_replicas_stay_than_gpus_are_left(
    rung: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five GPUs were taken, two are left."""
    solved_with(rung, monkeypatch)
    pools = (local("a", serving=1, previous=1), local("b", serving=2, previous=2, gpus_per_replica=2))
    decision = decide(snapshot(*pools, hosted(), route("chat", "a", "b", "api", rps=20), gpus=2))
    assert {key: one.replicas for key, one in decision.pools.items()} == {"ai/a": 1, "ai/b": 0}


def test_a_held_route_that_fills_its_pool_leaves_the_case_of_a_failed_node_solvable() -> None:
    """A node's failure takes the held route's replicas too; every other pool is still chosen by the programme."""
    memory = Memory(shares={"ai/policy/held": {"ai/a": 1.0}}, requests_per_second={"ai/policy/held": 7.9})
    held = route("held", "a", rps=Unknown("stale"))
    pools = (local("a", serving=1, previous=1), local("b", gpu_class="rtx4090"))
    fleet = snapshot(
        *pools, hosted(), held, route("chat", "a", "b", "api", rps=7), gpus=4, memory=memory,
        gpus_per_node={("h100", ""): 4.0},
    )  # fmt: skip
    decision = decide(fleet)
    assert decision.rung == "milp"
    assert {key: one.replicas for key, one in decision.pools.items()} == {"ai/a": 1, "ai/b": 1}


def planned() -> tuple[Problem, dict[str, float], dict[str, Bounds], Snapshot, Plan]:
    clean, _ = cleaned(world())
    problem = prepare(clean)
    bounds = {key: Bounds(0, 8, 0) for key in problem.local}
    fleet = solve.Fleet(problem, clean.gpus, clean.rules, problem.rates, (Case(1.0, problem.rates),))
    plan = solve.sized_plan(fleet, bounds, absolute_gap_usd=0.0)
    return problem, dict(problem.rates), bounds, clean, plan


SECRET, CHAT = "ai/policy/secret", "ai/policy/chat"


@pytest.mark.parametrize(
    ("broken", "flaw"),
    [
        ({"replicas": {"ai/a": 9, "ai/b": 0}}, "9 replicas are not within 0..8"),
        ({"replicas": {"ai/a": 8, "ai/b": 8}}, "24 GPUs of 5"),
        ({"replicas": {"ai/a": 0, "ai/b": 0}}, "replicas' worth of requests for 0 replicas"),
        ({"flows": {(SECRET, "ai/api"): 12.0, (CHAT, "ai/api"): 5.0}}, "ai/policy/secret may not go to ai/api"),
        ({"flows": {(CHAT, "ai/api"): 20.0}}, "ai/api: 20 requests of 5"),
        ({"flows": {(CHAT, "ai/a"): -1.0}}, "-1.0 requests/s"),
        ({"flows": {(CHAT, "ai/a"): float("nan")}}, "nan requests/s"),
        ({"shed": {CHAT: 40.0}}, "of 20 requests/s are planned"),
    ],
    ids=["bounds", "inventory", "capacity", "sovereignty", "rate limit", "negative", "not a number", "sum"],
)
def test_the_validator_sees_each_flaw(broken: dict[str, Any], flaw: str) -> None:
    problem, rates, bounds, clean, plan = planned()
    assert flaws(problem, rates, bounds, clean.gpus, plan) == []
    found = flaws(problem, rates, bounds, clean.gpus, replace(plan, **broken))
    assert any(flaw in one for one in found), found


def test_a_rate_of_a_request_in_days_does_not_lead_the_solver_astray() -> None:
    """$150/h for a replica that saves $122/h. With a row of 6e-6 requests/s HiGHS calls keeping it optimal."""
    asked = (route("a", rps=63), route("b", rps=5, time_per_output_token_ms=15.0))
    fleet = snapshot(
        local(idle_usd_per_replica_hour=150.0, serving=1), hosted(), *asked, gpus=1,
        rules=Rules(scale_down_delay_seconds=0.0),
        outlook=Outlook((0.5, 0.5), {"ai/policy/a": (0.0, 6.3e-6), "ai/policy/b": (5.0, 5.0)}),
    )  # fmt: skip
    assert decide(fleet).pools["ai/own"].replicas == 0


class TestTimeAndPlaces:
    """Two full replicas, 20 ms per output token. For each request/s `talk` (100 + 1000 tokens) takes 0.193 of a
    replica's time and 0.313 of its places, `read` (2000 + 20) 0.138 of the time and 0.008 of the places."""

    TALK, READ, OWN = "ai/policy/talk", "ai/policy/read", "ai/own"
    TWO: ClassVar = {OWN: Bounds(2, 2, 2)}

    def filled(self, talk: float | Unknown = 20.0, memory: Memory | None = None) -> tuple[Problem, Snapshot]:
        asked = [
            demand(talk, input_tokens=100.0, output_tokens=1000.0),
            demand(20.0, input_tokens=2000.0, output_tokens=20.0),
        ]
        routes = [
            route(name, demand=one, time_per_output_token_ms=20.0)
            for name, one in zip(("talk", "read"), asked, strict=True)
        ]
        world = snapshot(local(serving=2, previous=2), hosted(), *routes, memory=memory or Memory())
        clean, _ = cleaned(world)
        return kept_full(prepare(clean), clean.memory.shares), clean

    def used(self, problem: Problem, flows: Mapping[tuple[str, str], float]) -> tuple[float, float]:
        """Replicas' worth of time and of places."""
        pairs = [(flows.get((pair.route, self.OWN), 0.0), pair) for pair in problem.by_pool[self.OWN]]
        return sum(rate * pair.replicas for rate, pair in pairs), sum(rate * pair.places for rate, pair in pairs)

    def test_the_routing_fills_both(self) -> None:
        """6.26 of `talk` and 5.73 of `read` take 2 replicas of time and 2 of places. Of `talk` alone there is room for
        6.40: those of `read` cost next to nothing."""
        problem, clean = self.filled()
        plan = solve.routed_plan(problem, problem.rates, {self.OWN: 2}, self.TWO, clean.gpus, clean.rules)
        assert plan.rung == "routing-lp"
        assert self.used(problem, plan.flows) == pytest.approx((2.0, 2.0))
        assert plan.flows[self.TALK, self.OWN] == pytest.approx(6.26, abs=0.005)
        assert plan.flows[self.READ, self.OWN] == pytest.approx(5.73, abs=0.005)

    def test_greedy_overfills_neither(self) -> None:
        problem, clean = self.filled()
        plan = greedy_plan(problem, {self.TALK: 20.0}, self.TWO, clean.gpus)
        assert plan.flows[self.TALK, self.OWN] == pytest.approx(6.40, abs=0.005)
        assert flaws(problem, {self.TALK: 20.0}, self.TWO, clean.gpus, plan) == []

    def test_the_validator_sees_more_requests_than_places(self) -> None:
        """10 of `talk` would take 1.93 replicas' time and 3.13 replicas' places."""
        problem, clean = self.filled(talk=10.0)
        flows = {(self.TALK, self.OWN): 10.0, (self.READ, "ai/api"): 20.0}
        plan = Plan({self.OWN: 2}, flows, {}, {}, "milp", 0.0, 0.0)
        assert flaws(problem, problem.rates, self.TWO, clean.gpus, plan) == [
            "ai/own: 3.12563 replicas' places for 2 replicas"
        ]

    @pytest.mark.parametrize("rung", ["routing-lp", "greedy"])
    def test_routes_of_unknown_demand_keep_their_time_and_their_places(self, rung: str) -> None:
        """4 of `talk` hold 0.77 replicas of time and 1.25 of places: the others get what is left of each."""
        shares = {self.TALK: {self.OWN: 1.0}, self.READ: {self.OWN: 1.0}}
        memory = Memory(shares=shares, requests_per_second={self.TALK: 4.0})
        problem, clean = self.filled(Unknown("stale"), memory)
        talk = next(pair for pair in problem.by_pool[self.OWN] if pair.route == self.TALK)
        assert held_load(problem, self.OWN, self.TWO[self.OWN]) == pytest.approx(4.0 * talk.replicas)
        assert held_places(problem, self.OWN, self.TWO[self.OWN]) == pytest.approx(4.0 * talk.places)
        assert talk.places > talk.replicas
        rates = {self.READ: 20.0}
        plan = (
            greedy_plan(problem, rates, self.TWO, clean.gpus)
            if rung == "greedy"
            else solve.routed_plan(problem, rates, {self.OWN: 2}, self.TWO, clean.gpus, clean.rules)
        )
        assert plan.rung == rung
        time, places = self.used(problem, {**plan.flows, (self.TALK, self.OWN): 4.0})
        assert max(time, places) <= 2.0 + 1e-6
        assert flaws(problem, rates, self.TWO, clean.gpus, plan) == []
