"""Runs a fleet of your own against recorded demand, in virtual time: this programme and what people would run instead.

Example: comptroller simulate examples/simulate/reference.yaml --policy all --hours 2 --html result.html
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from comptroller.cli.files import FileError, check_place, write_text
from comptroller.report.simulation_page import simulation_page
from comptroller.sim.arena import Options, days_of, jobs_of, policy_names, prepared, run_arena
from comptroller.sim.replay import span_of
from comptroller.sim.scenario import ScenarioError
from comptroller.sim.stage import Stage

TABLE_WIDTH = 140  # where the table goes to a file, nobody's terminal is too narrow
LEGEND = (
    "dollars: cost and penalties together; in time: answers within their objective; forbidden: requests that broke a "
    "data rule; p99: of the decisions' times"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("scenario", type=Path, metavar="SCENARIO.yaml", help="the fleet, the demand, what goes wrong")
    parser.add_argument("--demand", type=Path, metavar="FILE", help="another demand file: ServeGen, Azure or Mooncake")
    parser.add_argument(
        "--policy", action="append", metavar="NAME", help="who decides: a name, several with commas, or all"
    )
    parser.add_argument("--days", type=_numbers, metavar="N,N", help="days of the demand file")
    parser.add_argument("--load", type=_above_zero, metavar="X", help="demand over GPUs; default: the scenario's")
    parser.add_argument("--seed", action="append", type=_numbers, metavar="N", help="random seed; may be repeated")
    parser.add_argument("--tick", type=_above_zero, metavar="S", help="seconds between decisions")
    parser.add_argument("--hours", type=_above_zero, metavar="H", help="only the first hours of each day")
    parser.add_argument("--jobs", type=_jobs, metavar="N", default=1, help="processes; 0: one per core (default: 1)")
    parser.add_argument("--no-bound", action="store_true", help="leave the hindsight bound out")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the result goes as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="where the result goes as a page with charts")


def run(arguments: argparse.Namespace) -> int:
    """Runs; 2 when the scenario, the demand or an option is wrong, 1 when the result cannot be written."""
    console = Console(stderr=True)
    try:
        options = _options(arguments)
        for path in filter(None, (arguments.output, arguments.html)):
            check_place(path)
        stage = prepared(options)
        for day in days_of(options, stage):
            span_of(stage, day, options.hours)
    except ScenarioError as error:
        print(f"comptroller: {arguments.scenario}: {error}", file=sys.stderr)
        return 2
    except (FileError, ValueError) as error:  # of the demand file, or of an option: it says which
        print(f"comptroller: {error}", file=sys.stderr)
        return 2
    _say_what_is_left_out(stage, console)
    found = _with_progress(options, stage, console)
    out = Console()
    print_table(found, out if out.is_terminal else Console(width=TABLE_WIDTH))
    failed = False
    if arguments.output is not None:
        failed |= not _written(arguments.output, json.dumps(found, indent=1) + "\n")
    if arguments.html is not None:
        failed |= not _written(arguments.html, simulation_page(found))
    return 1 if failed else 0


def _written(path: Path, text: str) -> bool:
    try:
        write_text(path, text)
    except FileError as error:
        print(f"comptroller: {error}", file=sys.stderr)
        return False
    print(f"The result is in {path}.")
    return True


def _options(arguments: argparse.Namespace) -> Options:
    known = policy_names()
    names = [name.strip() for text in arguments.policy or ["programme"] for name in text.split(",") if name.strip()]
    if "all" in names:
        names = list(known)
    if wrong := [name for name in names if name not in known]:
        raise ValueError(f"--policy: there is no {wrong[0]} (there are: {', '.join(known)}, all)")
    return Options(
        scenario=arguments.scenario,
        demand=arguments.demand,
        policies=tuple(dict.fromkeys(names)),
        days=arguments.days,
        seeds=tuple(seed for seeds in arguments.seed for seed in seeds) if arguments.seed else None,
        load=arguments.load,
        tick_seconds=arguments.tick,
        hours=arguments.hours,
        jobs=arguments.jobs or os.cpu_count() or 1,
        with_bound=not arguments.no_bound,
    )


def _say_what_is_left_out(stage: Stage, console: Console) -> None:
    left_out = stage.trace.untold
    if left_out:
        names = ", ".join(f"{count} of {model}" for model, count in sorted(left_out.items()))
        console.print(f"Left out, because the demand file has no token counts of them: clients {names}.", style="dim")


def _with_progress(options: Options, stage: Stage, console: Console) -> dict[str, Any]:
    spans = {day: span_of(stage, day, options.hours) for day in days_of(options, stage)}
    options_with_days = Options(**{**_fields(options), "days": tuple(spans)})
    jobs = jobs_of(options_with_days, stage.scenario)
    total = sum(spans[job.day].end_seconds - spans[job.day].warm_seconds for job in jobs)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("simulated hours ·"),
        TimeElapsedColumn(),
        TextColumn("· left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(stage.scenario.spec.name, total=round(total / 3600.0))
        come = 0.0

        def told(policy: str, day: int, seed: int, seconds: float) -> None:
            nonlocal come
            come += seconds
            progress.update(task, completed=int(come / 3600.0), description=f"{policy}, day {day}, seed {seed}")

        return run_arena(options_with_days, told, stage)


def _fields(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in Options.__slots__}


def print_table(found: Mapping[str, Any], console: Console) -> None:
    """The result for a person: the cheapest first."""
    demand = found["demand"]
    days, seeds = ", ".join(map(str, demand["days"])), ", ".join(map(str, found["seeds"]))
    load = f" · load {demand['load']:g}" if demand["load"] else ""
    title = (
        f"{found['scenario']} · {demand['file']}{load} · day {days} · seed {seeds} · tick {found['tickSeconds']:g} s"
    )
    table = Table(title=title, title_justify="left", pad_edge=False)
    table.add_column("policy", no_wrap=True)
    for name in ("dollars", "over bound", "cost", "penalties", "in time", "blocked", "inside", "moves", "flips",
                 "forbidden", "p99"):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    policies_found = sorted(found["policies"].items(), key=lambda item: item[1]["objectiveUsd"])
    for name, one in policies_found:
        table.add_row(name, *_row(one))
    if found["bound"]:
        mean = sum(one["usd"] for one in found["bound"]) / max(1, len(found["seeds"]))
        table.add_row("hindsight bound", f"{mean:,.2f}", "0.0 %", *[""] * 9, style="dim")
    console.print(table)
    console.print(LEGEND, style="dim")


def _row(one: Mapping[str, Any]) -> list[str]:
    penalties = one["penaltyUsd"]["missed"] + one["penaltyUsd"]["blocked"]
    spread = one["confidence95"].get("objectiveUsd") if one["confidence95"] else None
    p99 = one["decisionSeconds"]["p99"]
    return [
        f"{one['objectiveUsd']:,.2f}" + (f" ± {spread:,.2f}" if spread is not None else ""),
        _percent(one["aboveBoundPercent"], 1, signed=True),
        f"{one['costUsd']:,.2f}",
        f"{penalties:,.2f}",
        _percent(one["sloAttainment"], 100, digits=2),
        _percent(one["blockedRatio"], 100, digits=3),
        _percent(one["insideRatio"], 100),
        f"{one['replicaMoves']:,.0f}",
        f"{one['directionFlips']:,.0f}",
        f"{one['sovereigntyViolations']:,.0f}",
        "" if p99 is None else f"{1000 * p99:,.0f} ms",
    ]


def _percent(value: float | None, times: float, digits: int = 1, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    return f"{times * value:+,.{digits}f} %" if signed else f"{times * value:,.{digits}f} %"


def _numbers(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(one) for one in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be whole numbers with commas, such as 7,8 (given: {text})") from error
    if any(one < 0 for one in found):
        raise argparse.ArgumentTypeError(f"must not be negative (given: {text})")
    return found


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number (given: {text})") from error
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0 (given: {text})")
    return value


def _jobs(text: str) -> int:
    found = _numbers(text)
    return found[0]
