"""Whole runs: nobody is lost, the same seed gives the same result, routers spill, data rules hold, faults are met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.sim.bound import hindsight_bound
from comptroller.sim.programme import Programme
from comptroller.sim.replay import Replay, epochs
from comptroller.sim.score import Score, figures, with_intervals
from comptroller.sim.sovereignty import forbidden_pairs
from comptroller.sim.stage import Stage
from tests.unit.sim.arena_build import Fixed, demand, run, stage

OWN, US, EU = "ai/own", "ai/us", "ai/eu"


def settled(score: Score) -> int:
    """Requests with an outcome, and those that still wait."""
    waiting = sum(int(route["waiting"]) for route in score.per_route.values())
    return score.answered + score.blocked + waiting


@pytest.mark.parametrize("limit", [None, 20, 64])
@pytest.mark.parametrize("replicas", [0, 1, 8])
def test_every_request_is_answered_blocked_or_waits(replicas: int, limit: int | None) -> None:
    at = stage(5.0, 5.0, 5.0, 5.0, rules="{onPremisesOnly: 0.25, euOnly: 0.25}")
    at = replace(at, scenario=_without_warm_up(at))
    score = run(at, Fixed(replicas, {OWN: 1.0}, limit), hours=0.5)
    assert score.requests == settled(score)
    assert score.requests == pytest.approx(20 * 1800, rel=0.05)


def _without_warm_up(at: Stage) -> object:
    spec = at.scenario.spec
    changed = spec.model_copy(update={"demand": spec.demand.model_copy(update={"warm_up_seconds": 0.0})})
    return replace(at.scenario, spec=changed)


def test_the_same_seed_gives_the_same_result_and_another_one_does_not() -> None:
    at = stage(5.0, 8.0)
    first, second, other = (run(at, Fixed(2, {OWN: 1.0}), seed=seed) for seed in (1, 1, 2))
    assert replace(first, decision_seconds=()) == replace(second, decision_seconds=())
    assert first.requests != other.requests


def test_every_policy_is_asked_the_same() -> None:
    at = stage(5.0, 8.0)
    asked = demand(at)
    scores = [Replay(at, asked, Fixed(count, {OWN: 1.0}), 60.0).run() for count in (1, 8)]
    assert scores[0].requests == scores[1].requests


def test_room_inside_means_everything_inside_within_its_objective() -> None:
    score = run(stage(5.0, 5.0, 5.0, 5.0), Fixed(8, {OWN: 1.0}, 38))
    assert score.inside == score.answered
    assert score.within / score.answered > 0.999
    assert score.hosted_usd == 0.0


def test_a_full_pool_spills_to_the_reserves_in_their_order() -> None:
    score = run(stage(10.0, 10.0), Fixed(1, {OWN: 1.0}, 38))
    outside = score.answered - score.inside
    assert outside / score.answered == pytest.approx(1 - 7.55 / 20, abs=0.06)  # 38 at once: 7.55 requests/s
    assert score.blocked == 0
    cheap = (1000 * 0.5 + 250 * 1.0) / 1e6
    assert score.hosted_usd == pytest.approx(outside * cheap, rel=1e-6)
    assert score.within / score.answered > 0.99


def test_without_a_reserve_what_does_not_fit_is_refused() -> None:
    at = stage(10.0, 10.0)
    score = run(at, Fixed(1, {OWN: 1.0, US: 0.0}, 38, spill=False))
    assert score.hosted_usd == 0.0
    # the rendering knows no reserve, so every backend is inside and the route waits in the engine's queue
    assert score.blocked / score.requests == pytest.approx(1 - 8.4 / 20, abs=0.06)


def test_a_route_that_may_not_leave_waits_and_is_blocked_after_the_timeout() -> None:
    at = stage(15.0, 15.0, rules="{onPremisesOnly: 0.5}")
    score = run(at, Fixed(1, {OWN: 1.0}, 38))
    bound = next(name for name, route in score.per_route.items() if route["hosted"] == 0)
    other = next(name for name in score.per_route if name != bound)
    assert score.per_route[bound]["blocked"] > 0.3 * score.per_route[bound]["requests"]
    assert score.per_route[other]["blocked"] < 0.03 * score.per_route[other]["requests"]  # what had queued behind it
    us, eu = 0.00075, 0.001125
    blocked = {name: score.per_route[name]["blocked"] for name in (bound, other)}
    assert score.blocked_usd == pytest.approx(10 * (blocked[bound] * us + blocked[other] * eu))


def test_weights_divide_the_requests() -> None:
    score = run(stage(5.0), Fixed(8, {OWN: 0.5, US: 0.5}))
    assert score.inside / score.answered == pytest.approx(0.5, abs=0.02)


def test_a_rate_limit_refuses_what_is_above_it_and_the_next_api_takes_it() -> None:
    at = stage(10.0, limits="limits: {requestsPerMinute: 300}")
    score = run(at, Fixed(0, {US: 1.0}))
    asked, cheap, dear = score.requests, 0.00075, 0.001125
    assert score.blocked == 0
    assert score.hosted_usd == pytest.approx(asked * (cheap + dear) / 2, rel=0.03)


def test_an_outage_sends_everybody_to_the_other_api() -> None:
    at = stage(5.0, perturbations="[{kind: hostedOutage, pool: us, atHour: 0.5}]")
    score = run(at, Fixed(0, {US: 1.0}))
    assert score.blocked == 0
    assert score.hosted_usd == pytest.approx(score.requests * (0.00075 + 0.001125) / 2, rel=0.05)


def test_a_storm_of_429_lets_only_a_few_through() -> None:
    at = stage(20.0, perturbations="[{kind: storm429, pool: us, ratio: 0.5}]")
    score = run(at, Fixed(0, {US: 1.0}))
    assert score.blocked == 0
    cheap = (score.requests * 0.001125 - score.hosted_usd) / (0.001125 - 0.00075)
    assert 0 < cheap / score.requests < 0.1


def test_a_price_that_changes_is_paid_and_seen() -> None:
    at = stage(5.0, perturbations="[{kind: priceChange, pool: us, factor: 2.0, atHour: 0.5}]")
    policy = Fixed(0, {US: 1.0})
    score = run(at, policy)
    assert score.hosted_usd == pytest.approx(score.requests * 0.00075 * 1.5, rel=0.05)
    seen = [view.snapshot.hosted_pools[1].input_usd_per_million_tokens for view in policy.views]
    assert (seen[0], seen[-1]) == (0.5, 1.0)


def test_a_profile_that_is_off_slows_the_engines_and_stays_unseen() -> None:
    slow = stage(6.0, perturbations="[{kind: profileError, factor: 1.25}]")
    policy = Fixed(1, {OWN: 1.0}, 38)
    score, usual = run(slow, policy), run(stage(6.0), Fixed(1, {OWN: 1.0}, 38))
    assert score.inside < 0.97 * usual.inside
    assert {view.snapshot.local_pools[0].profile.alpha_ms for view in policy.views} == {5.5}
    assert policy.views[-1].signals[OWN].iteration_ms > 20.0  # a batch of 31 would take 17.3


def test_a_lost_node_breaks_answers_and_its_replicas_wait_for_gpus() -> None:
    at = stage(20.0, 20.0, perturbations="[{kind: nodeLost, class: h100, atHour: 0.5, forSeconds: 900}]")
    policy = Fixed(8, {OWN: 1.0}, 38)
    score = run(at, policy)
    serving = [view.snapshot.local_pools[0].serving for view in policy.views]
    assert (max(serving), serving[-1]) == (8, 8)
    assert 4 in serving
    assert {view.snapshot.gpus["h100", ""] for view in policy.views} == {Sample(8.0), Sample(4.0)}
    assert 0 < score.blocked < 200  # what was in flight on the node
    assert score.requests == pytest.approx(settled(score), abs=5)


def test_demand_that_steps_up_is_seen_within_the_rate_window() -> None:
    at = stage(5.0, perturbations="[{kind: demandStep, factor: 5.0, rampSeconds: 60, atHour: 0.5}]")
    policy = Fixed(8, {OWN: 1.0})
    score = run(at, policy)
    rates = [view.snapshot.routes[0].demand.requests_per_second for view in policy.views]
    known = [rate.value for rate in rates if isinstance(rate, Sample)]
    assert known[-1] == pytest.approx(25.0, rel=0.3)
    assert score.requests == pytest.approx(5 * 1800 + 25 * 1800, rel=0.05)


def test_while_measurements_are_stale_nothing_is_known_and_the_programme_holds() -> None:
    at = stage(10.0, 10.0, perturbations="[{kind: metricsStale, atHour: 0.25, forSeconds: 1200}]")
    seen: list[tuple[bool, bool]] = []
    targets: list[int] = []

    class Watching(Programme):
        def decide(self, view):  # type: ignore[no-untyped-def]
            orders = super().decide(view)
            stale = all(isinstance(one.demand.requests_per_second, Unknown) for one in view.snapshot.routes)
            seen.append((stale, bool(view.signals)))
            targets.append(orders.replicas[OWN])
            return orders

    score = run(at, Watching())
    blind = [index for index, (stale, _) in enumerate(seen) if stale]
    assert len(blind) == pytest.approx(1200 / 60 - 2, abs=1)
    assert not any(seen[index][1] for index in blind)
    assert all(targets[index] >= targets[blind[0] - 1] for index in blind)
    assert score.blocked == 0


def test_data_rules_are_never_broken() -> None:
    at = stage(10.0, 10.0, 10.0, 10.0, rules="{onPremisesOnly: 0.25, euOnly: 0.5}")
    score = run(at, Fixed(1, {OWN: 0.5, US: 0.25, EU: 0.25}, 38))
    assert score.sovereignty_violations == 0
    outside = {name: one["hosted"] for name, one in score.per_route.items()}
    assert sum(count == 0 for count in outside.values()) == 1


def test_a_router_that_was_tampered_with_is_found_out() -> None:
    at = stage(10.0, 10.0, 10.0, 10.0, rules="{onPremisesOnly: 0.25, euOnly: 0.5}")
    replay = Replay(at, demand(at), Fixed(1, {OWN: 1.0}, 38), 60.0)
    original = replay.gateway.put

    def tampered(plan, **how):  # type: ignore[no-untyped-def]
        open_routes = [one for one in plan.routes if any(backend.pool == US for backend in one.backends)]
        stray = open_routes[0].backends if open_routes else None
        if stray is not None:
            plan = replace(plan, routes=tuple(replace(one, backends=stray) for one in plan.routes))
        original(plan, **how)

    replay.gateway.put = tampered  # type: ignore[method-assign]
    assert replay.run().sovereignty_violations > 0


def test_the_arenas_own_check_reads_the_raw_rules() -> None:
    at = stage(10.0, 10.0, 10.0, 10.0, rules="{onPremisesOnly: 0.25, euOnly: 0.25}")
    found = forbidden_pairs(at.policies, at.pools, [one.key for one in at.world.routes], [OWN, US, EU])
    rows = sorted(tuple(row) for row in found.tolist())
    assert rows == [(False, False, False), (False, False, False), (False, True, False), (False, True, True)]


def test_the_truth_for_the_bound_adds_up_to_what_arrived() -> None:
    at = stage(5.0, 8.0, perturbations="[{kind: priceChange, factor: 2.0, atHour: 0.3, forSeconds: 600}]")
    asked = demand(at)
    found = epochs(at, asked)
    assert [round(one.start_seconds) for one in found] == [0, 1080, 1680]
    assert [one.world.hosted[0].input_usd_per_million_tokens for one in found] == [0.75, 1.5, 0.75]
    total = sum(float((one.windows.requests_per_second * one.windows.seconds).sum()) for one in found)
    warm = round((asked.span.start_seconds - asked.span.warm_seconds) / asked.step_seconds)
    assert total == pytest.approx(asked.counts[:, warm:].sum())


@pytest.mark.parametrize(
    "perturbations",
    [
        "[]",
        "[{kind: profileError, factor: 0.8}]",
        "[{kind: profileError, factor: 1.25}]",
        "[{kind: nodeLost, class: h100, atHour: 0.3, forSeconds: 600}]",
        "[{kind: hostedOutage, atHour: 0.3, forSeconds: 600}]",
        "[{kind: storm429, ratio: 0.5, pool: us}]",
        "[{kind: demandStep, factor: 5.0, atHour: 0.3, forSeconds: 600}]",
        "[{kind: priceChange, factor: 0.1, atHour: 0.3, forSeconds: 600}]",
    ],
)
def test_whatever_goes_wrong_nobody_is_below_the_bound(perturbations: str) -> None:
    at = stage(12.0, 12.0, 12.0, 12.0, rules="{onPremisesOnly: 0.25, euOnly: 0.25}", perturbations=perturbations)
    asked = demand(at, hours=0.5)
    bound = hindsight_bound(epochs(at, asked)).usd
    ways = [Fixed(8, {OWN: 1.0}, 64), Fixed(6, {OWN: 1.0}, 38), Fixed(2, {OWN: 0.5, US: 0.5}, 38), Fixed(0, {US: 1.0})]
    scores = [Replay(at, asked, way, 60.0).run() for way in ways]
    assert bound > 0
    assert all(score.objective_usd >= bound for score in scores)
    assert all(score.sovereignty_violations == 0 for score in scores)


def test_moves_and_flips_are_counted() -> None:
    class Wavering(Fixed):
        def decide(self, view):  # type: ignore[no-untyped-def]
            self.replicas = 4 if len(self.views) % 2 else 2
            return super().decide(view)

    score = run(stage(1.0), Wavering(2, {OWN: 1.0}), hours=0.5, tick_seconds=300.0)
    assert score.replica_moves == 2 * 6
    assert score.direction_flips == 6
    assert run(stage(1.0), Fixed(2, {OWN: 1.0})).direction_flips == 0


def test_power_is_paid_for_every_replica_that_exists_and_more_under_load() -> None:
    idle, busy = run(stage(0.0001), Fixed(4, {OWN: 1.0})), run(stage(16.0), Fixed(4, {OWN: 1.0}, 64))
    assert idle.power_usd == pytest.approx(4 * 0.0286, rel=0.01)
    assert busy.power_usd == pytest.approx(4 * 0.0286 + 0.1274 * 16 / 8.55, rel=0.03)


def test_figures_are_sums_over_days_and_means_over_seeds() -> None:
    at = stage(5.0)
    scores = [run(at, Fixed(1, {OWN: 1.0}), seed=seed) for seed in (1, 2, 3)]
    both = figures(scores[:2])
    assert both["costUsd"] == pytest.approx(scores[0].cost_usd + scores[1].cost_usd)
    found = with_intervals([figures([one]) for one in scores])
    costs = [one.cost_usd for one in scores]
    assert found["costUsd"] == pytest.approx(np.mean(costs))
    assert found["confidence95"]["costUsd"] == pytest.approx(4.303 * np.std(costs, ddof=1) / np.sqrt(3))
    assert set(found) >= {
        "costUsd", "aboveBoundPercent", "sloAttainment", "blockedRatio", "sovereigntyViolations", "budgetOverrunUsd",
        "replicaMoves", "directionFlips", "insideRatio", "usdPerSolvedTask", "decisionSeconds",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("replicas", "weights", "reason"),
    [
        (0, {OWN: 1.0}, "too few"),  # eight GPUs, and nobody ordered them
        (8, {US: 1.0}, "room inside"),
        (8, {OWN: 1.0}, "no GPU"),
    ],
)
def test_the_parts_of_a_score_are_all_of_it_and_tell_why_tokens_were_bought(
    replicas: int, weights: dict[str, float], reason: str
) -> None:
    at = stage(60.0, 40.0)
    score = run(at, Fixed(replicas, weights, 64), hours=0.5)
    assert sum(score.parts_usd.values()) == pytest.approx(score.objective_usd)
    bought = {name: usd for name, usd in score.parts_usd.items() if name.startswith("hosted")}
    assert sum(bought.values()) == pytest.approx(score.hosted_usd)
    assert bought[f"hosted: {reason}"] >= 0.9 * score.hosted_usd > 0.0


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.3])
def test_our_own_policy_learns_how_fast_the_engines_are(factor: float) -> None:
    at = stage(5.0, 5.0, 5.0, 5.0, perturbations=f"[{{kind: profileError, factor: {factor}}}]")
    own = Programme()
    score = run(at, own, hours=0.5)
    used = own.speeds[OWN].used
    declared = at.world.local[0].profile
    took, told = (one.alpha_ms + 20.0 * (one.beta_ms * 5.0 + one.gamma_ms * 1125.0) for one in (used, declared))
    assert took / told == pytest.approx(factor, abs=0.08)  # a curve counts once it has moved by 5 %
    assert (used.alpha_ms == declared.alpha_ms) is (factor == 1.0)  # what is confirmed stays
    assert score.within / score.answered > 0.97
