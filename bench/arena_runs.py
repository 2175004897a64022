"""Runs of the arena, one by one: each finished one becomes a line of the record, and is not run again.

A line holds what was run, the figures (those of `sim.score.Score`), ten-minute series, and under which conditions.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.conditions import ROOT
from comptroller.sim.arena import OWN, Options, policy, prepared
from comptroller.sim.baselines.registry import BASELINES
from comptroller.sim.bound import hindsight_bound, integral_bound, startup_bound
from comptroller.sim.programme import Oracle
from comptroller.sim.replay import BOUND_WINDOW_SECONDS, Demand, Replay, Span, draw, epochs, span_of
from comptroller.sim.scenario import Perturbation
from comptroller.sim.score import Score, quantiles
from comptroller.sim.stage import Stage

SCENARIO = ROOT / "examples" / "simulate" / "reference.yaml"
BOUND, STARTUP, INTEGRAL = "hindsight bound", "start-up bound", "integral bound"
BOUNDS: Mapping[str, tuple[Callable[..., Any], float]] = {
    BOUND: (hindsight_bound, BOUND_WINDOW_SECONDS),
    STARTUP: (startup_bound, 60.0),
    INTEGRAL: (integral_bound, BOUND_WINDOW_SECONDS),
}
"""Each bound, and in which windows it is told what is asked, in seconds."""
OURS = "programme"
DAYS, LOADS, SEEDS = (7, 8, 9), (1.0, 1.5, 0.6), (1,)  # what is published, in the order in which it is run
POLICIES = (BOUND, STARTUP, INTEGRAL, OURS, *BASELINES, *(name for name in OWN if name != OURS))
HOUR = 3600.0
WHOLE_DAY = (0.0, 24.0)
BEGINS = 2.0  # hours after the start of the stretch: when what goes wrong begins

TROUBLES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "nothing": (),
    "GPUs 20 % faster than declared": ({"kind": "profileError", "factor": 0.8},),
    "GPUs 20 % slower than declared": ({"kind": "profileError", "factor": 1.2},),
    "APIs twice as dear": ({"kind": "priceChange", "factor": 2.0, "atHour": BEGINS},),
    "a node with 8 H100 lost": ({"kind": "nodeLost", "class": "h100", "atHour": BEGINS},),
    "US APIs out for an hour": tuple(
        {"kind": "hostedOutage", "pool": pool, "atHour": BEGINS, "forSeconds": HOUR}
        for pool in ("llama-8b-us", "qwen-32b-us", "llama-70b-us")
    ),
    "half of all API calls refused for an hour": (
        {"kind": "storm429", "ratio": 0.5, "atHour": BEGINS, "forSeconds": HOUR},
    ),
    "no metrics for ten minutes": ({"kind": "metricsStale", "atHour": BEGINS, "forSeconds": 600.0},),
    "five times the demand for half an hour": (
        {"kind": "demandStep", "factor": 5.0, "rampSeconds": 60.0, "atHour": BEGINS, "forSeconds": 1800.0},
    ),
}
"""What goes wrong, by name: lists of perturbations as a scenario has them."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run, or one bound. `hours` are those of the day that are scored."""

    load: float
    day: int
    seed: int
    policy: str
    tick_seconds: float = 60.0
    hours: tuple[float, float] = WHOLE_DAY
    trouble: str = "nothing"

    def __str__(self) -> str:
        part = "" if self.hours == WHOLE_DAY else f", hours {self.hours[0]:g}-{self.hours[1]:g}"
        wrong = "" if self.trouble == "nothing" else f", {self.trouble}"
        return f"load {self.load:g}, day {self.day}{part}, seed {self.seed}{wrong}: {self.policy}"


@dataclass(frozen=True, slots=True)
class Run:
    """A finished cell. Of a bound only `usd` and `parts_usd` count, of which a policy's are in its score."""

    cell: Cell
    usd: float  # the objective, or the bound
    score: Score | None = None
    decision_seconds: Mapping[str, float | None] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)
    took_seconds: float = 0.0
    parts_usd: Mapping[str, float] = field(default_factory=dict)


def cells(
    loads: Sequence[float],
    days: Sequence[int],
    seeds: Sequence[int],
    policies: Sequence[str],
    tick_seconds: float,
    hours: tuple[float, float],
    troubles: Sequence[str] = ("nothing",),
) -> list[Cell]:
    """All of them; whole loads first, and in a load whole policies, so that what is there can be compared."""
    return [
        Cell(load, day, seed, name, tick_seconds, hours, trouble)
        for load in loads
        for trouble in troubles
        for name in policies
        for day in days
        for seed in seeds
    ]


# --- one run ---


@lru_cache(maxsize=1)
def _stage(load: float, trouble: str) -> Stage:
    stage = prepared(Options(SCENARIO, load=load))
    changes = [Perturbation.model_validate(one) for one in TROUBLES[trouble]]
    spec = stage.scenario.spec.model_copy(update={"perturbations": changes})
    return replace(stage, scenario=replace(stage.scenario, spec=spec))


@lru_cache(maxsize=4)
def _demand(load: float, trouble: str, day: int, seed: int, hours: tuple[float, float]) -> Demand:
    stage = _stage(load, trouble)
    whole = span_of(stage, day)
    start = whole.start_seconds + hours[0] * HOUR
    end = min(whole.end_seconds, whole.start_seconds + hours[1] * HOUR)
    span = Span(day, start - stage.scenario.spec.demand.warm_up_seconds, start, end)
    return draw(stage, span, seed, stage.scenario.spec.step_seconds)


def run(cell: Cell) -> Run:
    """Runs a cell here."""
    began = time.perf_counter()
    stage = _stage(cell.load, cell.trouble)
    demand = _demand(cell.load, cell.trouble, cell.day, cell.seed, cell.hours)
    if cell.policy in BOUNDS:
        bound, window_seconds = BOUNDS[cell.policy]
        least = bound(epochs(stage, demand, window_seconds))
        return Run(cell, float(least.usd), took_seconds=time.perf_counter() - began, parts_usd=least.parts_usd)
    chosen = policy(cell.policy, cell.load)
    score = Replay(stage, demand, chosen, cell.tick_seconds, told_the_future=isinstance(chosen, Oracle)).run()
    seconds = quantiles(score.decision_seconds)
    score = replace(score, policy=cell.policy, decision_seconds=(), per_route={})
    return Run(cell, score.objective_usd, score, seconds, took_seconds=time.perf_counter() - began)


def run_all(wanted: Sequence[Cell], jobs: int, conditions: Mapping[str, str]) -> Iterator[Run]:
    """Runs cells in that many processes; each comes as soon as it has finished."""
    context = multiprocessing.get_context("spawn")  # the solver's threads do not survive a fork
    with ProcessPoolExecutor(max(1, min(jobs, len(wanted))), context) as pool:
        running = [pool.submit(run, cell) for cell in wanted]
        try:
            for future in as_completed(running):
                yield replace(future.result(), conditions=conditions)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# --- the record ---


def line_of(one: Run) -> str:
    """A run as a line of the record."""
    score = None if one.score is None else {name: _rounded(value) for name, value in asdict(one.score).items()}
    content = {**asdict(one), "usd": _rounded(one.usd), "took_seconds": round(one.took_seconds, 1), "score": score}
    content["parts_usd"] = {name: _rounded(value) for name, value in one.parts_usd.items()}
    content["decision_seconds"] = {name: _rounded(value) for name, value in one.decision_seconds.items()}
    return json.dumps(content, separators=(",", ":"))


def run_of(line: str) -> Run:
    """The run of a line."""
    content = json.loads(line)
    cell = Cell(**{**content["cell"], "hours": tuple(content["cell"]["hours"])})
    score = content["score"]
    if score is not None:
        known = {one.name for one in fields(Score)}
        score = Score(**{name: value for name, value in score.items() if name in known} | {"decision_seconds": ()})
    return Run(**{**content, "cell": cell, "score": score})


def _rounded(value: Any) -> Any:
    """Floats to eight figures: more would only make the file long."""
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value


def read_record(path: Path) -> dict[Cell, Run]:
    """What is finished; a line that was cut short is none."""
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            one = run_of(line)
        except json.JSONDecodeError:
            continue
        found[one.cell] = one
    return found


def write_record(path: Path, runs: Iterable[Run]) -> None:
    """Adds runs, each at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_short = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with path.open("a", encoding="utf-8") as lines:
        lines.write("\n" if cut_short else "")
        for one in runs:
            lines.write(line_of(one) + "\n")
            lines.flush()
