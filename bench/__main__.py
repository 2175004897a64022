"""Runs the benchmarks and prints their figures with the conditions: `python -m bench [NAME ...] [--json FILE]`."""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.conditions import conditions, load_average
from bench.report import Report, show

MODULES = {
    "decision": "bench.decision",
    "router": "bench.router",
    "operator": "bench.operator_process",  # a module operator.py would shadow the standard library's
    "engine": "bench.engine",
    "demand": "bench.demand",
    "warmups": "bench.warmups",
    "restore": "bench.restore",
    "arena": "bench.arena",
}


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    told = conditions(options.seed, options.runs)
    for name, value in told.items():
        console.print(f"{name:<13} {value}", soft_wrap=True, markup=False)
    console.print()
    reports = []
    for name in options.names or MODULES:
        report = _measured(name, options)
        reports.append(report)
        if report.skipped:
            console.print(f"{name}: not measured, {report.skipped}\n", soft_wrap=True, markup=False)
        for table in report.tables:
            show(console, table)
        load = report.load_average
        console.print(f"{name}: load average {load['before']} before, {load['after']} after\n", soft_wrap=True)
    if options.json:
        found = {"conditions": told, "reports": [one.as_json() for one in reports]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _measured(name: str, options: argparse.Namespace) -> Report:
    """One benchmark. Each is loaded only when it is wanted, for each needs other things installed."""
    measure = importlib.import_module(MODULES[name]).measure
    before = load_average()
    match name:
        case "decision":
            report: Report = measure(seed=options.seed, runs=options.runs)
        case "router":
            report = measure(options.requests, runs=options.runs)
        case "operator":
            report = measure(options.pools, runs=options.runs)
        case "demand":
            report = measure(options.demand, seed=options.seed)
        case "restore":
            report = measure()
        case "warmups":
            report = measure(seed=options.seed)
        case "arena":
            report = measure(_arena(options))
        case _:
            report = measure(options.requests, runs=options.runs)
    return replace(report, load_average={"before": before, "after": load_average()})


def _arena(options: argparse.Namespace) -> Any:
    """What of the arena is run; what is not given is as published."""
    from bench.arena import Choice

    given = {
        "days": options.days,
        "loads": options.loads,
        "seeds": options.seeds,
        "policies": options.policies,
        "tick_seconds": options.tick,
        "hours": options.hours,
        "jobs": options.jobs,
        "record": options.record,
    }
    choice = Choice(
        **{name: value for name, value in given.items() if value is not None},
        perturbations=options.perturbations,
        fresh=options.fresh,
    )
    return replace(choice, documents=options.documents) if options.documents else choice


def _list(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(kind(one) for one in text.split(","))


def _hours(text: str) -> tuple[float, float]:
    first, _, last = text.rpartition("-")
    return float(first or 0.0), float(last)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MODULES)} (all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything that was measured")
    parser.add_argument("--seed", type=int, default=1, help="of the random fleets (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="repetitions, of which medians are shown (%(default)s)")
    parser.add_argument("--requests", type=int, default=100, help="per kind: router and engine (%(default)s)")
    parser.add_argument("--demand", type=Path, metavar="FILE", help="recorded windows (csv.gz; those of the examples)")
    parser.add_argument("--pools", type=int, default=50, help="of the operator's fleet (%(default)s)")
    arena = parser.add_argument_group("arena", "runs that its record has are not run again")
    arena.add_argument("--days", type=_list(int), help="of the recording (7,8,9)")
    arena.add_argument("--loads", type=_list(float), help="demand over GPUs (1.0,1.5,0.6)")
    arena.add_argument("--seeds", type=_list(int), help="of the arrivals (1)")
    arena.add_argument("--policies", type=_list(str), help="and bounds (all)")
    arena.add_argument("--tick", type=float, help="seconds between decisions (60)")
    arena.add_argument("--hours", type=_hours, metavar="FROM-TO", help="of each day (0-24)")
    arena.add_argument("--jobs", type=int, help="processes; 0: only write what the record has (2)")
    arena.add_argument("--perturbations", action="store_true", help="run what goes wrong, on six hours of day 7")
    arena.add_argument("--fresh", action="store_true", help="throw the record away first")
    arena.add_argument("--record", type=Path, metavar="FILE", help="finished runs (bench/results/arena.jsonl)")
    arena.add_argument("--documents", type=Path, metavar="FOLDER", help="for benchmark.md and its charts (docs)")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended on the way out
    sys.exit(main())
