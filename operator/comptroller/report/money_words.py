"""The report on money as JSON, CSV and text. JSON is exact; text is rounded for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from comptroller.allocation.words import number, percent, usd
from comptroller.report.money import Line, Money

BASIS = "US dollars, marginal basis: hosted tokens, power and rent"
COLUMNS = ("answers", "inside", "spent", "share", "$/solved task")
LEVERS = {"routing": "cheaper models", "caching": "cached prompts", "serving": "own GPUs instead of an API"}


@dataclass(frozen=True, slots=True)
class Purchase:
    """One more GPU of a class: what it would have been worth per hour on average, what owning it costs, and after how
    many days it has earned its price (None: never)."""

    gpu_class: str
    worth_usd_per_hour: float
    owning_usd_per_hour: float
    payback_days: float | None


@dataclass(frozen=True, slots=True)
class MoneyReport:
    """Everything that the verb shows."""

    start_seconds: float
    end_seconds: float
    scope: str  # "namespace inference", "all namespaces"
    baseline: str  # the pool that everything is compared with, and where its price comes from
    total: Money
    days: Sequence[tuple[str, Money]] = ()
    purchases: Sequence[Purchase] = ()
    unused: Sequence[str] = ()  # sentences
    notes: Sequence[str] = field(default_factory=tuple)


def as_json(report: MoneyReport) -> dict[str, Any]:
    """The report for other programs."""
    return {
        "from": _iso(report.start_seconds),
        "to": _iso(report.end_seconds),
        "scope": report.scope,
        "basis": BASIS,
        "baseline": report.baseline,
        **_money(report.total),
        "by": {name: [_line(one) for one in lines] for name, lines in report.total.lines.items()},
        "days": [{"day": day, **_money(one)} for day, one in report.days],
        "nextPurchase": [
            {
                "gpuClass": one.gpu_class,
                "worthUsdPerGpuHour": one.worth_usd_per_hour,
                "owningUsdPerGpuHour": one.owning_usd_per_hour,
                "paybackDays": one.payback_days,
            }
            for one in report.purchases
        ],
        "unused": list(report.unused),
        "unknown": [*report.total.unknown],
        "notes": list(report.notes),
    }


def _money(money: Money) -> dict[str, Any]:
    saved = money.savings
    return {
        "hours": money.hours,
        "arrivals": money.arrivals,
        "answers": money.answers,
        "answeredInside": money.inside,
        "restrictedAnswers": money.restricted,
        "restrictedAnswersOutside": money.left_the_premises,
        "spentUsd": float(saved.spent_usd),
        "baselineUsd": float(saved.baseline_usd),
        "routedUsd": float(saved.routed_usd),
        "cachedUsd": float(saved.cached_usd),
        "savedRatio": None if saved.ratio is None else float(saved.ratio),
        "levers": {name: None if left is None else float(left) for name, left in saved.levers.items()},
        "allocationUsd": money.allocation_usd,
        "gpuHours": dict(money.gpu_hours),
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "name": line.name,
        "answers": line.answers,
        "answeredInside": line.inside,
        "spentUsd": line.spent_usd,
        "usdPerSolvedTask": line.usd_per_solved_task,
    }


def as_csv(report: MoneyReport, by: str) -> str:
    """One row per group, or per day."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow([by, "answers", "answered_inside", "spent_usd", "usd_per_solved_task"])
    for line in lines_of(report, by):
        each = line.usd_per_solved_task
        rows.writerow([line.name, line.answers, line.inside, line.spent_usd, "" if each is None else each])
    return out.getvalue()


def lines_of(report: MoneyReport, by: str) -> Sequence[Line]:
    """The groups of a report; days in their order, everything else dearest first."""
    if by != "day":
        return report.total.lines[by]
    found = []
    for day, money in report.days:
        parts = money.lines["route"]
        solved = None if any(one.solved is None for one in parts) else sum(one.solved or 0.0 for one in parts)
        found.append(Line(day, money.answers, money.inside, float(money.savings.spent_usd), solved))
    return found


def as_text(report: MoneyReport, by: str) -> str:
    """What a terminal shows."""
    money = report.total
    saved = money.savings
    lines = [f"{_span(report)}, {report.scope}", ""]
    if saved.ratio is None:
        lines.append("  Nothing was answered.")
    else:
        lines.append(
            f"  Spent     {usd(float(saved.spent_usd))} instead of {usd(float(saved.baseline_usd))} at "
            f"{report.baseline}: {percent(float(saved.ratio))} saved"
        )
        parts = [
            f"{name} leaves {percent(float(left))} ({LEVERS[name]})"
            for name, left in saved.levers.items()
            if left is not None
        ]
        lines.append(f"  Levers    {' x '.join(parts)}")
    if money.answers:
        lines.append(
            f"  Inside    {percent(money.inside / money.answers)} of {number(money.answers)} answers; "
            f"of {number(money.restricted)} restricted ones {number(money.left_the_premises)} left the premises"
        )
    if money.gpu_hours:
        hours = ", ".join(f"{number(value)} {name}" for name, value in sorted(money.gpu_hours.items()) if value > 0)
        lines.append(
            f"  GPUs      {hours or 'no'} GPU-hours; with their purchase {usd(money.allocation_usd)} (allocation basis)"
        )
    lines += ["", *_table(report, by)]
    if report.purchases:
        lines += ["", "Buy next", *(f"  {purchase_sentence(one)}" for one in report.purchases)]
    if report.unused:
        lines += ["", "Nobody uses", *(f"  {one}" for one in report.unused)]
    told = [*(f"not known: {one}" for one in money.unknown), *report.notes]
    if told:
        lines += ["", *(f"Note: {one}" for one in told)]
    return "\n".join(lines)


def purchase_sentence(one: Purchase) -> str:
    """One more GPU in a sentence."""
    back = "it never pays back" if one.payback_days is None else f"pays back in {number(one.payback_days)} days"
    return (
        f"One more {one.gpu_class} would have been worth {usd(one.worth_usd_per_hour)}/h; "
        f"owning one costs {usd(one.owning_usd_per_hour)}/h: {back}."
    )


def _table(report: MoneyReport, by: str) -> list[str]:
    total = float(report.total.savings.spent_usd)
    rows = [[by.upper(), *(one.upper() for one in COLUMNS)]]
    for line in lines_of(report, by):
        each = line.usd_per_solved_task
        rows.append(
            [
                line.name,
                number(line.answers),
                percent(line.inside / line.answers) if line.answers else "-",
                usd(line.spent_usd),
                percent(line.spent_usd / total) if total else "-",
                "-" if each is None else usd(each),
            ]
        )
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if index == 0 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _span(report: MoneyReport) -> str:
    start, end = (datetime.fromtimestamp(one, UTC) for one in (report.start_seconds, report.end_seconds))
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
