"""Many policies, days and seeds against each other, in processes; the result as one JSON object.

What is asked depends on (seed, route, window) alone, so that every policy meets the same requests, and the result does
not depend on how many processes work on it.
"""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comptroller import __version__
from comptroller.sim import programme
from comptroller.sim.baselines.registry import BASELINES, baseline
from comptroller.sim.bound import hindsight_bound
from comptroller.sim.policy import Policy
from comptroller.sim.replay import Demand, Replay, draw, epochs, span_of
from comptroller.sim.scenario import Scenario, ScenarioError, load_scenario
from comptroller.sim.score import Score, figures, with_intervals
from comptroller.sim.stage import Stage, build_stage, pseudo_clients
from comptroller.sim.trace import read_trace
from comptroller.sim.world import Bound

OWN: Mapping[str, Callable[[], Policy]] = {
    one.name: one for one in (programme.Programme, programme.LastValue, programme.Oracle)
}
BOUND = "hindsight bound"
Told = Callable[[str, int, int, float], None]
"""Is told (policy, day, seed, simulated seconds) whenever a run has come further."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is run. None: as the scenario says."""

    scenario: Path
    demand: Path | None = None
    policies: tuple[str, ...] = ("programme",)
    days: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None
    load: float | None = None
    tick_seconds: float | None = None
    hours: float | None = None
    jobs: int = 1
    with_bound: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """One run, or one bound."""

    policy: str
    day: int
    seed: int


def policy_names() -> tuple[str, ...]:
    """Every policy: this product's own first, then what people would run instead."""
    return (*OWN, *BASELINES)


def policy(name: str, load: float | None) -> Policy:
    """A new policy for one run; a baseline as it was tuned for this load."""
    return OWN[name]() if name in OWN else baseline(name, load)


def prepared(options: Options) -> Stage:
    """The stage of a run. Raises `ScenarioError`, `TraceError` or `OSError` with a message for the user."""
    scenario = load_scenario(options.scenario)
    file = options.demand or scenario.demand_file
    if file is None:
        raise ScenarioError("demand.file: is required where no --demand is given: the demand file")
    return build_stage(scenario, read_trace(file, pseudo_clients(scenario)), options.load)


def jobs_of(options: Options, scenario: Scenario) -> list[Job]:
    """Every run of these options: days, then seeds, then policies; the bounds first, for they take longest."""
    days = options.days or tuple(scenario.spec.demand.days or (0,))
    seeds = options.seeds or tuple(scenario.spec.seeds)
    names = (*((BOUND,) if options.with_bound else ()), *options.policies)
    return [Job(name, day, seed) for name in names for day in days for seed in seeds]


def days_of(options: Options, stage: Stage) -> tuple[int, ...]:
    """The days that are run: as asked, else as the scenario says, else the file's first one."""
    return options.days or tuple(stage.scenario.spec.demand.days or stage.trace.days()[:1])


def run_arena(options: Options, told: Told | None = None, stage: Stage | None = None) -> dict[str, Any]:
    """Runs everything and returns the result as it is written to the file."""
    stage = prepared(options) if stage is None else stage
    options = replace(options, days=days_of(options, stage))
    jobs = jobs_of(options, stage.scenario)
    for day in options.days or ():
        span_of(stage, day, options.hours)  # says early what the file does not have
    done = _in_processes(options, jobs, told) if options.jobs > 1 else _here(stage, options, jobs, told)
    return result(options, stage, done)


def _here(stage: Stage, options: Options, jobs: Sequence[Job], told: Told | None) -> dict[Job, Score | Bound]:
    drawn = _Drawn(stage, options)
    return {job: _one(job, drawn, told) for job in jobs}


class _Drawn:
    """The newest demand that was drawn: the jobs of one day and seed share it."""

    def __init__(self, stage: Stage, options: Options):
        self.stage, self.options = stage, options
        self._held: dict[tuple[int, int], Demand] = {}

    def of(self, day: int, seed: int) -> Demand:
        """What is asked on a day."""
        if (day, seed) not in self._held:
            self._held.clear()
            span = span_of(self.stage, day, self.options.hours)
            self._held[day, seed] = draw(self.stage, span, seed, self.stage.scenario.spec.step_seconds)
        return self._held[day, seed]


def _one(job: Job, drawn: _Drawn, told: Told | None) -> Score | Bound:
    stage, demand = drawn.stage, drawn.of(job.day, job.seed)
    if job.policy == BOUND:
        found = hindsight_bound(epochs(stage, demand))
        if told is not None:
            told(job.policy, job.day, job.seed, demand.span.end_seconds - demand.span.warm_seconds)
        return found
    load = drawn.options.load if drawn.options.load is not None else stage.scenario.spec.demand.load
    chosen = policy(job.policy, load)
    tick = drawn.options.tick_seconds or stage.scenario.spec.tick_seconds
    run = Replay(stage, demand, chosen, tick, told_the_future=isinstance(chosen, programme.Oracle))

    def on_progress(seconds: float) -> None:
        if told is not None:
            told(job.policy, job.day, job.seed, seconds)

    return replace(run.run(on_progress), policy=job.policy)


_worker: dict[str, Any] = {}


def _start_worker(options: Options, channel: Any) -> None:
    _worker["drawn"], _worker["channel"] = _Drawn(prepared(options), options), channel


def _in_worker(job: Job) -> Score | Bound:
    channel = _worker["channel"]
    return _one(job, _worker["drawn"], lambda *news: channel.put(news))


def _in_processes(options: Options, jobs: Sequence[Job], told: Told | None) -> dict[Job, Score | Bound]:
    context = multiprocessing.get_context("spawn")  # the solver's threads do not survive a fork
    channel = context.Manager().Queue()
    done: dict[Job, Score | Bound] = {}
    workers = min(options.jobs, len(jobs))
    with ProcessPoolExecutor(workers, context, _start_worker, (options, channel)) as pool:
        running: dict[Future[Score | Bound], Job] = {pool.submit(_in_worker, job): job for job in jobs}
        while running:
            finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            _tell(channel, told)
            for future in finished:
                done[running.pop(future)] = future.result()
    _tell(channel, told)
    return {job: done[job] for job in jobs}


def _tell(channel: Any, told: Told | None) -> None:
    while True:
        try:
            news = channel.get_nowait()
        except queue.Empty:
            return
        if told is not None:
            told(*news)


def result(options: Options, stage: Stage, done: Mapping[Job, Score | Bound]) -> dict[str, Any]:
    """The result file: what was run, and the figures of each policy, over all days, with intervals over seeds."""
    spec = stage.scenario.spec
    bounds = {(job.day, job.seed): found for job, found in done.items() if isinstance(found, Bound)}
    scores: dict[str, list[Score]] = {name: [] for name in options.policies}
    for job, found in done.items():
        if isinstance(found, Score):
            bound = bounds.get((job.day, job.seed))
            scores[job.policy].append(replace(found, bound_usd=None if bound is None else bound.usd))
    return {
        "scenario": spec.name,
        "comptroller": __version__,
        "demand": {
            "file": (options.demand or stage.scenario.demand_file or Path()).name,
            "format": stage.trace.format,
            "load": options.load if options.load is not None else spec.demand.load,
            "days": list(options.days or ()),
            "clientsWithoutTokens": dict(stage.trace.untold),
        },
        "seeds": list(options.seeds or spec.seeds),
        "tickSeconds": options.tick_seconds or spec.tick_seconds,
        "stepSeconds": spec.step_seconds,
        "perturbations": [one.model_dump(by_alias=True, exclude_defaults=True) for one in spec.perturbations],
        "bound": [
            {"day": day, "seed": seed, "usd": found.usd, "partsUsd": dict(found.parts_usd)}
            for (day, seed), found in bounds.items()
        ],
        "policies": {name: _of_policy(found) for name, found in scores.items()},
    }


def _of_policy(scores: Sequence[Score]) -> dict[str, Any]:
    seeds = sorted({one.seed for one in scores})
    by_seed = [figures([one for one in scores if one.seed == seed]) for seed in seeds]
    return {
        **with_intervals(by_seed),
        "runs": [
            {"day": one.day, "seed": one.seed, **figures([one]), "series": one.series, "routes": one.per_route}
            for one in scores
        ],
    }
