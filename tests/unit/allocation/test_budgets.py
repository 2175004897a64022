"""Budgets: what may be spent now, what that does to replicas and routing, and what happens when nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from comptroller.allocation import solve
from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.greedy import greedy_plan
from comptroller.allocation.limits import Bounds
from comptroller.allocation.measured import cleaned
from comptroller.allocation.plan import Plan
from comptroller.allocation.problem import Allowance, allowances, prepare
from comptroller.allocation.snapshot import Budget, Memory, Rules, Snapshot, Unknown
from comptroller.allocation.validate import flaws
from tests.unit.allocation.build import budget, hosted, local, planned_state, route, snapshot

OWN, API, CHAT, OTHER = "ai/own", "ai/api", "ai/policy/chat", "ai/policy/other"
USD_PER_RPS = 24.3  # an hour of the default API at one request/s


def usd(decision: Decision) -> float:
    """What the hosted pools cost now, in US dollars per hour."""
    return sum(use.usd_per_hour for use in decision.hosted.values())


def spilling(*budgets: Budget, **changes: object) -> Snapshot:
    """7.9 of 17 requests/s are answered inside, the rest outside for $206/h while more replicas start."""
    world = snapshot(local(serving=1, previous=1), hosted(), route(rps=17), budgets=budgets)
    return replace(world, **changes)  # type: ignore[arg-type]


class TestThePace:
    def test_the_docstrings_number(self) -> None:
        (found,) = allowances(spilling(budget(60.0, 12.0)))
        assert found == Allowance("ai/policy", {CHAT: 1.0}, 6.25)

    def test_a_quarter_more_than_the_even_pace_is_spent_and_no_more(self) -> None:
        free, bound = decide(spilling()), decide(spilling(budget(60.0, 1.0)))
        assert usd(free) == pytest.approx((17 - 8.553) * USD_PER_RPS, rel=0.01)
        assert usd(bound) == pytest.approx(75.0)
        assert bound.routes[CHAT].shed_ratio == pytest.approx(1 - (8.553 + 75.0 / USD_PER_RPS) / 17, abs=0.001)

    def test_a_budget_that_suffices_changes_nothing(self) -> None:
        plenty = decide(spilling(budget(10_000.0, 1.0)))
        without = decide(spilling())
        assert plenty.routes == without.routes
        assert plenty.pools == without.pools

    @pytest.mark.parametrize("hours", [0.0, -5.0, 1 / 3600], ids=["now", "the clock went on", "in a second"])
    def test_what_is_left_at_the_end_is_spent_within_a_minute_at_the_fastest(self, hours: float) -> None:
        (found,) = allowances(spilling(budget(1.0, hours)))
        assert found.usd_per_hour == pytest.approx(1.25 * 60.0)

    def test_spending_what_the_allowance_permits_never_overruns(self) -> None:
        """Decided every 15 seconds for an hour: of $60 nothing is overspent, and what an early peak took is missing."""
        left, tick = 60.0, 15.0 / 3600.0
        for number in range(240):
            (found,) = allowances(spilling(budget(left, (240 - number) * tick)))
            left -= found.usd_per_hour * tick
            assert left >= 0.0
        assert left < 1.0


class TestWhatABindingBudgetDoes:
    def test_more_replicas_run_where_the_api_was_cheaper(self) -> None:
        """At $150/h a replica is worth starting for 7.7 requests/s and no fewer; a budget leaves no choice."""
        rented = local(idle_usd_per_replica_hour=150.0)
        free = snapshot(rented, hosted(), route(rps=5))
        assert decide(free).pools[OWN].replicas == 0
        bound = decide(replace(free, budgets=(budget(10.0, 1.0),)))
        assert bound.pools[OWN].replicas == 1
        assert usd(bound) <= 12.5 + 1e-6

    def test_a_spent_budget_leaves_nothing_hosted_for_its_routes(self) -> None:
        decision = decide(spilling(budget(0.0, 5.0)))
        assert set(decision.routes[CHAT].shares) == {OWN}
        assert decision.hosted[API].usd_per_hour == 0.0
        assert decision.pools[OWN].replicas == 3

    def test_other_routes_go_on_as_before(self) -> None:
        world = spilling(budget(0.0, 5.0), hosted_pools=(hosted(), hosted("second")))
        other = route("other", "second", rps=9)
        decision = decide(replace(world, routes=(*world.routes, other)))
        assert decision.routes[OTHER].shares == {"ai/second": 1.0}
        assert set(decision.routes[CHAT].shares) == {OWN}

    def test_a_spent_budget_frees_the_own_replicas_of_routes_that_can_still_pay(self) -> None:
        """Both could go out until the budget of one was spent: then it gets the replicas, and the other one pays."""
        world = snapshot(
            local(serving=1, previous=1, maximum=1), hosted(), route("chat", rps=7), route("other", rps=7),
            budgets=(budget(0.0, 5.0),),
        )  # fmt: skip
        decision = decide(world)
        assert set(decision.routes[CHAT].shares) == {OWN}
        assert decision.routes[CHAT].shed_ratio == pytest.approx(0.0, abs=1e-6)
        assert decision.routes[OTHER].shares[API] > 0.7

    def test_a_budget_that_only_alerts_changes_nothing(self) -> None:
        with_it = decide(spilling(budget(0.0, 5.0, binding=False)))
        without = decide(spilling())
        assert with_it.pools == without.pools
        assert with_it.routes == without.routes

    def test_a_restricted_route_never_pays_for_what_stays_inside(self) -> None:
        secret = route("chat", "own", "api", rps=5, perimeters=("onPremises",))
        decision = decide(snapshot(local(serving=1, previous=1), hosted(), secret, budgets=(budget(0.0, 1.0),)))
        assert decision.routes[CHAT].shares == {OWN: 1.0}


class TestTenants:
    def test_a_tenants_budget_pays_for_its_part_of_the_requests(self) -> None:
        """Two tenants in equal parts, one of whom has spent all: none of the route's requests can be told apart, so
        what goes out at half its price must fit the other one's budget too."""
        parts = {CHAT: 0.5}
        rich, poor = (
            budget(left, 1.0, key=f"ai/policy/{name}", parts=parts) for name, left in (("rich", 1000.0), ("poor", 40.0))
        )
        assert usd(decide(spilling(rich, poor))) == pytest.approx(2 * 1.25 * 40.0)

    def test_the_budget_of_a_policy_is_shared_by_its_routes(self) -> None:
        world = snapshot(
            hosted(),
            route("chat", "api", rps=3),
            route("other", "api", rps=3),
            budgets=(budget(40.0, 1.0, "chat", "other"),),
        )
        assert usd(decide(world)) == pytest.approx(50.0)

    def test_the_higher_priority_spends_it(self) -> None:
        world = snapshot(
            hosted(), route("chat", "api", rps=2, priority=200), route("other", "api", rps=2),
            budgets=(budget(USD_PER_RPS * 2 / 1.25, 1.0, "chat", "other"),),
        )  # fmt: skip
        decision = decide(world)
        assert decision.routes[CHAT].shed_ratio == pytest.approx(0.0, abs=1e-6)
        assert decision.routes[OTHER].shed_ratio == pytest.approx(1.0, abs=1e-6)


class TestRoutesOfUnknownDemand:
    """4 requests/s of `chat` went out when they were last seen, for $97.20 an hour, and go on doing so."""

    def world(self, left: float) -> Snapshot:
        memory = Memory(shares={CHAT: {API: 1.0}}, requests_per_second={CHAT: 4.0})
        asked = (route("chat", "api", rps=Unknown("stale")), route("other", "api", rps=4))
        return snapshot(hosted(), *asked, memory=memory, budgets=(budget(left, 1.0, "chat", "other"),))

    def test_what_they_spend_is_missing_for_the_others(self) -> None:
        decision = decide(self.world(100.0))
        assert usd(decision) == pytest.approx(125.0)
        assert decision.routes[OTHER].shares[API] == pytest.approx((125 / USD_PER_RPS - 4) / 4)

    def test_they_may_spend_all_and_leave_nothing(self) -> None:
        decision = decide(self.world(40.0))
        assert usd(decision) == pytest.approx(97.2)
        assert decision.routes[OTHER].shares == {}


class TestNotKnowingWhatIsLeft:
    def lost(self, **remembered: float) -> Snapshot:
        return spilling(budget(Unknown("no data"), 1.0), memory=Memory(budget_usd_per_hour=remembered))

    def test_no_more_is_spent_than_the_last_plan_spends(self) -> None:
        first = decide(spilling(budget(60.0, 1.0)))
        assert first.memory.budget_usd_per_hour == {"ai/policy": pytest.approx(75.0)}
        blind = replace(planned_state(spilling(), first), budgets=(budget(Unknown("no data"), 1.0),))
        assert usd(decide(blind)) == pytest.approx(75.0)

    def test_it_stays_so_for_as_long_as_it_is_unknown(self) -> None:
        world = replace(self.lost(), memory=Memory(budget_usd_per_hour={"ai/policy": 30.0}))
        for _ in range(3):
            decision = decide(world)
            assert usd(decision) == pytest.approx(30.0)
            world = replace(planned_state(world, decision), budgets=world.budgets)

    @pytest.mark.parametrize("left", [float("nan"), float("inf"), -5.0, 1e300], ids=str)
    def test_a_number_that_cannot_be_true_is_not_known(self, left: float) -> None:
        world = spilling(budget(left, 1.0), memory=Memory(budget_usd_per_hour={"ai/policy": 30.0}))
        assert usd(decide(world)) == pytest.approx(30.0)

    @pytest.mark.parametrize("before", [float("nan"), -5.0, 1e300], ids=str)
    def test_a_memory_that_cannot_be_true_is_none(self, before: float) -> None:
        broken = spilling(budget(60.0, 1.0), memory=Memory(budget_usd_per_hour={"ai/policy": before}))
        assert usd(decide(broken)) == pytest.approx(75.0)
        assert cleaned(broken)[0].memory.budget_usd_per_hour == {}

    def test_an_end_that_is_not_known_is_like_a_rest_that_is_not_known(self) -> None:
        world = spilling(budget(60.0, float("nan")), memory=Memory(budget_usd_per_hour={"ai/policy": 30.0}))
        assert usd(decide(world)) == pytest.approx(30.0)

    def test_a_key_that_occurs_twice_counts_once_with_the_least(self) -> None:
        both = (budget(60.0, 1.0), budget(20.0, 1.0))
        assert usd(decide(spilling(*both))) == usd(decide(spilling(*reversed(both)))) == pytest.approx(25.0)


class TestEveryRung:
    bounds: Mapping[str, Bounds] = {OWN: Bounds(1, 1, 1)}

    def test_the_greedy_plan_keeps_the_budget(self) -> None:
        clean, _ = cleaned(spilling(budget(60.0, 1.0)))
        problem = prepare(clean)
        plan = greedy_plan(problem, problem.rates, self.bounds, clean.gpus)
        assert plan.flows[CHAT, API] * USD_PER_RPS == pytest.approx(75.0)
        assert flaws(problem, problem.rates, self.bounds, clean.gpus, plan) == []

    def test_two_budgets_on_one_route_are_both_kept_by_the_greedy_plan(self) -> None:
        parts = {CHAT: 0.5}
        clean, _ = cleaned(
            spilling(budget(20.0, 1.0, key="a", parts=parts), budget(60.0, 1.0, key="b", parts={CHAT: 1.0}))
        )
        problem = prepare(clean)
        plan = greedy_plan(problem, problem.rates, self.bounds, clean.gpus)
        assert plan.flows[CHAT, API] * USD_PER_RPS == pytest.approx(2 * 1.25 * 20.0)
        assert flaws(problem, problem.rates, self.bounds, clean.gpus, plan) == []

    def test_the_validator_sees_an_overrun(self) -> None:
        clean, _ = cleaned(spilling(budget(60.0, 1.0)))
        problem = prepare(clean)
        plan = Plan({OWN: 1}, {(CHAT, OWN): 7.9, (CHAT, API): 9.1}, {}, {}, "milp", 0.0, 0.0)
        assert flaws(problem, problem.rates, self.bounds, clean.gpus, plan) == ["ai/policy: $221.13/h of $75/h"]

    def test_the_decision_keeps_it_without_a_solver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(solve, "run", lambda *_, **__: None)
        decision = decide(spilling(budget(60.0, 1.0)))
        assert decision.rung == "greedy"
        assert usd(decision) == pytest.approx(75.0)

    def test_moves_that_a_budget_causes_are_delayed_like_all(self) -> None:
        """A budget that is whole again gives the replicas back only after the delay."""
        rented = local(idle_usd_per_replica_hour=150.0, serving=1, previous=1)
        world = snapshot(rented, hosted(), route(rps=5), budgets=(budget(10_000.0, 1.0),), rules=Rules())
        first = decide(world)
        assert first.pools[OWN].replicas == 1
        assert decide(planned_state(world, first, ready=True, after_seconds=301)).pools[OWN].replicas == 0
