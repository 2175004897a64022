"""The report on money as one page for a browser: it needs nothing from elsewhere."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from html import escape

from comptroller.allocation.words import number, percent, usd
from comptroller.report.charts import STYLE, Bar, bars
from comptroller.report.money_words import BASIS, LEVERS, MoneyReport, lines_of, purchase_sentence
from comptroller.report.simulation_page import PAGE_STYLE

SECTIONS = (
    ("day", "By day"),
    ("route", "By route"),
    ("tenant", "By tenant"),
    ("workflow", "By workflow"),
    ("pool", "By pool"),
)
MOST_ROWS = 60
STEPS_STYLE = (
    ".steps{display:flex;flex-wrap:wrap;gap:.5rem 2.2rem;margin:1rem 0}.steps b{display:block;font-size:1.5rem}"
)


def money_page(report: MoneyReport) -> str:
    """The page of a report."""
    money, saved = report.total, report.total.savings
    start, end = (datetime.fromtimestamp(one, UTC) for one in (report.start_seconds, report.end_seconds))
    title = f"Money, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    headline = (
        "Nothing was answered."
        if saved.ratio is None
        else f"{usd(float(saved.spent_usd))} spent instead of {usd(float(saved.baseline_usd))}: "
        f"{percent(float(saved.ratio))} saved"
    )
    parts = [
        f"<h1>{escape(headline)}</h1>",
        f'<p class="soft">{escape(title)}, {escape(report.scope)}. {escape(BASIS)}. Compared with '
        f"{escape(report.baseline)}.</p>",
        _facts(report),
        *_levers(report),
    ]
    for by, heading in SECTIONS:
        if len(lines_of(report, by)) > (1 if by == "day" else 0):
            parts += [f"<h2>{heading}</h2>", _table(report, by)]
    if report.purchases:
        parts += ["<h2>Buy next</h2>", *(f"<p>{escape(purchase_sentence(one))}</p>" for one in report.purchases)]
    if report.unused:
        parts += ["<h2>Nobody uses</h2>", *(f"<p>{escape(one)}</p>" for one in report.unused)]
    notes = [*(f"Not known: {one}" for one in money.unknown), *report.notes]
    parts += [f'<p class="soft">{escape(one)}</p>' for one in notes]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{PAGE_STYLE}{STEPS_STYLE}{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _facts(report: MoneyReport) -> str:
    money = report.total
    facts = [
        ("answered inside", percent(money.inside / money.answers) if money.answers else "-"),
        ("answers", number(money.answers)),
        ("restricted answers that left", f"{number(money.left_the_premises)} of {number(money.restricted)}"),
        ("GPU-hours", number(sum(money.gpu_hours.values()))),
        ("own GPUs with their purchase", usd(money.allocation_usd)),
    ]
    cells = "".join(f"<div><b>{escape(value)}</b>{escape(name)}</div>" for name, value in facts)
    return f'<div class="steps">{cells}</div>'


def _levers(report: MoneyReport) -> list[str]:
    """From the baseline down to what was spent: what each lever leaves of the step before it."""
    saved = report.total.savings
    if saved.ratio is None:
        return []
    steps = (
        ("all at the baseline", saved.baseline_usd, None),
        (LEVERS["routing"], saved.routed_usd, saved.levers["routing"]),
        (LEVERS["caching"], saved.cached_usd, saved.levers["caching"]),
        (LEVERS["serving"], saved.spent_usd, saved.levers["serving"]),
    )
    rows = [
        Bar(name, (float(value),), usd(float(value)) + (f", x {float(left):.3g}" if left is not None else ""))
        for name, value, left in steps
    ]
    chart = bars("Dollars after each step", rows, ("US dollars",), longest=math.inf)
    return ["<h2>Three levers that multiply</h2>", f'<div class="wide">{chart}</div>']


def _table(report: MoneyReport, by: str) -> str:
    rows = []
    lines = lines_of(report, by)
    for line in lines[:MOST_ROWS]:
        each = line.usd_per_solved_task
        cells = (
            line.name,
            number(line.answers),
            percent(line.inside / line.answers) if line.answers else "-",
            usd(line.spent_usd),
            "-" if each is None else usd(each),
        )
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    if len(lines) > MOST_ROWS:
        rows.append(f"<tr><td>{len(lines) - MOST_ROWS} more</td><td></td><td></td><td></td><td></td></tr>")
    head = "".join(
        f'<th scope="col">{escape(one)}</th>' for one in (by, "answers", "inside", "spent", "$ per solved task")
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
