"""Chooses the parameters of the baselines: the same number of draws for each, on days that no figure is published of.

    python -m comptroller.sim.tune examples/simulate/reference.yaml

For each baseline `--draws` sets of parameters are tried, the default ones first, the others at random from its space.
All run on the first stretch at every load; the two best at each load and the two best over all loads also run on the
other stretches. At a load counts the sum of objectives over the sum of bounds; chosen is what has the least geometric
mean of that over the loads, so that each load counts alike; with `--by-load` also what is best at each load (of short
stretches that is luck: on a day that was not tuned for it lost to the former). The result is `baselines/tuned.py`, with
this command beside it.
Days from 7 on are for published figures and are refused.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from comptroller.sim.baselines import tuned
from comptroller.sim.baselines.registry import BASELINES, Baseline, Space, Values
from comptroller.sim.bound import hindsight_bound
from comptroller.sim.replay import Demand, Replay, Span, draw, epochs
from comptroller.sim.scenario import Scenario, load_scenario
from comptroller.sim.stage import Stage, build_stage, pseudo_clients
from comptroller.sim.trace import DAY_SECONDS, read_trace
from comptroller.sim.world import Bound

FIRST_PUBLISHED_DAY = 7
OUTPUT = Path(__file__).parent / "baselines" / "tuned.py"


@dataclass(frozen=True, slots=True)
class Course:
    """One stretch at one load: what every draw has to run."""

    load: float
    stretch: int
    stage: Stage
    demand: Demand
    bound: Bound


def draws(space: Space, count: int, seed: int) -> list[Values]:
    """At most `count` different sets of values: none (the default ones), then random ones from the space.

    >>> draws({"a": (1, 2)}, 3, seed=1)[0]
    {}
    """
    random = np.random.default_rng(seed)
    found: list[Values] = [{}]
    possible = math.prod(len(set(values)) for values in space.values())
    while len(found) < min(count, possible + 1):
        one = {name: values[int(random.integers(len(values)))] for name, values in space.items()}
        if one not in found:
            found.append(one)
    return found


def stretch_of(stage: Stage, text: str) -> Span:
    """`1:6-18` is day 1 from 6 to 18 o'clock. Raises `ValueError` for days of published figures."""
    day_text, hours = text.split(":")
    day, (first, last) = int(day_text), (float(hour) for hour in hours.split("-"))
    if day >= FIRST_PUBLISHED_DAY:
        raise ValueError(
            f"day {day}: figures of days from {FIRST_PUBLISHED_DAY} on are published; tune on earlier ones"
        )
    start, end = day * DAY_SECONDS + first * 3600.0, day * DAY_SECONDS + last * 3600.0
    return Span(day, start - stage.scenario.spec.demand.warm_up_seconds, start, end)


def courses(scenario: Scenario, demand_file: Path, arguments: argparse.Namespace) -> list[Course]:
    """Every stretch at every load, with its bound."""
    trace = read_trace(demand_file, pseudo_clients(scenario))
    made = []
    for load in arguments.loads:
        stage = build_stage(scenario, trace, load=load)
        for number, text in enumerate(arguments.stretches):
            demand = draw(stage, stretch_of(stage, text), arguments.seed, arguments.step)
            made.append(Course(load, number, stage, demand, hindsight_bound(epochs(stage, demand))))
    return made


def paid(baseline: Baseline, values: Values, course: Course, tick_seconds: float) -> tuple[float, float]:
    """The objective and the bound, in US dollars."""
    score = Replay(course.stage, course.demand, baseline.policy(values), tick_seconds).run(bound=course.bound)
    return score.objective_usd, course.bound.usd


@dataclass(slots=True)
class Trial:
    """One draw with its results: by load, objective and bound of each stretch that it ran."""

    values: Values
    by_load: dict[float, list[tuple[float, float]]]

    def at(self, load: float) -> float:
        """The objective over the bound at a load: 1.4 is 40 % above what any policy must pay."""
        return sum(usd for usd, _ in self.by_load[load]) / max(sum(bound for _, bound in self.by_load[load]), 1e-9)

    def overall(self) -> float:
        """The geometric mean over loads."""
        return float(np.exp(np.mean([math.log(self.at(load)) for load in self.by_load])))


def tuned_baseline(name: str, made: Sequence[Course], arguments: argparse.Namespace) -> list[Trial]:
    """The finalists, best first."""
    trials = [Trial(values, {}) for values in draws(BASELINES[name].space, arguments.draws, arguments.seed)]
    for stretch in sorted({course.stretch for course in made}):
        if stretch == 1:
            trials = finalists(trials, arguments.loads)
        for trial in trials:
            for course in made:
                if course.stretch == stretch:
                    found = paid(BASELINES[name], trial.values, course, arguments.tick)
                    trial.by_load.setdefault(course.load, []).append(found)
            told = {load: round(trial.at(load), 3) for load in sorted(trial.by_load)}
            sys.stderr.write(f"{name} {arguments.stretches[stretch]} {dict(trial.values)}: {told}\n")
    return sorted(trials, key=Trial.overall)


def finalists(trials: Sequence[Trial], loads: Sequence[float]) -> list[Trial]:
    """The two best at each load, and the two best over all."""
    orders: list[Callable[[Trial], float]] = [Trial.overall, *(partial(at_load, load=load) for load in loads)]
    good = [trial for order in orders for trial in sorted(trials, key=order)[:2]]
    return [trial for trial in trials if any(trial is one for one in good)]


def at_load(trial: Trial, load: float) -> float:
    """`Trial.at`, to order by."""
    return trial.at(load)


def literal(value: Any) -> str:
    """A value as Python writes it.

    >>> literal({"ceiling": math.inf, "rescale": True})
    '{"ceiling": math.inf, "rescale": True}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(key)}: {literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, float) and math.isinf(value):
        return "math.inf"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def module(
    command: str,
    chosen: Mapping[str, Values],
    by_load: Mapping[str, Mapping[float, Values]],
    found: Mapping[str, Mapping[str, float]],
) -> str:
    """The text of `baselines/tuned.py`."""
    lines = [
        '"""Parameters that tuning chose. Written by `python -m comptroller.sim.tune`; do not edit.',
        "",
        "`CHOSEN` is best over all loads that were tuned for, `BY_LOAD` at each of them. `OVER_BOUND` is what the",
        "chosen ones had: the objective over the hindsight bound at each load.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        *(["import math"] if "math.inf" in literal(chosen) + literal(by_load) else []),
        "from collections.abc import Mapping",
        "from typing import Any",
        "",
        f"COMMAND = {literal(command)}",
    ]
    tables: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
        ("CHOSEN", "Mapping[str, Mapping[str, Any]]", chosen),
        ("BY_LOAD", "Mapping[str, Mapping[float, Mapping[str, Any]]]", by_load),
        ("OVER_BOUND", "Mapping[str, Mapping[str, float]]", found),
    )
    for name, kind, table in tables:
        lines.append(f"{name}: {kind} = {{")
        for key, one in sorted(table.items()):
            if name == "BY_LOAD":
                lines.append(f"    {literal(key)}: {{")
                lines += [f"        {literal(load)}: {literal(values)}," for load, values in one.items()]
                lines.append("    },")
            else:
                lines.append(f"    {literal(key)}: {literal(one)},")
        lines.append("}")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Tunes and writes, baseline by baseline; others stay as they were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--demand", type=Path)
    parser.add_argument("--only", nargs="*", default=list(BASELINES), choices=list(BASELINES))
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--stretches", nargs="*", default=["4:6-18", "1:6-18"], help="DAY:FROM-TO in hours")
    parser.add_argument("--loads", nargs="*", type=float, default=[0.6, 1.0, 1.5])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tick", type=float, default=60.0)
    parser.add_argument("--step", type=float, default=5.0)
    parser.add_argument("--by-load", action="store_true")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args(words)
    scenario = load_scenario(arguments.scenario)
    demand_file = arguments.demand or scenario.demand_file
    if demand_file is None:
        parser.error("the scenario names no demand file: give one with --demand")
    made = courses(scenario, demand_file, arguments)
    command = f"python -m comptroller.sim.tune {' '.join(sys.argv[1:] if words is None else words)}"
    chosen = dict(tuned.CHOSEN)
    by_load = dict(tuned.BY_LOAD)
    found = dict(tuned.OVER_BOUND)
    for name in arguments.only:
        trials = tuned_baseline(name, made, arguments)
        chosen[name] = trials[0].values
        by_load.pop(name, None)
        if arguments.by_load:
            by_load[name] = {load: min(trials, key=partial(at_load, load=load)).values for load in arguments.loads}
        found[name] = {f"{load:g}": round(trials[0].at(load), 4) for load in arguments.loads}
        arguments.output.write_text(module(command, chosen, by_load, found), encoding="utf-8")


if __name__ == "__main__":
    main()
