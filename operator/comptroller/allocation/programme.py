"""The mixed-integer programme: which pool answers which requests, and how many replicas each pool shall run.

    minimise   sum_p idle[p] n[p] + cUp[p] up[p] + cDn[p] dn[p]
               + sum_c weight[c] ( sum x[c,r,p] (usd + regret)[r,p] + u[c,r] shed[r] + s[c,r] short[r] )
                                                                                                   [US dollars per hour]
    subject to n[p] - up[p] + dn[p] = base[p]                                   moves from the last decision
               sum_p gpus[p] n[p] <= GPUs[class, site]                          inventory
               low[p] <= n[p] <= high[p], n integer
    and in every case c
               sum_p x[r,p] + u[r] = demand[c,r]                                every request is answered or shed
               sum_r x[r,p] / capacity[r,p] <= there[c,p] - taken[p]            the objective holds (local pools)
               sum_r x[r,p] places[r,p] <= there[c,p] - taken[p]                and its places suffice
               sum_r x[r,p] (1, tokens, latency) <= limits[p]                   rate limits (hosted pools)
               sum_p passRate[r,p] x[r,p] + s[r] >= minimum[r] (demand[r] - u[r])
               sum_r,p usd[r,p] x[r,p] <= allowance[k]                          budgets, hosted dollars per hour
               x, u, s >= 0

**Cases.** Replicas are chosen now and answer what comes. A case is one situation that they must answer, with the part
of the horizon it lasts, or its probability. All cases share n; each has its own flows, since the router answers what
really comes. There are four kinds: the minutes until a replica that starts now serves; what the demand may then be
(`Snapshot.outlook`); a node that fails; and the one case of a programme whose replicas are given. So the head-room for
bursts, the worth of an owned replica that stays warm for cents, and the reserve against the loss of a node are no
rules of thumb: they are what the expected dollars say.

**Starting has a price.** While replicas start, only `min(n, base)` of a pool answer: GPUs that change hands answer
nobody for that long, and the programme pays what that costs. Over a horizon H a replica that starts now is paid for H
and serves H - tau. Worked: $4.00/h rented, tau 180 s, H 900 s: it must save $5.00 in each hour that it serves.

**The dead band is in the objective.** Each move costs `improvement_threshold` times what the moved replica costs under
full load, so a plan replaces the last one only if what moves earns that share. As a metric, move costs obey the
triangle inequality: if n is best from base m, then n is also best from base n. The plan of a planned state is empty.

**It is never infeasible.** x = 0, u = demand, n = low satisfies every row; where lower bounds alone exceed the GPUs
(a lost node, a pool pinned by hand), the inventory row is widened to just these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from comptroller.allocation.block import (
    INFINITY,
    Block,
    Floats,
    Integers,
    PoolRows,
    build_block,
    pool_rows,
    replica_columns,
)
from comptroller.allocation.cases import Case
from comptroller.allocation.limits import Bounds, group_of, inventory_limits
from comptroller.allocation.problem import Problem
from comptroller.allocation.snapshot import LocalPool, Measurement, Rules

LEAST_RATE = 1e-5  # requests/s; one request a day counts, fewer are none: HiGHS calls wrong plans optimal for such rows


@dataclass(slots=True)
class Programme:
    """Columns and rows as arrays. The index maps tell which column is which in the first case; the next follow it."""

    costs: Floats
    lowers: Floats
    uppers: Floats
    integer: list[int]
    row_lowers: Floats
    row_uppers: Floats
    starts: Integers  # of each row in `columns` and `values`, and the end
    columns: Integers
    values: Floats
    replicas: Mapping[str, int]
    flows: Mapping[tuple[str, str], int]
    shed: Mapping[str, int]
    shortfall: Mapping[str, int]
    inventory_rows: Mapping[tuple[str, str], int]


def build_programme(
    problem: Problem,
    cases: Sequence[Case],
    bounds: Mapping[str, Bounds],
    gpus: Mapping[tuple[str, str], Measurement],
    rules: Rules,
    *,
    shed_as_dearest_api: bool = False,
) -> Programme:
    """The programme for these cases, which all have rates for the same routes, and bounds.

    `shed_as_dearest_api` prices a shed request like the dearest answer instead of a penalty: for shadow prices, which
    would else tell the size of the penalty.
    """
    made = _Assembly()
    replicas = replica_columns(problem)
    made.moves(
        [bounds[key] for key in problem.local],
        [(pool.idle_usd_per_replica_hour, move_cost(pool, rules)) for pool in problem.local.values()],
    )
    inventory_rows = {}
    for group, limit in sorted(inventory_limits(problem, bounds, gpus).items()):
        members = [k for k, p in problem.local.items() if group_of(p) == group and p.gpus_per_replica > 0]
        if members:
            inventory_rows[group] = made.rows
            sizes = [float(problem.local[k].gpus_per_replica) for k in members]
            made.row(-INFINITY, limit, [replicas[k] for k in members], sizes)
    block = build_block(problem, tuple(sorted(cases[0].rates)) if cases else ())
    there = pool_rows(problem, block, bounds)
    first = made.width
    for case in cases:
        rates = np.array([case.rates[key] for key in block.routes])
        shed_usd = np.full(len(rates), block.dearest) if shed_as_dearest_api else block.shed_usd(rates)
        left = np.array([case.left.get(group_of(problem.local[key]), 1.0) for key in block.pools])
        made.case(block, there, case, rates, left, shed_usd)
    return made.programme(
        integer=[replicas[key] for key, bound in bounds.items() if bound.low < bound.high],
        replicas=replicas,
        flows={pair: first + column for pair, column in block.flows.items()},
        shed={key: first + column for key, column in block.shed.items()},
        shortfall={key: first + column for key, column in block.shortfall.items()},
        inventory_rows=inventory_rows,
    )


def move_cost(pool: LocalPool, rules: Rules) -> float:
    """What starting or stopping one replica costs in US dollars per hour, as the module's docstring derives it."""
    return rules.improvement_threshold * (pool.idle_usd_per_replica_hour + pool.busy_extra_usd_per_replica_hour)


class _Assembly:
    """Collects columns and rows; the coefficients are sorted by row at the end."""

    def __init__(self) -> None:
        self.width = 0
        self.rows = 0
        self._costs: list[Floats] = []
        self._lowers: list[Floats] = []
        self._uppers: list[Floats] = []
        self._row_lowers: list[Floats] = []
        self._row_uppers: list[Floats] = []
        self._entries: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]] = []

    def moves(self, bounds: Sequence[Bounds], usd: Sequence[tuple[float, float]]) -> None:
        """Adds n, up and down of every pool, with what a replica and a move cost, and n - up + dn = base."""
        count = len(bounds)
        base = np.array([float(bound.base) for bound in bounds])
        lowers, uppers = np.zeros((count, 3)), np.full((count, 3), INFINITY)
        lowers[:, 0] = [bound.low for bound in bounds]
        uppers[:, 0] = [bound.high for bound in bounds]
        costs = np.array([(idle, move, move) for idle, move in usd]).reshape(count, 3)
        rows, columns = np.repeat(np.arange(count), 3), np.arange(3 * count)
        self._add_columns(costs.ravel(), lowers.ravel(), uppers.ravel())
        self._add_rows(base, base, rows, columns, np.tile([1.0, -1.0, 1.0], count))

    def row(self, lower: float, upper: float, columns: list[int], values: list[float]) -> None:
        """Adds a row."""
        self._add_rows(
            np.array([lower]), np.array([upper]), np.zeros(len(columns), np.int64), np.array(columns, np.int64),
            np.array(values),
        )  # fmt: skip

    def _add_columns(self, costs: Floats, lowers: Floats, uppers: Floats) -> None:
        self._costs.append(costs)
        self._lowers.append(lowers)
        self._uppers.append(uppers)
        self.width += len(costs)

    def _add_rows(
        self,
        lowers: Floats,
        uppers: Floats,
        rows: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
        values: Floats,
    ) -> None:
        self._row_lowers.append(lowers)
        self._row_uppers.append(uppers)
        self._entries.append((rows + self.rows, columns, values))
        self.rows += len(lowers)

    def case(self, block: Block, there: PoolRows, case: Case, rates: Floats, left: Floats, shed_usd: Floats) -> None:
        """Adds the columns and rows of one case."""
        offset = self.width
        rates = np.where(rates < LEAST_RATE, 0.0, rates)
        costs = block.costs.copy()
        costs[block.shed_columns] = shed_usd
        self._add_columns(case.weight * costs, np.zeros(len(costs)), np.full(len(costs), INFINITY))
        lower, upper = block.lower.copy(), block.upper.copy()
        lower[block.demand_rows] = upper[block.demand_rows] = rates
        lower[block.quality_rows] = block.floors * rates[block.quality_routes]
        upper[block.pool_rows] = np.maximum(there.upper, -left * there.lows)  # held routes lose theirs too
        rows = np.concatenate([block.rows, block.pool_rows]).astype(np.int64)
        columns = np.concatenate([block.columns.astype(np.int64) + offset, block.pool_columns.astype(np.int64)])
        self._add_rows(lower, upper, rows, columns, np.concatenate([block.values, -left]))
        if case.starting:
            self._only_what_answers_already(block, there, offset)

    def _only_what_answers_already(self, block: Block, there: PoolRows, offset: int) -> None:
        """The capacity rows once more, for the replicas that the last decision wanted."""
        chosen = np.isin(block.rows, block.pool_rows)
        position = {row: number for number, row in enumerate(block.pool_rows.tolist())}
        rows = np.array([position[row] for row in block.rows[chosen].tolist()], dtype=np.int64)
        upper = there.upper + there.bases
        self._add_rows(
            np.full(len(upper), -INFINITY), np.maximum(upper, 0.0), rows,
            block.columns[chosen].astype(np.int64) + offset, block.values[chosen],
        )  # fmt: skip

    def programme(self, **index: object) -> Programme:
        """All of it."""
        none: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
        rows = np.concatenate([one[0] for one in self._entries] or none)
        columns = np.concatenate([one[1] for one in self._entries] or none)
        values = np.concatenate([one[2] for one in self._entries] or [np.zeros(0)])
        order = np.argsort(rows, kind="stable")
        starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=self.rows))))
        return Programme(
            _joined(self._costs), _joined(self._lowers), _joined(self._uppers), row_lowers=_joined(self._row_lowers),
            row_uppers=_joined(self._row_uppers), starts=starts.astype(np.int32),
            columns=columns[order].astype(np.int32), values=values[order], **index,  # type: ignore[arg-type]
        )  # fmt: skip


def _joined(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.zeros(0)
