"""This programme against what people would run instead, on days that nobody was tuned on, and against hindsight.

Finished runs stand in the record and are not run again; `docs/benchmark.md` is written from the record.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import arena_figures
from bench.arena_document import write_document
from bench.arena_runs import (
    BOUND,
    DAYS,
    LOADS,
    OURS,
    POLICIES,
    SEEDS,
    TROUBLES,
    WHOLE_DAY,
    Cell,
    Run,
    cells,
    read_record,
    run_all,
    write_record,
)
from bench.conditions import ROOT, conditions
from bench.report import Report, Table

RECORD, DOCUMENTS = ROOT / "bench" / "results" / "arena.jsonl", ROOT / "docs"
TROUBLED_DAY, TROUBLED_LOAD, TROUBLED_HOURS = 7, 1.0, (8.0, 14.0)
TROUBLED_POLICIES = (BOUND, OURS, "greedy", "wva-spill")
KEPT_CONDITIONS = ("at", "commit", "processor", "python", "versions")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is run, and where the record and the document are."""

    days: tuple[int, ...] = DAYS
    loads: tuple[float, ...] = LOADS
    seeds: tuple[int, ...] = SEEDS
    policies: tuple[str, ...] = POLICIES
    tick_seconds: float = 60.0
    hours: tuple[float, float] = WHOLE_DAY
    jobs: int = 2  # 0: nothing is run, the document is written from what there is
    perturbations: bool = False
    fresh: bool = False
    record: Path = RECORD
    documents: Path | None = DOCUMENTS


def measure(choice: Choice) -> Report:
    """Runs what the record has not; tables and document from everything that it has."""
    if choice.fresh:
        choice.record.unlink(missing_ok=True)
    finished = read_record(choice.record)
    wanted = [one for one in wanted_cells(choice) if one not in finished]
    if wanted and choice.jobs > 0:
        _run(choice, wanted)
        finished = read_record(choice.record)
    if choice.documents is not None:
        write_document(finished, choice.documents, choice.tick_seconds, choice.hours)
    tables = tables_of(finished, choice)
    values = {str(cell): one.usd for cell, one in finished.items()}
    return Report("arena", tuple(tables), values, skipped="" if tables else "no day of the record can be compared yet")


def wanted_cells(choice: Choice) -> list[Cell]:
    """Everything that was asked for, in the order in which it is run."""
    if choice.perturbations:
        chosen = [name for name in choice.policies if name in TROUBLED_POLICIES]
        days, loads = (TROUBLED_DAY,), (TROUBLED_LOAD,)
        hours = TROUBLED_HOURS if choice.hours == WHOLE_DAY else choice.hours
        return cells(loads, days, choice.seeds, chosen, choice.tick_seconds, hours, tuple(TROUBLES))
    return cells(choice.loads, choice.days, choice.seeds, choice.policies, choice.tick_seconds, choice.hours)


def _run(choice: Choice, wanted: Sequence[Cell]) -> None:
    console, began = Console(stderr=True, highlight=False), time.monotonic()
    told = {name: value for name, value in conditions(1, 1).items() if name in KEPT_CONDITIONS}

    def shown(number: int, one: Run) -> Run:
        minutes = (time.monotonic() - began) / 60.0
        text = f"[{number}/{len(wanted)}, {minutes:.1f} min] {one.cell}: ${one.usd:,.2f}, took {one.took_seconds:.0f} s"
        console.print(text, soft_wrap=True, markup=False)
        return one

    console.print(f"{len(wanted)} runs to do; record: {choice.record}", soft_wrap=True, markup=False)
    runs = run_all(wanted, choice.jobs, told)
    write_record(choice.record, (shown(number, one) for number, one in enumerate(runs, 1)))


def tables_of(finished: dict[Cell, Run], choice: Choice) -> list[Table]:
    """What a person sees in the terminal: the same tables as in the document."""
    results = arena_figures.Results(finished, choice.tick_seconds, choice.hours)
    tables = [arena_figures.per_load(results, load, POLICIES) for load in results.loads()]
    if tables:
        tables += [arena_figures.per_day(results), arena_figures.gaps(results), arena_figures.ablation(results)]
    wrong = arena_figures.troubles(finished, TROUBLED_POLICIES, choice.tick_seconds)
    return tables if wrong is None else [*tables, wrong]
