"""What one decision costs, and what the programme is worth over the greedy rung.

Costs are processor milliseconds of `decide()` in a fresh process (nothing remembered of queues and capacities), at the
next tick (the decision applied, rates up to 5 % off), and at a tick whose tokens per request have changed too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.conditions import ROOT
from bench.decision_fleets import LOADS, drifted, fleet
from bench.decision_scale import LARGE, measure_large
from bench.decision_timing import TICK_SECONDS, forget, timed
from bench.report import Report, Table, middle
from comptroller.allocation.cases import Case
from comptroller.allocation.greedy import greedy_plan
from comptroller.allocation.limits import Bounds
from comptroller.allocation.measured import cleaned
from comptroller.allocation.penalties import dearest_usd
from comptroller.allocation.plan import Plan
from comptroller.allocation.problem import Problem, peak_rates, prepare, sizing_rates
from comptroller.allocation.programme import build_programme
from comptroller.allocation.snapshot import Snapshot
from comptroller.allocation.solve import RELATIVE_GAP, Fleet, relaxation, run, sized_plan
from comptroller.allocation.stabilise import firm_holds, within_inventory
from tests.unit.allocation.build import planned_state

SIZES = {"demo": 20, "10x10": 20, "10x50": 10, "100x100": 2}  # -> seeds for the comparison, each at three loads
MOST_RUNS = {"100x100": 3}  # each takes some ten seconds
TIE_PERCENT = 0.1
ALIKE = 1e-4  # of the demand: so much more may be left unanswered or below the quality asked for


@dataclass(frozen=True, slots=True)
class Account:
    """A plan's cost in US dollars per hour without penalties, and what it fails to do, per second."""

    usd: float
    unanswered: float  # requests
    below_quality: float  # solved tasks missing to the minimum pass rates

    @property
    def missing(self) -> float:
        return self.unanswered + self.below_quality


@dataclass(frozen=True, slots=True)
class Instance:
    """Both plans for one fleet."""

    size: str
    seed: int
    load: float
    demand: float  # requests/s
    dearest_usd: float  # per hour and request/s: the dearest way to answer in this fleet
    milp: Account
    greedy: Account
    milp_rung: str
    at_time_limit: bool

    @property
    def alike(self) -> bool:
        """Whether both answer as many requests as well: only then do their costs compare as they are."""
        return abs(self.greedy.missing - self.milp.missing) <= ALIKE * self.demand

    @property
    def dearer_percent(self) -> float:
        """How much dearer the greedy plan is; negative where it wins."""
        return 100.0 * (self.greedy.usd - self.milp.usd) / max(abs(self.milp.usd), 1e-9)

    @property
    def dearer_in_all_percent(self) -> float:
        """The same with what is missing priced as the dearest answer, far below the programme's own penalty."""
        best = self.milp.usd + self.dearest_usd * self.milp.missing
        return 100.0 * (self.greedy.usd + self.dearest_usd * self.greedy.missing - best) / max(abs(best), 1e-9)


def measure(sizes: Mapping[str, int] = SIZES, seed: int = 1, runs: int = 5, large: Mapping[str, int] = LARGE) -> Report:
    """Times in processes of their own; the comparison here."""
    measured = {
        size: [_in_a_fresh_process(size, seed + one) for one in range(min(runs, MOST_RUNS.get(size, runs)))]
        for size in sizes
    }
    compared = {
        size: [compare(size, seed + one, load) for load in LOADS for one in range(count)]
        for size, count in sizes.items()
    }
    cost = Table(
        "decide(), processor milliseconds: median (range)",
        ("pools x routes", "cold process", "next tick", "next tick, new token counts", "imports", "rungs"),
        tuple(
            (
                size,
                middle(one["cold_ms"] for one in found),
                middle(one["next_ms"] for one in found),
                middle(one["new_shapes_ms"] for one in found),
                middle((one["imports_ms"] for one in found), 0),
                _counted([rung for one in found for rung in one["rungs"]]),
            )
            for size, found in measured.items()
        ),
        (
            f"At most {runs} processes per size, three decisions each; loads 0.6, 1 and 1.5 in turn.",
            "Rungs: how many decisions each rung of the ladder made.",
        ),
    )
    table, ticks = measure_large(large, seed)
    values = {
        "cost": measured,
        "large": ticks,
        "worth": {size: [asdict(one) for one in found] for size, found in compared.items()},
    }
    return Report("decision", (cost, table, _worth(compared)), values)


def _worth(compared: Mapping[str, list[Instance]]) -> Table:
    rows = [
        (size, f"{load:g}", *_compared([one for one in found if one.load == load]))
        for size, found in compared.items()
        for load in LOADS
    ]
    return Table(
        "The greedy rung against the programme, same fleet, same demand",
        ("pools x routes", "load", "fleets", "greedy dearer, in all %", "ties", "greedy wins", "alike",
         "dearer there %", "unanswered more %", "below quality more %", "not milp", "time limit"),
        tuple(rows),
        (
            "Load: GPUs that the demand needs in its cheapest pools inside, over the GPUs that there are.",
            "Cost: power, rent, tokens, regret and moves in $/h. In all: what is unanswered or below the minimum pass",
            f"rate is priced as the fleet's dearest answer. Ties: within {TIE_PERCENT:g} %.",
            "Alike: both leave the same undone, so that costs compare as they are.",
            "More %: of the demand, greedy less programme, median over all fleets. Greedy may choose replicas, too.",
            "Greedy is the rung of last resort, not a tuned competitor.",
        ),
    )  # fmt: skip


def _compared(here: list[Instance]) -> tuple[str, ...]:
    alike = [one for one in here if one.alike]
    in_all = [one.dearer_in_all_percent for one in here]
    return (
        str(len(here)),
        middle(in_all),
        str(sum(abs(one) <= TIE_PERCENT for one in in_all)),
        str(sum(one < -TIE_PERCENT for one in in_all)),
        str(len(alike)),
        middle(one.dearer_percent for one in alike),
        middle(100.0 * (one.greedy.unanswered - one.milp.unanswered) / one.demand for one in here),
        middle(100.0 * (one.greedy.below_quality - one.milp.below_quality) / one.demand for one in here),
        str(sum(one.milp_rung != "milp" for one in here)),
        str(sum(one.at_time_limit for one in here)),
    )


def compare(size: str, seed: int, load: float) -> Instance:
    """The sizing step of `decide()` by the programme and by the greedy rung, held to the same account."""
    world, _ = cleaned(fleet(size, seed, load))
    problem = prepare(world)
    rates = sizing_rates(problem, peak_rates(problem))
    bounds = {k: h.bounds for k, h in within_inventory(world, problem, firm_holds(world, problem)).items()}
    whole = Fleet(problem, world.gpus, world.rules, rates, (Case(1.0, rates),))
    relaxed = relaxation(whole, bounds)
    best = sized_plan(whole, bounds, absolute_gap_usd=RELATIVE_GAP * max(relaxed.usd, 0.0), relaxed=relaxed.replicas)
    greedy = greedy_plan(problem, rates, bounds, world.gpus)
    return Instance(
        size,
        seed,
        load,
        demand=sum(rates.values()),
        dearest_usd=dearest_usd(problem),
        milp=account(world, problem, rates, bounds, best),
        greedy=account(world, problem, rates, bounds, greedy),
        milp_rung=best.rung,
        at_time_limit=best.seconds >= 0.99 * world.rules.solver_time_limit_seconds,
    )


def account(
    world: Snapshot, problem: Problem, rates: Mapping[str, float], bounds: Mapping[str, Bounds], plan: Plan
) -> Account:
    """The objective of a plan without its penalties, and what it leaves undone.

    The plan is put into the programme as fixed columns; what is left to solve are its moves and shortfalls.
    """
    programme = build_programme(problem, (Case(1.0, rates),), bounds, world.gpus, world.rules)
    given = {column: float(plan.replicas[key]) for key, column in programme.replicas.items()}
    given |= {column: plan.flows.get(pair, 0.0) for pair, column in programme.flows.items()}
    given |= {column: plan.shed.get(key, 0.0) for key, column in programme.shed.items()}
    for column, value in given.items():
        programme.lowers[column] = programme.uppers[column] = value
    solved = run(programme, integer=False, time_limit_seconds=10.0)
    if solved is None:
        raise RuntimeError(f"the {plan.rung} plan violates the programme")
    missing = [*programme.shed.values(), *programme.shortfall.values()]
    penalties = sum(programme.costs[column] * solved.values[column] for column in missing)
    return Account(
        usd=solved.objective - penalties,
        unanswered=sum(solved.values[column] for column in programme.shed.values()),
        below_quality=sum(solved.values[column] for column in programme.shortfall.values()),
    )


def _counted(rungs: list[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in Counter(rungs).most_common())


def _in_a_fresh_process(size: str, seed: int) -> dict[str, Any]:
    command = (sys.executable, "-m", "bench.decision", size, str(seed))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def three_decisions(size: str, seed: int) -> dict[str, Any]:
    """Three decisions in a row, in a process that has made none before."""
    imports_ms = 1000.0 * time.process_time()
    world = fleet(size, seed, LOADS[seed % len(LOADS)])
    forget()
    first, cold_ms = timed(world)
    world = drifted(planned_state(world, first, ready=True, after_seconds=TICK_SECONDS), seed, shapes=False)
    second, next_ms = timed(world)
    world = drifted(planned_state(world, second, ready=True, after_seconds=TICK_SECONDS), seed, shapes=True)
    third, new_shapes_ms = timed(world)
    return {
        "size": size,
        "seed": seed,
        "imports_ms": imports_ms,
        "cold_ms": cold_ms,
        "next_ms": next_ms,
        "new_shapes_ms": new_shapes_ms,
        "rungs": [first.rung, second.rung, third.rung],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=three_decisions.__doc__)
    parser.add_argument("size")
    parser.add_argument("seed", type=int)
    options = parser.parse_args()
    json.dump(three_decisions(options.size, options.seed), sys.stdout)
