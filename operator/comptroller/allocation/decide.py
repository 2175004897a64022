"""One snapshot in, one decision with reasons out. The operator, the simulator and `plan` all call `decide`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from comptroller.allocation.cases import sizing_cases
from comptroller.allocation.decision import Alternative, Decision, Rung
from comptroller.allocation.explain_pools import hosted_use, pool_target
from comptroller.allocation.explain_routes import SMALLEST_SHARE, route_plan
from comptroller.allocation.grouping import grouped
from comptroller.allocation.limits import Bounds, gpus_held
from comptroller.allocation.measured import cleaned
from comptroller.allocation.outcome import Outcome
from comptroller.allocation.plan import Plan, all_hosted, spent_usd, usd_per_hour
from comptroller.allocation.problem import Problem, kept_full, peak_rates, prepare, sizing_rates
from comptroller.allocation.snapshot import Memory, Snapshot
from comptroller.allocation.solve import (
    EXACT_BELOW,
    RELATIVE_GAP,
    Fleet,
    expected_usd,
    relaxation,
    routed_plan,
    sized_plan,
    told_plan,
)
from comptroller.allocation.stabilise import Hold, delayed, firm_holds, fits, within_inventory
from comptroller.allocation.turning import Turning, missing, steadied, turning_back, turns_after

NEXT_REQUEST = 1e-3  # requests/s: what a route without demand is routed for, so that its next request has a way


def decide(snapshot: Snapshot) -> Decision:
    """How many replicas each pool shall run and where each request goes, with a reason for everything.

    Deterministic and independent of the order in which things are listed. Never raises for any measured value.
    """
    # 1. Believe only what can be true, in a fixed order. What is not known stays unknown.
    snapshot, unknowns = cleaned(snapshot)
    # 2. Who may answer whom, at which price, with which share of a replica. A forbidden pair does not exist from here.
    problem = prepare(snapshot)
    # 3. Size for the demand with burst headroom, within the bounds that hold whatever is wanted.
    full = kept_full(problem, snapshot.memory.shares)
    # where an outlook tells what may come, head-room is for full replicas: bursts have cases of their own
    foreseen = full if snapshot.outlook.probabilities else problem
    rates = sizing_rates(foreseen, peak_rates(problem))
    firm = within_inventory(snapshot, problem, firm_holds(snapshot, problem))
    groups = grouped(problem, rates)
    asked = groups.rates(rates)
    cases = sizing_cases(groups.snapshot(snapshot, rates), groups.problem, asked, _bounds(firm))
    fleet = Fleet(groups.problem, snapshot.gpus, snapshot.rules, asked, cases)
    relaxed = relaxation(fleet, _bounds(firm))
    shadow_usd = relaxed.shadow_usd
    gap = RELATIVE_GAP * max(relaxed.usd, 0.0)
    wanted = sized_plan(fleet, _bounds(firm), absolute_gap_usd=gap, relaxed=relaxed.replicas)
    # 4. Nothing turns back before that pays for its start-ups, nor goes down before fewer have sufficed for the whole
    # delay; nothing moves that gains nothing.
    firm, wanted, turning = _steadied(fleet, snapshot, firm, wanted, gap, relaxed.replicas)
    floors, below = delayed(snapshot, problem, wanted.replicas, firm)
    holds = within_inventory(snapshot, problem, floors)
    sized = groups.plan_of_routes(_settled(fleet, holds, wanted, gap), rates)
    if holds != firm:  # GPUs that wait for the delay are taken: what one more is worth here, now
        shadow_usd = relaxation(fleet, _bounds(holds)).shadow_usd
    # 5. Route what is asked now to the replicas that serve now and stay. Spill bridges what is starting.
    serving = {key: min(pool.serving, sized.replicas[key]) for key, pool in problem.local.items()}
    asked = _asked_now(problem)
    routed = routed_plan(full, asked, serving, _bounds(holds), snapshot.gpus, snapshot.rules)
    shares = _shares(problem, routed, asked, serving)
    now = _at_measured_rates(routed, problem, asked)
    # 6. What it costs, and what else could have been done.
    measured = {key: problem.rates[key] for key in asked}
    last = {key: hold.bounds.base for key, hold in holds.items()}
    steady = routed_plan(problem, measured, sized.replicas, _bounds(holds), snapshot.gpus, snapshot.rules)
    stay = steady
    if last != dict(sized.replicas):
        stay = routed_plan(problem, measured, last, _bounds(holds), snapshot.gpus, snapshot.rules)
    outcome = Outcome(
        snapshot, problem, full, holds, groups.plan_of_routes(wanted, rates), sized, now, steady, stay, serving,
        usd_per_hour(problem, steady), usd_per_hour(problem, stay), shadow_usd, unknowns,
        gpus_held(problem, sized.replicas),
    )  # fmt: skip
    # 7. Say why.
    turns = turns_after(snapshot, sized.replicas, holds, turning)
    spent = {budget.key: spent_usd(problem, now, budget) for budget in problem.budgets}
    hosted_usd, hosted_shed = all_hosted(problem, problem.rates)
    return Decision(
        pools={key: pool_target(outcome, pool) for key, pool in problem.local.items()},
        hosted={key: hosted_use(outcome, key) for key in problem.hosted},
        routes={key: route_plan(outcome, route, shares[key]) for key, route in problem.routes.items()},
        usd_per_hour=usd_per_hour(problem, replace(now, replicas=sized.replicas)),
        rung=_lowest_rung(outcome),
        memory=Memory(below, shares, dict(problem.rates), spent, turns, snapshot.at_seconds),
        shadow_prices_usd_per_gpu_hour=shadow_usd,
        alternatives=(
            Alternative("all hosted", hosted_usd, hosted_shed),
            Alternative("previous plan", outcome.stay_usd, sum(stay.shed.values())),
        ),
        unknowns=unknowns,
        solve_seconds=relaxed.seconds + wanted.seconds + sized.seconds + now.seconds + steady.seconds,
        usd_per_hour_when_started=outcome.steady_usd,
    )


def _bounds(holds: Mapping[str, Hold]) -> dict[str, Bounds]:
    return {key: hold.bounds for key, hold in holds.items()}


def _steadied(
    fleet: Fleet,
    snapshot: Snapshot,
    firm: Mapping[str, Hold],
    wanted: Plan,
    gap: float,
    relaxed: Mapping[str, float],
) -> tuple[dict[str, Hold], Plan, Turning]:
    """The same without the moves back that have not paid yet."""
    turning = turning_back(snapshot, fleet.problem, wanted.replicas, firm)
    held = within_inventory(snapshot, fleet.problem, steadied(firm, turning, wanted.replicas))
    if not turning.waiting():
        return held, wanted, turning
    straight = sized_plan(fleet, _bounds(held), absolute_gap_usd=gap, relaxed=relaxed)
    straight = replace(straight, seconds=wanted.seconds + straight.seconds)
    if wanted.rung != "milp" or straight.rung != "milp":
        return held, straight, turning
    turning = missing(snapshot, turning, straight.objective - wanted.objective)
    if turning.waiting():
        return held, straight, turning
    return within_inventory(snapshot, fleet.problem, steadied(firm, turning, wanted.replicas)), wanted, turning


def _settled(fleet: Fleet, holds: Mapping[str, Hold], wanted: Plan, gap: float) -> Plan:
    """The plan that is kept to: what is wanted, not below the floors, unless staying is at least as good.

    Raising to the floors means that a pool that takes over starts before another one goes: make before break. Only
    where the GPUs do not suffice for both, the programme is solved again, for what of the growth they do suffice.
    """
    bounds = _bounds(holds)
    last = {key: min(max(bound.base, bound.low), bound.high) for key, bound in bounds.items()}
    raised = {key: min(max(count, bounds[key].low), bounds[key].high) for key, count in wanted.replicas.items()}
    if raised == dict(wanted.replicas):
        plan = replace(wanted, seconds=0.0)
    elif fits(fleet.problem, fleet.gpus, raised, bounds):
        plan = replace(told_plan(fleet, raised, bounds), rung=wanted.rung)
    elif fits(fleet.problem, fleet.gpus, last, bounds):
        part = {
            key: replace(bound, low=min(last[key], raised[key]), high=max(raised[key], bound.low))
            for key, bound in bounds.items()
        }
        plan = sized_plan(fleet, part, absolute_gap_usd=gap, relaxed=wanted.replicas)
    else:
        plan = sized_plan(fleet, bounds, absolute_gap_usd=gap, relaxed=wanted.replicas)
    if last == dict(plan.replicas) or plan.rung == "greedy" or not fits(fleet.problem, fleet.gpus, last, bounds):
        return plan
    worth_it = gap if len(bounds) > EXACT_BELOW else 1e-9  # what the solver left open is no reason to move
    if expected_usd(fleet, last, bounds) > expected_usd(fleet, plan.replicas, bounds) + worth_it:
        return plan
    same = told_plan(fleet, last, bounds)
    return plan if same.rung == "greedy" else replace(same, rung=plan.rung)


def _asked_now(problem: Problem) -> dict[str, float]:
    """What is routed: measured demand, and for a route without any the next request that may come."""
    return {key: max(rate, NEXT_REQUEST) for key, rate in problem.rates.items() if key not in problem.held}


def _at_measured_rates(plan: Plan, problem: Problem, asked: Mapping[str, float]) -> Plan:
    """The same routing at the measured rates: routes without demand carry and cost nothing."""
    scale = {key: problem.rates[key] / rate for key, rate in asked.items()}
    return replace(
        plan,
        flows={(route, pool): rate * scale[route] for (route, pool), rate in plan.flows.items()},
        shed={route: rate * scale[route] for route, rate in plan.shed.items()},
        shortfall={route: rate * scale[route] for route, rate in plan.shortfall.items()},
    )


def _shares(
    problem: Problem, plan: Plan, asked: Mapping[str, float], serving: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Shares by route and pool. They sum to 1 less what is shed; held routes keep theirs."""
    shares = {key: dict(held) for key, held in problem.held.items()}
    for key, rate in asked.items():
        flows = {pair.pool: plan.flows.get((key, pair.pool), 0.0) / rate for pair in problem.pairs[key]}
        shed = plan.shed.get(key, 0.0) / rate
        if problem.routes[key].on_overload == "queue" and shed > SMALLEST_SHARE:
            flows, shed = _queued(problem, key, serving), 0.0
        shares[key] = _summing_to(1.0 - shed if shed > SMALLEST_SHARE else 1.0, flows)
    return shares


def _queued(problem: Problem, route: str, serving: Mapping[str, int]) -> dict[str, float]:
    """A route that would rather wait than be shed fills its pools inside alike, in proportion to what they can do."""
    pairs = [pair for pair in problem.pairs[route] if pair.inside]
    return {pair.pool: serving[pair.pool] / pair.replicas for pair in pairs if serving[pair.pool] > 0}


def _summing_to(total: float, flows: Mapping[str, float]) -> dict[str, float]:
    whole = sum(flows.values())
    kept = {pool: flow for pool, flow in flows.items() if flow > SMALLEST_SHARE * max(whole, SMALLEST_SHARE)}
    answered = sum(kept.values())
    return {pool: min(1.0, flow * total / answered) for pool, flow in kept.items()} if total > 0.0 else {}


def _lowest_rung(outcome: Outcome) -> Rung:
    """The rung of the weakest part of the decision; `hold` where no demand at all is known."""
    if outcome.problem.routes and len(outcome.problem.held) == len(outcome.problem.routes):
        return "hold"
    if outcome.now.rung == "greedy":
        return "greedy"
    return outcome.sized.rung
