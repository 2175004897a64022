"""HiGHS, and the ladder below it: mixed-integer programme, then routing alone, then a greedy plan. Never nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import highspy
import numpy as np

from comptroller.allocation.decision import Rung
from comptroller.allocation.greedy import greedy_plan
from comptroller.allocation.plan import Plan
from comptroller.allocation.problem import Problem
from comptroller.allocation.programme import Bounds, Programme, build_programme
from comptroller.allocation.snapshot import Measurement, Rules
from comptroller.allocation.validate import flaws

EXACT_BELOW = 24  # integers; up to here the optimum is proved in milliseconds
RELATIVE_GAP = 0.01


@dataclass(frozen=True, slots=True)
class Solved:
    """Values by column, duals by row name (US dollars per hour and unit of the row), and the solver's clock."""

    values: list[float]
    duals: Mapping[tuple[str, ...], float]
    objective: float
    seconds: float


def sized_plan(
    problem: Problem,
    rates: Mapping[str, float],
    bounds: Mapping[str, Bounds],
    gpus: Mapping[tuple[str, str], Measurement],
    rules: Rules,
    *,
    absolute_gap_usd: float,
) -> Plan:
    """The best plan within the bounds: from the first rung whose plan the validator finds flawless.

    1. The programme, to a gap of `absolute_gap_usd` per hour (a relative gap would be meaningless once a shed penalty
       is in the objective), or to the optimum for small fleets. 2. Replicas as before, clipped to the bounds, and the
       routing programme. 3. Greedy.

    In a large fleet the next decision may still find a better plan within the gap. That is no flapping: every move pays
    its move cost, so from decision to decision the same demand only ever costs less.
    """
    programme = build_programme(problem, rates, bounds, gpus, rules)
    seconds = 0.0
    gap = absolute_gap_usd if len(programme.integer) > EXACT_BELOW else 0.0
    solved = run(programme, integer=True, absolute_gap_usd=gap, time_limit_seconds=rules.solver_time_limit_seconds)
    if solved is not None:
        seconds += solved.seconds
        plan = read_plan(programme, solved, "milp", seconds)
        if not flaws(problem, rates, bounds, gpus, plan):
            return plan
    before = {key: min(max(bound.base, bound.low), bound.high) for key, bound in bounds.items()}
    return routed_plan(problem, rates, before, bounds, gpus, rules, seconds=seconds)


def routed_plan(
    problem: Problem,
    rates: Mapping[str, float],
    replicas: Mapping[str, int],
    bounds: Mapping[str, Bounds],
    gpus: Mapping[tuple[str, str], Measurement],
    rules: Rules,
    *,
    seconds: float = 0.0,
) -> Plan:
    """The best routing for given replicas, a linear programme; greedy if even that fails."""
    fixed = {key: Bounds(replicas[key], replicas[key], bounds[key].base) for key in bounds}
    programme = build_programme(problem, rates, fixed, gpus, rules)
    solved = run(programme, integer=False, time_limit_seconds=rules.solver_time_limit_seconds)
    if solved is not None:
        plan = read_plan(programme, solved, "routing-lp", seconds + solved.seconds)
        if not flaws(problem, rates, fixed, gpus, plan):
            return plan
    return greedy_plan(problem, rates, fixed, gpus)


def shadow_prices(
    problem: Problem,
    rates: Mapping[str, float],
    bounds: Mapping[str, Bounds],
    gpus: Mapping[tuple[str, str], Measurement],
    rules: Rules,
) -> tuple[dict[tuple[str, str], float], float, float]:
    """What one more GPU of each (class, site) would be worth, in US dollars per hour; the cost of that plan; seconds.

    They are the duals of the inventory rows in the linear relaxation: with integers fixed, one more GPU that completes
    no replica would be worth nothing. A shed request counts as the dearest answer in the snapshot, else the price would
    only tell the size of the penalty. Worked: a saturated class whose replica saves $24.30/h of API per request/s at
    7.4 requests/s, two GPUs per replica: about $90/h for each GPU.
    """
    programme = build_programme(problem, rates, bounds, gpus, rules, shed_as_dearest_api=True)
    solved = run(programme, integer=False, time_limit_seconds=rules.solver_time_limit_seconds)
    if solved is None:
        return {}, 0.0, 0.0
    prices = {(name[1], name[2]): max(0.0, -dual) for name, dual in solved.duals.items() if name[0] == "inventory"}
    return prices, solved.objective, solved.seconds


def read_plan(programme: Programme, solved: Solved, rung: Rung, seconds: float) -> Plan:
    """The solution in the words of the problem; rounding dust is swept away."""
    values = solved.values
    return Plan(
        replicas={key: round(values[column]) for key, column in programme.replicas.items()},
        flows={pair: max(0.0, values[column]) for pair, column in programme.flows.items() if values[column] > 1e-9},
        shed={key: values[column] for key, column in programme.shed.items() if values[column] > 1e-9},
        shortfall={key: values[column] for key, column in programme.shortfall.items() if values[column] > 1e-7},
        rung=rung,
        objective=solved.objective,
        seconds=seconds,
    )


def run(
    programme: Programme, *, integer: bool, absolute_gap_usd: float = 0.0, time_limit_seconds: float
) -> Solved | None:
    """Solves it on one thread (equal input, equal output), silently. None if no solution was found in time."""
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("time_limit", float(time_limit_seconds))
    solver.setOptionValue("mip_rel_gap", 0.0)
    solver.setOptionValue("mip_abs_gap", max(absolute_gap_usd, 1e-7))
    solver.passModel(_model(programme, integer=integer))
    solver.run()
    info = solver.getInfo()
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None
    solution = solver.getSolution()
    duals = {} if integer else dict(zip((row.name for row in programme.rows), solution.row_dual, strict=True))
    return Solved(list(solution.col_value), duals, float(info.objective_function_value), float(solver.getRunTime()))


def _model(programme: Programme, *, integer: bool) -> highspy.HighsLp:
    model = highspy.HighsLp()
    model.num_col_ = len(programme.costs)
    model.num_row_ = len(programme.rows)
    model.col_cost_ = np.array(programme.costs, dtype=np.float64)
    model.col_lower_ = np.array(programme.lowers, dtype=np.float64)
    model.col_upper_ = np.array(programme.uppers, dtype=np.float64)
    model.row_lower_ = np.array([row.lower for row in programme.rows], dtype=np.float64)
    model.row_upper_ = np.array([row.upper for row in programme.rows], dtype=np.float64)
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = np.cumsum([0] + [len(row.terms) for row in programme.rows]).astype(np.int32)
    model.a_matrix_.index_ = np.array([column for row in programme.rows for column, _ in row.terms], dtype=np.int32)
    model.a_matrix_.value_ = np.array([value for row in programme.rows for _, value in row.terms], dtype=np.float64)
    if integer:
        whole = set(programme.integer)
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        model.integrality_ = [kinds[column in whole] for column in range(len(programme.costs))]
    return model
