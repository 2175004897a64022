"""The page's chart: demand as stacked areas over time, as SVG text without a style of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from comptroller.allocation.words import number
from comptroller.report.charts import ticks

WIDTH, HEIGHT = 440, 200
LEFT, RIGHT, TOP, FOOT = 38.0, 20.0, 10.0, 24.0
PARTS = ("inside", "spilled", "unanswered")
STEPS_SECONDS = (300, 900, 1800, 3600, 7200, 10_800, 21_600)
MOST_TICKS = 6
GAP_SECONDS = 200.0  # two points further apart are not joined: nobody decided in between

Row = Sequence[float | None]
"""Seconds, then the rate of each of `PARTS`; None where a demand is unknown."""


def demand_chart(rows: Sequence[Row]) -> str:
    """Areas that stand on each other; where the demand is unknown or nobody decided there is a gap."""
    runs = _runs(rows)
    if not runs:
        return '<p class="soft">Too short for a chart: it begins with the second minute.</p>'
    begin, end = float(runs[0][0][0] or 0.0), float(runs[-1][-1][0] or 0.0)
    top = ticks(max([sum(one or 0.0 for one in row[1:4]) for run in runs for row in run] + [1e-6]), 5)
    x_scale = (WIDTH - LEFT - RIGHT) / max(end - begin, 60.0)
    y_scale = (HEIGHT - TOP - FOOT) / top[-1]
    base = HEIGHT - FOOT

    def place(seconds: float, rate: float) -> str:
        return f"{LEFT + x_scale * (seconds - begin):.1f} {base - y_scale * rate:.1f}"

    made = []
    for value in top:
        y = base - y_scale * value
        made.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        made.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for at in _moments(begin, end):
        x = LEFT + x_scale * (at - begin)
        made.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{datetime.fromtimestamp(at, UTC):%H:%M}</text>'
        )
    for run in runs:
        low = [0.0] * len(run)
        for position, part in enumerate(PARTS, start=1):
            high = [under + (row[position] or 0.0) for under, row in zip(low, run, strict=True)]
            if any(one > 0.0 for one in (row[position] or 0.0 for row in run)):
                there = "L".join(place(float(row[0] or 0.0), one) for row, one in zip(run, high, strict=True))
                back = "L".join(
                    place(float(row[0] or 0.0), one) for row, one in reversed(list(zip(run, low, strict=True)))
                )
                made.append(f'<path class="{part}" d="M{there}L{back}Z"/>')
            low = high
    label = escape(said(rows))
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">' + "".join(made) + "</svg>"
    )


def said(rows: Sequence[Row]) -> str:
    """The chart in a sentence, for those who do not see it."""
    known = [row for row in rows if row[1] is not None]
    if not known:
        return "No demand is known yet."
    busiest = max(known, key=lambda row: sum(one or 0.0 for one in row[1:4]))
    at = datetime.fromtimestamp(float(busiest[0] or 0.0), UTC)
    most = sum(one or 0.0 for one in busiest[1:4])
    spilled = max((row[2] or 0.0 for row in known), default=0.0)
    return f"At most {number(most)} rps were asked, at {at:%H:%M} UTC; at most {number(spilled)} rps spilled."


def _runs(rows: Sequence[Row]) -> list[list[Row]]:
    """Stretches of at least two known points."""
    runs: list[list[Row]] = []
    for row in rows:
        if row[1] is None or row[0] is None or not all(math.isfinite(one) for one in row if one is not None):
            runs.append([])
        elif runs and runs[-1] and row[0] - (runs[-1][-1][0] or 0.0) <= GAP_SECONDS:
            runs[-1].append(row)
        else:
            runs.append([row])
    return [run for run in runs if len(run) > 1]


def _moments(begin: float, end: float) -> list[float]:
    """Round times of the axis."""
    step = next((one for one in STEPS_SECONDS if (end - begin) / one <= MOST_TICKS), STEPS_SECONDS[-1])
    first = math.ceil(begin / step) * step
    return [float(at) for at in range(first, int(end) + 1, step)] or [begin]
