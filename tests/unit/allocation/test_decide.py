"""Days in the life of a fleet: what the decision does, step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import BackendRule, Memory, Rules, Sample, Snapshot, Unknown
from comptroller.api.conditions import Reason
from tests.unit.allocation.build import hosted, local, planned_state, route, snapshot

OWN, API, CHAT = "ai/own", "ai/api", "ai/policy/chat"


def fewer(before: Snapshot, rps: float, after_seconds: float = 0.0) -> Snapshot:
    """The same world with another demand on `chat`."""
    routes = tuple(route("chat", rps=rps) if one.name == "chat" else one for one in before.routes)
    return replace(before, routes=routes, at_seconds=before.at_seconds + after_seconds)


def shares(decision: Decision, name: str = "chat") -> dict[str, float]:
    return dict(decision.routes[f"ai/policy/{name}"].shares)


class TestASteppedLoad:
    def test_wants_more_replicas_and_spills_meanwhile(self) -> None:
        decision = decide(snapshot(local(serving=2, previous=2), hosted(), route(rps=30)))
        assert decision.pools[OWN].replicas == 4
        assert decision.pools[OWN].reason is Reason.SCALING_UP
        assert decision.pools[OWN].message.startswith(
            "2 -> 4: 30 rps of chat need 3.79 replicas to keep first token under 800 ms (p95); "
            "staying at 2 would cost $"
        )
        assert decision.hosted[API].reason is Reason.SPILL_WHILE_STARTING
        assert shares(decision)[API] == pytest.approx(1 - 2 * 8.553 / 30, rel=0.01)
        assert decision.routes[CHAT].reason is Reason.SPILL_WHILE_STARTING
        assert decision.pools[OWN].utilisation == pytest.approx(1.0, abs=0.01)

    def test_comes_back_inside_when_the_replicas_serve(self) -> None:
        before = snapshot(local(serving=2, previous=2), hosted(), route(rps=30))
        after = decide(planned_state(before, decide(before), ready=True))
        assert shares(after) == {OWN: 1.0}
        assert after.pools[OWN].reason is Reason.DEMAND_SERVED
        assert after.hosted[API].reason is Reason.STANDBY
        assert after.usd_per_hour < 1.0

    def test_does_not_order_the_same_replicas_twice_while_they_start(self) -> None:
        before = snapshot(local(serving=2, previous=2), hosted(), route(rps=30))
        state = planned_state(before, decide(before))
        assert decide(state).pools[OWN].replicas == 4
        assert decide(replace(state, at_seconds=1003.0)).pools[OWN].message.startswith("Stays at 4")

    def test_goes_up_by_at_most_the_step(self) -> None:
        before = snapshot(
            local(serving=1, previous=1, maximum=50), hosted(), route(rps=300), rules=Rules(maximum_step_up=3)
        )
        assert decide(before).pools[OWN].replicas == 4

    def test_the_peak_sizes_where_the_api_is_dear_and_the_mean_where_owning_is(self) -> None:
        peaky = route(rps=7, peak=30.0)
        assert decide(snapshot(local(), hosted(), peaky)).pools[OWN].replicas == 4
        rented = local(idle_usd_per_replica_hour=185.0, startup_seconds=0.0)
        assert decide(snapshot(rented, hosted(), peaky)).pools[OWN].replicas == 1


class TestAFallingLoad:
    def test_keeps_the_replicas_until_the_delay_has_passed(self) -> None:
        state = snapshot(local(serving=4, previous=4), hosted(), route(rps=30))
        first = decide(fewer(state, 5))
        assert first.pools[OWN].replicas == 4
        assert first.pools[OWN].reason is Reason.STABILISING
        assert "1 would do now" in first.pools[OWN].message
        early = decide(planned_state(fewer(state, 5), first, ready=True, after_seconds=299))
        assert early.pools[OWN].replicas == 4
        late = decide(planned_state(fewer(state, 5), first, ready=True, after_seconds=300))
        assert late.pools[OWN].replicas == 1
        assert late.pools[OWN].reason is Reason.SCALING_DOWN

    def test_goes_down_only_to_the_most_that_was_wanted_meanwhile(self) -> None:
        state = fewer(snapshot(local(serving=4, previous=4), hosted(), route(rps=30)), 5)
        for rps, seconds in ((20, 100), (5, 100)):
            state = fewer(planned_state(state, decide(state), ready=True), rps, seconds)
        last = fewer(planned_state(state, decide(state), ready=True), 5, 100)
        assert decide(last).pools[OWN].replicas == 3
        assert decide(last).memory.below_since_seconds == {OWN: (1300.0, 1)}

    def test_a_load_that_comes_back_forgets_the_window(self) -> None:
        state = fewer(snapshot(local(serving=4, previous=4), hosted(), route(rps=30)), 5)
        back = fewer(planned_state(state, decide(state), ready=True), 30, 200)
        assert decide(back).memory.below_since_seconds == {}

    def test_nothing_goes_down_after_a_restart(self) -> None:
        rules = Rules(holding_after_restart=True, scale_down_delay_seconds=0.0)
        decision = decide(snapshot(local(serving=4, previous=4), hosted(), route(rps=1), rules=rules))
        assert decision.pools[OWN].replicas == 4
        assert decision.pools[OWN].reason is Reason.HOLDING_RESTART

    def test_a_clock_that_went_back_starts_the_window_anew(self) -> None:
        memory = Memory(below_since_seconds={OWN: (9e9, 1)})
        decision = decide(snapshot(local(serving=4, previous=4), hosted(), route(rps=1), memory=memory))
        assert decision.pools[OWN].replicas == 4
        assert decision.memory.below_since_seconds == {OWN: (1000.0, 1)}

    def test_an_idle_pool_rests_at_its_minimum(self) -> None:
        decision = decide(snapshot(local(minimum=1, serving=1, previous=1), hosted(), route(rps=0)))
        assert decision.pools[OWN].reason is Reason.IDLE
        assert decision.routes[CHAT].message == "No requests; the next one goes 100% on own."


class TestSovereignty:
    def secret(self, rps: float, **changes: object) -> object:
        return route("secret", "own", "api", rps=rps, perimeters=("onPremises",), **changes)

    def test_a_restricted_route_is_shed_rather_than_sent_out(self) -> None:
        decision = decide(snapshot(local(serving=1, previous=1, maximum=1), hosted(), self.secret(30)))
        plan = decision.routes["ai/policy/secret"]
        assert set(plan.shares) == {OWN}
        assert plan.spill_order == (OWN,)
        assert plan.shed_ratio == pytest.approx(1 - 7.908 / 30, rel=0.01)
        assert plan.reason is Reason.CAPACITY_SHORT
        assert "rps are shed" in plan.message
        assert decision.pools[OWN].reason is Reason.CAPACITY_SHORT
        assert "spec.local.replicas.max is 1" in decision.pools[OWN].message

    def test_a_restricted_route_has_the_own_replicas_before_one_that_may_go_out(self) -> None:
        decision = decide(snapshot(local(serving=1, previous=1, maximum=1), hosted(), self.secret(6), route(rps=6)))
        assert decision.routes["ai/policy/secret"].shed_ratio == 0.0
        assert shares(decision)[API] == pytest.approx(1 - (1 - 6 / 7.908) * 8.553 / 6, rel=0.01)

    def test_even_one_request_in_an_hour_starts_a_replica_if_nobody_else_may_answer(self) -> None:
        rented = local(idle_usd_per_replica_hour=4.0)
        assert decide(snapshot(rented, hosted(), self.secret(1 / 3600))).pools[OWN].replicas == 1

    def test_jurisdictions_count_like_perimeters(self) -> None:
        decision = decide(snapshot(local(serving=0), hosted(), route(rps=5, jurisdictions=("EU",))))
        assert decision.routes[CHAT].spill_order == (OWN,)

    def test_a_hosted_pool_inside_the_perimeter_is_still_out_of_reach_of_a_restricted_router(self) -> None:
        near = hosted(perimeter="onPremises", jurisdiction="EU")
        assert decide(snapshot(local(), near, self.secret(5))).routes["ai/policy/secret"].spill_order == (OWN,)

    def test_a_route_that_nobody_may_answer_says_so(self) -> None:
        decision = decide(snapshot(hosted(), route("secret", "api", rps=5, perimeters=("onPremises",))))
        plan = decision.routes["ai/policy/secret"]
        assert plan.reason is Reason.NO_PERMITTED_BACKEND
        assert (plan.shares, plan.shed_ratio) == ({}, 1.0)


class TestOverload:
    def test_a_queueing_route_stays_inside_and_waits(self) -> None:
        decision = decide(snapshot(local(serving=1, maximum=1), hosted(), route(rps=20, on_overload="queue")))
        plan = decision.routes[CHAT]
        assert plan.shares == {OWN: pytest.approx(1.0)}
        assert plan.shed_ratio == 0.0
        assert "queue inside" in plan.message

    def test_a_rejecting_route_is_shed_and_not_spilled(self) -> None:
        plan = decide(snapshot(local(serving=1, maximum=1), hosted(), route(rps=20, on_overload="reject"))).routes[CHAT]
        assert set(plan.shares) == {OWN}
        assert plan.shed_ratio > 0.5

    def test_a_queueing_route_without_a_pool_inside_is_answered_outside(self) -> None:
        assert shares(decide(snapshot(hosted(), route("chat", "api", rps=5, on_overload="queue")))) == {API: 1.0}

    def test_the_lower_priority_is_shed_first(self) -> None:
        low, high = (route(n, "own", rps=6, priority=p) for n, p in (("low", 10), ("high", 200)))
        decision = decide(snapshot(local(serving=1, maximum=1), low, high))
        assert decision.routes["ai/policy/high"].shed_ratio == 0.0
        assert decision.routes["ai/policy/low"].shed_ratio == pytest.approx(1 - (7.908 - 6) / 6, rel=0.01)


class TestMoney:
    def test_an_api_that_is_cheaper_than_a_rented_gpu_carries_the_load(self) -> None:
        rented = local(idle_usd_per_replica_hour=400.0)
        decision = decide(snapshot(rented, hosted(), route(rps=5)))
        assert decision.pools[OWN].replicas == 0
        assert decision.hosted[API].reason is Reason.SPILL
        assert "cheaper than more of own" in decision.hosted[API].message
        assert shares(decision) == {API: 1.0}

    def test_the_pool_that_saves_more_gets_the_gpus(self) -> None:
        cheap_api = hosted("cheap", input_usd_per_million_tokens=0.1, output_usd_per_million_tokens=0.4)
        decision = decide(
            snapshot(
                local("a"), local("b"), hosted(), cheap_api,
                route("saves-much", "a", "api", rps=15), route("saves-little", "b", "cheap", rps=15), gpus=2,
            )
        )  # fmt: skip
        assert {key: one.replicas for key, one in decision.pools.items()} == {"ai/a": 2, "ai/b": 0}
        assert decision.shadow_prices_usd_per_gpu_hour["h100", ""] > 1.0

    def test_a_full_class_has_a_shadow_price_and_says_what_one_more_gpu_is_worth(self) -> None:
        decision = decide(snapshot(local(serving=2, previous=2), hosted(), route(rps=30), gpus=2))
        assert decision.shadow_prices_usd_per_gpu_hour["h100", ""] == pytest.approx(7.908 * 24.3, rel=0.02)
        assert decision.pools[OWN].reason is Reason.CAPACITY_SHORT
        assert "the 2 GPUs of class h100 are taken; one more would be worth $192/h" in decision.pools[OWN].message

    def test_free_gpus_have_no_shadow_price(self) -> None:
        decision = decide(snapshot(local(), hosted(), route(rps=5)))
        assert decision.shadow_prices_usd_per_gpu_hour == {("h100", ""): 0.0}

    def test_the_alternatives_are_dearer_and_have_prices(self) -> None:
        decision = decide(snapshot(local(serving=2, previous=2), hosted(), route(rps=30)))
        costs = {one.name: one.usd_per_hour for one in decision.alternatives}
        assert costs["all hosted"] == pytest.approx(30 * 24.3)
        assert costs["previous plan"] == pytest.approx(14.18 * 24.3, rel=0.01)
        assert decision.usd_per_hour_when_started < 1.0

    def test_a_worthless_answer_is_not_bought(self) -> None:
        plan = decide(snapshot(hosted(), route("chat", "api", rps=5, usd_per_solved_task=0.001))).routes[CHAT]
        assert plan.shed_ratio == 1.0

    def test_a_better_model_is_bought_where_solved_tasks_are_worth_it(self) -> None:
        rules = (BackendRule(OWN, 0.5), BackendRule(API, 1.0))
        cheap = route(rps=5, backends=rules, usd_per_solved_task=0.01)
        dear = route(rps=5, backends=rules, usd_per_solved_task=1.0)
        world = (local(serving=1, previous=1), hosted())
        assert shares(decide(snapshot(*world, cheap))) == {OWN: 1.0}
        assert shares(decide(snapshot(*world, dear))) == {API: 1.0}

    def test_the_minimum_pass_rate_mixes_in_the_better_model(self) -> None:
        rules = (BackendRule(OWN, 0.8), BackendRule(API, 1.0))
        decision = decide(
            snapshot(local(serving=1, previous=1), hosted(), route(rps=5, backends=rules, minimum_pass_rate=0.95))
        )
        assert shares(decision)[API] == pytest.approx(0.75, abs=0.001)
        assert decision.routes[CHAT].pass_rate == pytest.approx(0.95, abs=0.001)

    def test_a_pass_rate_that_nobody_reaches_is_said_and_the_best_is_taken(self) -> None:
        rules = (BackendRule(OWN, 0.8), BackendRule(API, 0.9))
        plan = decide(
            snapshot(local(serving=1, previous=1), hosted(), route(rps=5, backends=rules, minimum_pass_rate=0.99))
        ).routes[CHAT]
        assert "no permitted pool reaches the minimum pass rate of 0.99" in plan.message
        assert plan.shed_ratio == 0.0


class TestHostedLimits:
    @pytest.mark.parametrize(
        ("limit", "rps"),
        [
            ({"requests_per_minute": 60.0}, 1.0),
            ({"tokens_per_minute": 150_000.0}, 2.0),
            ({"max_concurrency": 6, "mean_latency_seconds": 2.0}, 3.0),
        ],
        ids=["requests per minute", "tokens per minute", "concurrency, by Little's law"],
    )
    def test_a_limit_bounds_what_spills(self, limit: dict[str, float], rps: float) -> None:
        decision = decide(snapshot(hosted(**limit), route("chat", "api", rps=10)))
        assert decision.hosted[API].requests_per_second == pytest.approx(rps)
        assert decision.routes[CHAT].shed_ratio == pytest.approx(1 - rps / 10)

    @pytest.mark.parametrize("state", [{"paused": True}, {"available": False}], ids=["paused", "its circuit is open"])
    def test_a_pool_that_cannot_carry_anything_carries_nothing(self, state: dict[str, bool]) -> None:
        decision = decide(snapshot(hosted(**state), hosted("second"), route("chat", "api", "second", rps=5)))
        assert shares(decision) == {"ai/second": 1.0}
        assert decision.hosted[API].reason in (Reason.PAUSED, Reason.UNREACHABLE)

    def test_the_cheaper_api_is_first_in_the_spill_order_after_the_pools_inside(self) -> None:
        cheap = hosted("cheap", output_usd_per_million_tokens=1.0)
        plan = decide(snapshot(local(serving=1), hosted(), cheap, route("chat", "own", "api", "cheap", rps=5))).routes
        assert plan[CHAT].spill_order == (OWN, "ai/cheap", API)


class TestPins:
    def test_a_paused_pool_stays_where_it_is_and_still_serves(self) -> None:
        decision = decide(snapshot(local(serving=2, previous=2, paused=True), hosted(), route(rps=60)))
        assert decision.pools[OWN].replicas == 2
        assert decision.pools[OWN].reason is Reason.PAUSED
        assert shares(decision)[OWN] > 0.2

    def test_a_held_pool_has_the_given_number_even_outside_its_bounds(self) -> None:
        decision = decide(snapshot(local(serving=2, previous=2, held_at=12), hosted(), route(rps=1)))
        assert decision.pools[OWN].replicas == 12
        assert decision.pools[OWN].reason is Reason.HELD

    def test_a_lower_maximum_wins_at_once(self) -> None:
        decision = decide(snapshot(local(serving=6, previous=6, maximum=2), hosted(), route(rps=60)))
        assert decision.pools[OWN].replicas == 2

    def test_lost_gpus_win_over_the_delay(self) -> None:
        decision = decide(snapshot(local(serving=4, previous=4), hosted(), route(rps=60), gpus=2))
        assert decision.pools[OWN].replicas == 2


class TestNotKnowing:
    def test_unknown_demand_holds_replicas_and_shares(self) -> None:
        memory = Memory(shares={CHAT: {OWN: 0.7, API: 0.3}}, requests_per_second={CHAT: 20.0})
        decision = decide(snapshot(local(serving=4, previous=4), hosted(), route(rps=Unknown("stale")), memory=memory))
        assert decision.pools[OWN].replicas == 4
        assert decision.pools[OWN].reason is Reason.HOLDING_UNKNOWN
        assert shares(decision) == {OWN: 0.7, API: 0.3}
        assert decision.routes[CHAT].requests_per_second is None
        assert decision.unknowns == {CHAT: "stale"}
        assert decision.rung == "hold"

    def test_a_known_route_of_the_same_pool_can_still_scale_it_up(self) -> None:
        memory = Memory(shares={CHAT: {OWN: 1.0}}, requests_per_second={CHAT: 7.0})
        decision = decide(
            snapshot(
                local(serving=1, previous=1), hosted(), route(rps=Unknown("stale")), route("other", rps=7.5),
                memory=memory,
            )
        )  # fmt: skip
        assert decision.pools[OWN].replicas == 2
        assert shares(decision) == {OWN: 1.0}
        assert shares(decision, "other")[API] > 0.78

    def test_the_share_of_a_pool_that_may_not_answer_any_more_goes_inside_and_never_out(self) -> None:
        memory = Memory(shares={CHAT: {OWN: 0.5, "ai/gone": 0.5}})
        decision = decide(snapshot(local(serving=2), hosted(), route(rps=Unknown("stale")), memory=memory))
        assert shares(decision) == {OWN: 1.0}

    def test_before_the_first_measurement_a_router_has_somewhere_to_send_requests(self) -> None:
        no_data = route(rps=Unknown("no data yet"))
        assert shares(decide(snapshot(local(serving=1), hosted(), no_data))) == {OWN: 1.0}
        assert shares(decide(snapshot(local(), hosted(), no_data))) == {API: 1.0}

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e300])
    def test_a_number_that_cannot_be_true_is_unknown(self, value: float) -> None:
        decision = decide(snapshot(local(serving=3, previous=3), hosted(), route(rps=Sample(value))))
        assert decision.pools[OWN].replicas == 3
        assert CHAT in decision.unknowns

    def test_an_unknown_inventory_never_grows_a_pool(self) -> None:
        decision = decide(snapshot(local(serving=1, previous=1), hosted(), route(rps=60), gpus=Unknown("no nodes")))
        assert decision.pools[OWN].replicas == 1
        assert decision.unknowns == {"gpus h100": "no nodes"}

    def test_a_price_that_is_not_a_number_sends_nothing_there(self) -> None:
        broken = hosted(output_usd_per_million_tokens=float("nan"))
        decision = decide(snapshot(broken, hosted("second"), route("chat", "api", "second", rps=5)))
        assert shares(decision) == {"ai/second": 1.0}

    def test_a_profile_that_is_not_a_number_holds_the_pool(self) -> None:
        pool = local(serving=2, previous=2)
        broken = replace(pool, profile=replace(pool.profile, beta_ms=float("nan")))
        decision = decide(snapshot(broken, hosted(), route(rps=60)))
        assert decision.pools[OWN].replicas == 2
        assert decision.pools[OWN].message == "Held at 2 because the speed profile is not a number."


def test_an_objective_out_of_reach_is_said() -> None:
    decision = decide(snapshot(local(), hosted(), route(rps=5, time_to_first_token_ms=10.0)))
    assert "Even one request alone misses the objective of chat on this pool" in decision.pools[OWN].message


def test_an_empty_world_has_an_empty_decision() -> None:
    decision = decide(snapshot())
    assert (decision.pools, decision.hosted, decision.routes, decision.usd_per_hour) == ({}, {}, {}, 0.0)


def test_a_processor_pool_needs_no_gpu() -> None:
    pool = local(gpu_class="cpu", gpus_per_replica=0)
    assert decide(replace(snapshot(pool, hosted(), route(rps=5)), gpus={})).pools[OWN].replicas == 1


def test_a_stabilised_pool_and_one_that_takes_over_run_side_by_side_only_if_the_gpus_suffice() -> None:
    """Make before break; with too few GPUs the new pool waits, and the load spills meanwhile."""
    world = (local("a", serving=2, previous=2), local("b"), hosted())
    moved = (route("old", "a", "api", rps=0), route("new", "b", "api", rps=14))
    plenty = decide(snapshot(*world, *moved, gpus=8))
    assert {key: one.replicas for key, one in plenty.pools.items()} == {"ai/a": 2, "ai/b": 2}
    tight = decide(snapshot(*world, *moved, gpus=3))
    assert {key: one.replicas for key, one in tight.pools.items()} == {"ai/a": 2, "ai/b": 1}
    assert tight.pools["ai/b"].reason is Reason.CAPACITY_SHORT


def test_known_routes_leave_room_for_what_held_routes_take_of_a_hosted_limit() -> None:
    memory = Memory(shares={CHAT: {API: 1.0}}, requests_per_second={CHAT: 4.0})
    api = hosted(requests_per_minute=300.0)
    asked = (route("chat", "api", rps=Unknown("stale")), route("other", "api", rps=5))
    plan = decide(snapshot(api, *asked, memory=memory)).routes["ai/policy/other"]
    assert plan.shed_ratio == pytest.approx(0.8)


def test_a_minimum_that_the_better_pools_cannot_hold_is_said_and_nothing_is_shed() -> None:
    rules = (BackendRule(OWN, 0.8), BackendRule(API, 1.0))
    world = (local(serving=2, previous=2), hosted(requests_per_minute=60.0))
    plan = decide(snapshot(*world, route(rps=5, backends=rules, minimum_pass_rate=0.95))).routes[CHAT]
    assert plan.shed_ratio == 0.0
    assert "below the minimum of 0.95, for the better pools are full" in plan.message


def test_doubtful_token_lengths_make_the_demand_unknown() -> None:
    asked = route(demand=replace(route().demand, input_tokens=float("nan")))
    assert "cannot be true" in decide(snapshot(local(), hosted(), asked)).unknowns[CHAT]
