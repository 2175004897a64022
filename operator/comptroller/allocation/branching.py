"""Small mixed-integer programmes: branch and bound on one linear programme that stays warm.

HiGHS' own search is made for large programmes: for four pools and ten cases it spends most of its 34 ms on heuristics
that look for what one dive finds. Here each node differs from the last in the bounds of one column, so that the dual
simplex method goes on from the basis it has (0.5 ms); what needs more than `MOST_NODES` is left to HiGHS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
import numpy.typing as npt

MOST_NODES = 120
WHOLE = 1e-6  # from a whole number: HiGHS' own tolerance

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best values by column, and their objective."""

    values: Sequence[float]
    objective: float


def branch_and_bound(
    solver: highspy.Highs, integer: Sequence[int], lower: Floats, upper: Floats, absolute_gap: float
) -> Optimum | None:
    """The optimum, proved to `absolute_gap`, of the linear programme in `solver` with whole numbers in some columns.

    `lower` and `upper` are the bounds of those columns. Depth first, the nearer whole number first; the column that is
    furthest from whole is branched on, of equals the first. None where the search is not over after `MOST_NODES`, or
    where HiGHS is unsure about a node: who asks must then ask otherwise.
    """
    columns = np.array(integer, dtype=np.int32)
    best: Optimum | None = None
    waiting = [(lower, upper)]
    for _ in range(MOST_NODES):
        if not waiting:
            return best
        lower, upper = waiting.pop()
        solver.changeColsBounds(len(columns), columns, lower, upper)
        solver.run()
        status = solver.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            continue
        if status != highspy.HighsModelStatus.kOptimal:
            return None
        objective = float(solver.getInfo().objective_function_value)
        if best is not None and objective >= best.objective - absolute_gap:
            continue
        values = list(solver.getSolution().col_value)
        found = np.array([values[column] for column in integer])
        off = np.abs(found - np.rint(found))
        worst = int(np.argmax(off))
        if off[worst] <= WHOLE:
            best = Optimum(values, objective)
        else:
            waiting.extend(_branches(lower, upper, worst, float(found[worst])))
    return None


def _branches(lower: Floats, upper: Floats, place: int, value: float) -> list[tuple[Floats, Floats]]:
    """Below and above the value; the one to look at first is the last."""
    below, above = upper.copy(), lower.copy()
    below[place], above[place] = math.floor(value), math.ceil(value)
    both = [(lower, below), (above, upper)]
    return both if value - math.floor(value) >= 0.5 else both[::-1]
