"""HiGHS, and the ladder below it: mixed-integer programme, then routing alone, then a greedy plan. Never nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import highspy
import numpy as np

from comptroller.allocation.branching import branch_and_bound
from comptroller.allocation.cases import Case
from comptroller.allocation.decision import Rung
from comptroller.allocation.greedy import greedy_plan
from comptroller.allocation.grouping import grouped
from comptroller.allocation.limits import Bounds, gpus_held, group_of, inventory_limits
from comptroller.allocation.plan import Plan
from comptroller.allocation.problem import Problem
from comptroller.allocation.programme import Programme, build_programme
from comptroller.allocation.snapshot import Measurement, Rules
from comptroller.allocation.validate import flaws, replica_flaws

EXACT_BELOW = 24  # integers; up to here the optimum is proved
EXACT_COLUMNS = 8_000  # of all cases; beyond, a proof takes longer than a decision may
RELATIVE_GAP = 0.01
WORTH_A_REPLICA = 0.1  # of one: less is answered elsewhere
SMALLEST_GAP_USD = 1e-7  # per hour
SIZINGS = 2  # mixed-integer programmes of one decision, which share its time limit
FIRST_FACTOR = 5  # the first decision has no plan to begin from, and nobody waits for it yet
LINEAR_TIME_LIMIT_SECONDS = 10.0  # linear programmes end by themselves; without them there is no plan


@dataclass(frozen=True, slots=True)
class Solved:
    """Values by column, duals by row (US dollars per hour and unit of the row), and the solver's clock."""

    values: Sequence[float]
    duals: Sequence[float]
    objective: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Relaxation:
    """The programme for fractions of replicas: what one more GPU would be worth, and what the plan costs, in US dollars
    per hour; the solver's clock; the replicas."""

    shadow_usd: Mapping[tuple[str, str], float]
    usd: float
    seconds: float
    replicas: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What all programmes of one decision have in common. `rates` is the demand that a sized plan is told for: what is
    asked now, with head-room for bursts; `cases` are what the replicas are chosen for."""

    problem: Problem
    gpus: Mapping[tuple[str, str], Measurement]
    rules: Rules
    rates: Mapping[str, float]
    cases: Sequence[Case]


def sized_plan(
    fleet: Fleet,
    bounds: Mapping[str, Bounds],
    *,
    absolute_gap_usd: float,
    relaxed: Mapping[str, float] | None = None,
) -> Plan:
    """The best plan within the bounds: from the first rung whose plan the validator finds flawless.

    1. The programme, to a gap of `absolute_gap_usd` per hour (a relative gap would be meaningless once a shed penalty
       is in the objective), or to the optimum for small fleets. 2. Replicas as before, clipped to the bounds, and the
       routing programme. 3. Greedy.

    `relaxed` are replicas, fractions of them too, near which a large fleet's plan may be found.

    In a large fleet the next decision may still find a better plan within the gap. That is no flapping: every move pays
    its move cost, so from decision to decision the same demand only ever costs less.
    """
    programme = build_programme(fleet.problem, fleet.cases, bounds, fleet.gpus, fleet.rules)
    limit = fleet.rules.solver_time_limit_seconds / SIZINGS
    if all(pool.previous is None for pool in fleet.problem.local.values()):
        limit *= FIRST_FACTOR
    if len(programme.integer) > EXACT_BELOW or len(programme.costs) > EXACT_COLUMNS:
        start = _start(fleet, bounds, relaxed)
        values = None if start is None else start.values
        solved = run(programme, integer=True, absolute_gap_usd=absolute_gap_usd, time_limit_seconds=limit, start=values)
        solved = solved or start  # where the time was too short even to look at it
    else:
        solved = run(programme, integer=True, time_limit_seconds=limit)
    if solved is not None:
        chosen = {key: round(solved.values[column]) for key, column in programme.replicas.items()}
        if not list(replica_flaws(fleet.problem, bounds, fleet.gpus, chosen)):
            plan = told_plan(fleet, chosen, bounds)
            if plan.rung != "greedy":
                return replace(plan, rung="milp", objective=solved.objective, seconds=plan.seconds + solved.seconds)
    return told_plan(fleet, _before(fleet, bounds), bounds)


def _before(fleet: Fleet, bounds: Mapping[str, Bounds]) -> dict[str, int]:
    """Replicas as before, clipped to the bounds and to the GPUs."""
    return _fitting(fleet, bounds, {key: bound.base for key, bound in bounds.items()})


def _fitting(fleet: Fleet, bounds: Mapping[str, Bounds], replicas: Mapping[str, int]) -> dict[str, int]:
    """The same within the bounds; where the GPUs do not suffice, without those that do not fit, from the pools that
    hold most above their lower bound."""
    counts = {key: min(max(replicas[key], bound.low), bound.high) for key, bound in bounds.items()}
    sizes = {key: pool.gpus_per_replica for key, pool in fleet.problem.local.items()}
    for group, limit in inventory_limits(fleet.problem, bounds, fleet.gpus).items():
        members = sorted(key for key, pool in fleet.problem.local.items() if group_of(pool) == group)
        while sum(sizes[key] * counts[key] for key in members) > limit:
            counts[max(members, key=lambda key: sizes[key] * (counts[key] - bounds[key].low))] -= 1
    return counts


def _start(fleet: Fleet, bounds: Mapping[str, Bounds], relaxed: Mapping[str, float] | None) -> Solved | None:
    """The solution that a large programme starts from: the replicas as they are, or the relaxed ones rounded, whichever
    costs less. So a short time limit costs optimality, and neither the plan nor its answer to what has changed."""
    starts = [_before(fleet, bounds)]
    if relaxed:
        starts.append(rounded(fleet, bounds, relaxed))
    solved = [found for one in starts if (found := _at(fleet, bounds, one)) is not None]
    return min(solved, key=lambda one: one.objective, default=None)


def rounded(fleet: Fleet, bounds: Mapping[str, Bounds], wanted: Mapping[str, float]) -> dict[str, int]:
    """Whole replicas for fractions of them: rounded down, then up in order of the fraction, while GPUs are left and
    more than `WORTH_A_REPLICA` of one is wanted."""
    counts = _fitting(fleet, bounds, {key: math.floor(wanted[key] + 1e-6) for key in bounds})
    held = gpus_held(fleet.problem, counts)
    limits = inventory_limits(fleet.problem, bounds, fleet.gpus)
    for key in sorted(bounds, key=lambda one: (counts[one] - wanted[one], one)):
        pool = fleet.problem.local[key]
        group = group_of(pool)
        free = limits.get(group, math.inf) - held[group]
        open_for_more = counts[key] < bounds[key].high and pool.gpus_per_replica <= free
        if open_for_more and wanted[key] - counts[key] > WORTH_A_REPLICA:
            counts[key] += 1
            held[group] += pool.gpus_per_replica
    return counts


def _at(fleet: Fleet, bounds: Mapping[str, Bounds], replicas: Mapping[str, int]) -> Solved | None:
    """The best flows of all cases at these replicas."""
    fixed = {key: Bounds(replicas[key], replicas[key], bounds[key].base) for key in bounds}
    programme = build_programme(fleet.problem, fleet.cases, fixed, fleet.gpus, fleet.rules)
    return run(programme, integer=False, time_limit_seconds=LINEAR_TIME_LIMIT_SECONDS)


def told_plan(fleet: Fleet, replicas: Mapping[str, int], bounds: Mapping[str, Bounds]) -> Plan:
    """The routing of `fleet.rates` to these replicas: what a sized plan is explained with."""
    return routed_plan(fleet.problem, fleet.rates, replicas, bounds, fleet.gpus, fleet.rules)


def expected_usd(fleet: Fleet, replicas: Mapping[str, int], bounds: Mapping[str, Bounds]) -> float:
    """What these replicas cost over all cases, penalties included, in US dollars per hour; infinity if unsolved."""
    solved = _at(fleet, bounds, replicas)
    return float("inf") if solved is None else solved.objective


def routed_plan(
    problem: Problem,
    rates: Mapping[str, float],
    replicas: Mapping[str, int],
    bounds: Mapping[str, Bounds],
    gpus: Mapping[tuple[str, str], Measurement],
    rules: Rules,
) -> Plan:
    """The best routing for given replicas, a linear programme; greedy if even that fails."""
    fixed = {key: Bounds(replicas[key], replicas[key], bounds[key].base) for key in bounds}
    groups = grouped(problem, rates)
    programme = build_programme(groups.problem, (Case(1.0, groups.rates(rates)),), fixed, gpus, rules)
    solved = run(programme, integer=False, time_limit_seconds=LINEAR_TIME_LIMIT_SECONDS)
    if solved is not None:
        plan = groups.plan_of_routes(read_plan(programme, solved, "routing-lp"), rates)
        if not flaws(problem, rates, fixed, gpus, plan):
            return plan
    return greedy_plan(problem, rates, fixed, gpus)


def relaxation(fleet: Fleet, bounds: Mapping[str, Bounds]) -> Relaxation:
    """What one more GPU of each (class, site) would be worth, and the plan in fractions of replicas that tells it.

    They are the duals of the inventory rows in the linear relaxation: with integers fixed, one more GPU that completes
    no replica would be worth nothing. A shed request counts as the dearest answer in the snapshot, else the price would
    only tell the size of the penalty. Worked: a saturated class whose replica saves $24.30/h of API per request/s at
    7.4 requests/s, two GPUs per replica: about $90/h for each GPU.
    """
    cases = (Case(1.0, fleet.rates),)
    programme = build_programme(fleet.problem, cases, bounds, fleet.gpus, fleet.rules, shed_as_dearest_api=True)
    solved = run(programme, integer=False, time_limit_seconds=LINEAR_TIME_LIMIT_SECONDS)
    if solved is None:
        return Relaxation({}, 0.0, 0.0, {})
    prices = {group: max(0.0, -solved.duals[row]) for group, row in programme.inventory_rows.items()}
    replicas = {key: solved.values[column] for key, column in programme.replicas.items()}
    return Relaxation(prices, solved.objective, solved.seconds, replicas)


def read_plan(programme: Programme, solved: Solved, rung: Rung) -> Plan:
    """The solution of a programme with one case in the words of the problem; rounding dust is swept away."""
    values = solved.values
    return Plan(
        replicas={key: round(values[column]) for key, column in programme.replicas.items()},
        flows={pair: max(0.0, values[column]) for pair, column in programme.flows.items() if values[column] > 1e-9},
        shed={key: values[column] for key, column in programme.shed.items() if values[column] > 1e-9},
        shortfall={key: values[column] for key, column in programme.shortfall.items() if values[column] > 1e-7},
        rung=rung,
        objective=solved.objective,
        seconds=solved.seconds,
    )


def run(
    programme: Programme,
    *,
    integer: bool,
    absolute_gap_usd: float = 0.0,
    time_limit_seconds: float,
    start: Sequence[float] | None = None,
) -> Solved | None:
    """Solves it on one thread (equal input, equal output), silently. None if no solution was found in time. `start` is
    a solution to begin from."""
    if integer and start is None and 0 < len(programme.integer) <= EXACT_BELOW:
        found = _branched(programme, time_limit_seconds)
        if found is not None:
            return found
    solver = _solver(programme, integer=integer, time_limit_seconds=time_limit_seconds)
    solver.setOptionValue("mip_rel_gap", 0.0)
    solver.setOptionValue("mip_abs_gap", max(absolute_gap_usd, SMALLEST_GAP_USD))
    if start is not None:
        known = highspy.HighsSolution()
        known.col_value = list(start)
        solver.setSolution(known)
    solver.run()
    info = solver.getInfo()
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None
    solution = solver.getSolution()
    duals = [] if integer else list(solution.row_dual)
    return Solved(list(solution.col_value), duals, float(info.objective_function_value), float(solver.getRunTime()))


def _branched(programme: Programme, time_limit_seconds: float) -> Solved | None:
    solver = _solver(programme, integer=False, time_limit_seconds=time_limit_seconds)
    solver.setOptionValue("presolve", "off")  # it would forget the basis
    columns = programme.integer
    found = branch_and_bound(solver, columns, programme.lowers[columns], programme.uppers[columns], SMALLEST_GAP_USD)
    return None if found is None else Solved(found.values, [], found.objective, float(solver.getRunTime()))


def _solver(programme: Programme, *, integer: bool, time_limit_seconds: float) -> highspy.Highs:
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("time_limit", float(time_limit_seconds))
    solver.passModel(_model(programme, integer=integer))
    return solver


def _model(programme: Programme, *, integer: bool) -> highspy.HighsLp:
    model = highspy.HighsLp()
    model.num_col_ = len(programme.costs)
    model.num_row_ = len(programme.row_lowers)
    model.col_cost_ = programme.costs
    model.col_lower_ = programme.lowers
    model.col_upper_ = programme.uppers
    model.row_lower_ = programme.row_lowers
    model.row_upper_ = programme.row_uppers
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = programme.starts
    model.a_matrix_.index_ = programme.columns
    model.a_matrix_.value_ = programme.values
    if integer:
        whole = np.zeros(len(programme.costs), dtype=bool)
        whole[programme.integer] = True
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        model.integrality_ = [kinds[one] for one in whole.tolist()]
    return model
