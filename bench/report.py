"""What a benchmark has found: tables for people and plain values for programs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True, slots=True)
class Table:
    """Figures as a person reads them. The first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one benchmark. `values` has everything that was measured, also what no table shows."""

    name: str
    tables: tuple[Table, ...]
    values: dict[str, Any]
    skipped: str = ""  # why it could not run here
    load_average: dict[str, str] = field(default_factory=dict)  # before and after

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def middle(values: Iterable[float], digits: int = 1) -> str:
    """The median with its range: `12.3 (11.8–14.0)`."""
    found = sorted(values)
    if not found:
        return "–"
    low, high, median = found[0], found[-1], statistics.median(found)
    if len(found) == 1:
        return f"{median:.{digits}f}"
    return f"{median:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def show(console: Console, table: Table) -> None:
    """A table for a terminal; aligned text where the output goes to a file or another program."""
    if console.is_terminal:
        picture = RichTable(*table.columns, title=table.title, title_justify="left")
        for column in picture.columns[1:]:
            column.justify = "right"
        for row in table.rows:
            picture.add_row(*row)
        console.print(picture)
    else:
        for line in plain(table):
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    for note in table.notes:
        console.print(f"  {note}", soft_wrap=True, markup=False, highlight=False)
    console.print()


def plain(table: Table) -> list[str]:
    """The table as text: the first column to the left, figures to the right."""
    lines: Sequence[tuple[str, ...]] = (table.columns, *table.rows)
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.columns))]
    texts = [
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return [table.title, *texts]
