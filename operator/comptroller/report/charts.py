"""Charts as SVG text: stacked bars and lines, with nothing from elsewhere, for light and dark pages.

Colours are classes (`c0` to `c7`) that `STYLE` defines: a page says them once, and a file of its own carries them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LIGHT = ("#1b6fb5", "#d9822b", "#2a9d6f", "#b8336a", "#7a5cc4", "#8a7a1f", "#3aa6b9", "#777777")
DARK = ("#5ba7e6", "#f0a04b", "#55c795", "#e3709b", "#a68ee6", "#c9b64a", "#6fd0e0", "#a5a5a5")
LETTER = 6.6  # pixels that a letter of the labels takes, about
LONGEST = 4.0  # times the shortest bar: what is longer is cut, so that one outlier does not hide all differences


def _colours(colours: Sequence[str], text: str, faint: str) -> str:
    rules = [f".c{number}{{fill:{one};stroke:{one}}}" for number, one in enumerate(colours)]
    return "".join((*rules, f".t{{fill:{text}}}.g{{stroke:{faint}}}.m{{stroke:{text}}}"))


STYLE = (
    "svg text{font:12px system-ui,sans-serif}.t,.b{stroke:none}.l{fill:none;stroke-width:1.6}"
    ".m{stroke-dasharray:4 3}.h{font-weight:600}"
    + _colours(LIGHT, "#24292f", "#d6dade")
    + f"@media(prefers-color-scheme:dark){{{_colours(DARK, '#dfe3e8', '#3c434b')}}}"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: parts that stand one after the other (not negative), and what is said behind them."""

    name: str
    parts: tuple[float, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line through (x, y) points."""

    name: str
    points: tuple[tuple[float, float], ...]


def alone(svg: str) -> str:
    """The chart as a file of its own."""
    return svg.replace(">", f"><style>{STYLE}</style>", 1) + "\n"


def ticks(top: float, most: int = 6) -> tuple[float, ...]:
    """Round numbers from 0 up to the first one that is not below `top`.

    >>> ticks(130)
    (0.0, 50.0, 100.0, 150.0)
    """
    if not 0 < top < math.inf:
        return (0.0, 1.0)
    power = 10.0 ** math.floor(math.log10(top / most))
    step = next(power * times for times in (1, 2, 5, 10, 20) if top / (power * times) <= most - 1)
    return tuple(step * number for number in range(math.ceil(top / step - 1e-9) + 1))


def bars(
    title: str,
    rows: Sequence[Bar],
    legend: Sequence[str],
    mark: tuple[str, float] | None = None,
    width: int = 760,
    longest: float = LONGEST,
) -> str:
    """Horizontal stacked bars. `mark` is a value that a dashed line shows across all of them.

    A bar of more than `longest` times the shortest one is cut, and its note says so: `» 880.00`.
    """
    left = 16 + LETTER * max((len(row.name) for row in rows), default=0)
    right = 16 + LETTER * (2 + max((len(row.note) for row in rows), default=0))
    totals = [sum(row.parts) for row in rows if sum(row.parts) > 0]
    cut = longest * min(totals, default=1.0)
    scale = ticks(max([min(total, cut) for total in totals] + [mark[1] if mark else 0.0]))
    cut = min(cut, scale[-1])
    per_unit = (width - left - right) / scale[-1]
    top, each = 58, 24
    foot = top + each * len(rows) + 4
    made = [_text(8, 18, title, "t h"), *_legend(legend, 8, 40)]
    for value in scale:
        x = left + per_unit * value
        made.append(
            f'<path class="g" d="M{x:.1f} {top - 4}V{foot}"/>{_text(x, foot + 16, f"{value:g}", "t", "middle")}'
        )
    for number, row in enumerate(rows):
        y, x = top + each * number, left
        made.append(_text(left - 6, y + 14, row.name, "t", "end"))
        for colour, part in enumerate(row.parts):
            shown = min(max(part, 0.0), cut - (x - left) / per_unit)
            if shown > 1e-9:
                made.append(
                    f'<rect class="c{colour} b" x="{x:.1f}" y="{y + 2}" width="{per_unit * shown:.1f}" height="16">'
                    f"<title>{escape(row.name)}: {escape(legend[colour])} {part:,.2f}</title></rect>"
                )
            x += per_unit * shown
        made.append(_text(x + 5, y + 14, row.note if sum(row.parts) <= cut + 1e-9 else f"» {row.note}", "t"))
    if mark is not None:
        x = left + per_unit * mark[1]
        made.append(f'<path class="m" d="M{x:.1f} {top - 4}V{foot}"><title>{escape(mark[0])}</title></path>')
        made.append(_text(width - 8, 40, f"dashed: {mark[0]}", "t", "end"))
    return _svg(width, foot + 24, title, made)


def lines(
    title: str,
    rows: Sequence[Line],
    y_top: float = 0.0,
    x_name: str = "hour",
    width: int = 760,
    height: int = 230,
) -> str:
    """Lines over one x axis that begins where the first point is; y begins at 0 and ends at or above `y_top`."""
    points = [point for row in rows for point in row.points]
    if not points:
        return _svg(width, 50, title, [_text(8, 18, title, "t h"), _text(8, 40, "too short for a chart", "t")])
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_ticks = ticks(max([y for _, y in points] + [y_top]), 5)
    left, top, foot = 16 + LETTER * len(f"{y_ticks[-1]:g}"), 54.0, height - 34.0
    x_scale = (width - left - 16) / max(x_high - x_low, 1e-9)
    y_scale = (foot - top) / y_ticks[-1]
    made = [_text(8, 18, title, "t h"), *(_legend([row.name for row in rows], 8, 40) if len(rows) > 1 else [])]
    for value in y_ticks:
        y = foot - y_scale * value
        made.append(f'<path class="g" d="M{left:.1f} {y:.1f}H{width - 16}"/>')
        made.append(_text(left - 6, y + 4, f"{value:g}", "t", "end"))
    made.extend(
        _text(left + x_scale * (value - x_low), foot + 16, f"{value:g}", "t", "middle")
        for value in ticks(x_high, 13)
        if x_low - 1e-9 <= value <= x_high + 1e-9
    )
    made.append(_text(width - 16, height - 4, x_name, "t", "end"))
    for colour, row in enumerate(rows):
        path = "L".join(f"{left + x_scale * (x - x_low):.1f} {foot - y_scale * y:.1f}" for x, y in row.points)
        if path:
            made.append(f'<path class="c{colour % len(LIGHT)} l" style="fill:none" d="M{path}"/>')
    return _svg(width, height, title, made)


def _legend(names: Sequence[str], x: float, y: float) -> list[str]:
    made = []
    for colour, name in enumerate(names):
        made.append(f'<rect class="c{colour % len(LIGHT)} b" x="{x:.1f}" y="{y - 9}" width="10" height="10"/>')
        made.append(_text(x + 15, y, name, "t"))
        x += 32 + LETTER * len(name)
    return made


def _text(x: float, y: float, text: str, classes: str, anchor: str = "start") -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, height: float, title: str, made: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="{escape(title)}">' + "".join(made) + "</svg>"
    )
