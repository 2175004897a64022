"""The result of `comptroller simulate` as one page for a browser: it needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from comptroller.report.charts import LONGEST, STYLE, Bar, Line, bars, lines

Found = Mapping[str, Any]

PAGE_STYLE = """
:root{color-scheme:light dark;--text:#24292f;--soft:#57606a;--line:#d6dade;--page:#ffffff;--good:#eaf5ee}
@media(prefers-color-scheme:dark){:root{--text:#dfe3e8;--soft:#9aa4af;--line:#3c434b;--page:#15191e;--good:#17301f}}
body{margin:0 auto;padding:1.5rem;max-width:84rem;font:15px/1.5 system-ui,sans-serif;
color:var(--text);background:var(--page)}
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.3rem 0;max-width:60rem}
.soft{color:var(--soft)}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .55rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}tr.best{background:var(--good)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(26rem,1fr));gap:.5rem 1.5rem}
svg{max-width:100%;height:auto}
"""
HEADINGS = (
    "policy", "$ per day", "over bound", "power $", "tokens $", "penalties $", "in time", "blocked", "inside", "moves",
    "flips", "forbidden", "decision p99",
)  # fmt: skip


def simulation_page(found: Found) -> str:
    """The page of a result, as `sim.arena.run_arena` returns it."""
    ranked = sorted(found["policies"].items(), key=lambda item: item[1]["objectiveUsd"])
    title = f"Simulation: {found['scenario']}"
    parts = [
        f"<h1>{escape(headline(found, ranked))}</h1>",
        f'<p class="soft">{escape(conditions(found))}</p>',
        "<h2>Who costs what</h2>",
        _table(found, ranked),
        f'<div class="wide">{_bars(found, ranked)}</div>',
        *_days(ranked),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{PAGE_STYLE}{STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def headline(found: Found, ranked: Sequence[tuple[str, Found]]) -> str:
    """One sentence: who is cheapest, how far from the bound, and who comes next."""
    name, best = ranked[0]
    said = f"{name} costs ${best['objectiveUsdPerDay']:,.2f} a day"
    if len(ranked) > 1:
        said = f"{name} is the cheapest of {len(ranked)}: ${best['objectiveUsdPerDay']:,.2f} a day"
    if best["aboveBoundPercent"] is not None:
        said += f", {best['aboveBoundPercent']:.1f} % above the least that hindsight could have paid"
    if len(ranked) > 1:
        after, other = ranked[1]
        more = 100.0 * (other["objectiveUsd"] / best["objectiveUsd"] - 1.0) if best["objectiveUsd"] else 0.0
        said += f"; {after} follows, {more:.1f} % dearer"
    return said + "."


def conditions(found: Found) -> str:
    """What was run, in one line."""
    demand = found["demand"]
    load = f"load {demand['load']:g}, " if demand["load"] else ""
    troubles = [one["kind"] for one in found["perturbations"]]
    return (
        f"{found['scenario']}, {demand['file']}, {load}day {_numbers(demand['days'])}, seed "
        f"{_numbers(found['seeds'])}, a decision every {found['tickSeconds']:g} s; "
        f"{scored_hours(found):g} hours of each policy"
        + (f"; what went wrong: {', '.join(troubles)}" if troubles else "")
        + f". comptroller {found['comptroller']}. Cost is power and hosted tokens; penalties are for answers outside "
        "their objective and requests that nobody answered."
    )


def scored_hours(found: Found) -> float:
    """Simulated hours that one policy was scored for, over its days."""
    return round(float(next(iter(found["policies"].values()))["hours"]), 2)


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _table(found: Found, ranked: Sequence[tuple[str, Found]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in HEADINGS)
    rows = []
    for number, (name, one) in enumerate(ranked):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (name, *_cells(one)))
        rows.append(f'<tr class="best">{cells}</tr>' if not number else f"<tr>{cells}</tr>")
    if found["bound"]:
        bound = next((one["boundUsd"] for _, one in ranked if one["boundUsd"] is not None), None)
        if bound is not None:
            a_day = bound * 24.0 / scored_hours(found) if scored_hours(found) else 0.0
            rows.append(
                f'<tr class="soft"><td>hindsight bound</td><td>{a_day:,.2f}</td><td>0.0 %</td>'
                + "<td></td>" * (len(HEADINGS) - 3)
                + "</tr>"
            )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        '<p class="soft">In time: answers within their objective. Inside: answered by your own GPUs. Flips: a pool '
        "that went up and down, or down and up, within an hour. Forbidden: requests that broke a data rule.</p>"
    )


def _cells(one: Found) -> tuple[str, ...]:
    days = max(one["hours"] / 24.0, 1e-9)
    spread = (one.get("confidence95") or {}).get("objectiveUsdPerDay")
    p99 = one["decisionSeconds"]["p99"]
    return (
        f"{one['objectiveUsdPerDay'] or 0.0:,.2f}" + (f" ± {spread:,.2f}" if spread is not None else ""),
        "–" if one["aboveBoundPercent"] is None else f"{one['aboveBoundPercent']:+,.1f} %",
        f"{one['powerUsd'] / days:,.2f}",
        f"{one['hostedUsd'] / days:,.2f}",
        f"{(one['penaltyUsd']['missed'] + one['penaltyUsd']['blocked']) / days:,.2f}",
        _percent(one["sloAttainment"], 2),
        _percent(one["blockedRatio"], 3),
        _percent(one["insideRatio"], 1),
        f"{one['replicaMoves']:,.0f}",
        f"{one['directionFlips']:,.0f}",
        f"{one['sovereigntyViolations']:,.0f}",
        "–" if p99 is None else f"{1000.0 * p99:,.0f} ms",
    )


def _percent(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{100.0 * value:.{digits}f} %"


def _bars(found: Found, ranked: Sequence[tuple[str, Found]]) -> str:
    rows, bound = [], None
    for name, one in ranked:
        days = max(one["hours"] / 24.0, 1e-9)
        penalties = one["penaltyUsd"]["missed"] + one["penaltyUsd"]["blocked"]
        parts = tuple(value / days for value in (one["powerUsd"], one["hostedUsd"], penalties))
        rows.append(Bar(name, parts, f"{sum(parts):,.2f}"))
        bound = bound if one["boundUsd"] is None else ("hindsight bound", one["boundUsd"] / days)
    return bars("US dollars per day", rows, ("power and rent", "hosted tokens", "penalties"), bound)


def _days(ranked: Sequence[tuple[str, Found]]) -> list[str]:
    """The first run of each policy over its day: dollars per hour and replicas, on one scale for all that are near."""
    runs = [(name, one["runs"][0]) for name, one in ranked if one["runs"] and one["runs"][0]["series"]]
    if not runs:
        return []
    near = [run for _, run in runs if run["objectiveUsd"] <= LONGEST * runs[0][1]["objectiveUsd"]]
    dollars = max((usd for run in near for usd in run["series"]["usdPerHour"]), default=0.0)
    replicas = max((n for _, run in runs for row in run["series"]["replicas"] for n in row), default=0)
    name, first = runs[0]
    asked = Line("requests/s", over_hours(first["series"], first["series"]["requestsPerSecond"]))
    made = [
        f"<h2>Day {first['day']}, seed {first['seed']}</h2>",
        f'<div class="wide">{lines("Demand, requests/s", [asked])}</div>',
    ]
    for name, run in runs:
        usd = Line("dollars per hour", over_hours(run["series"], run["series"]["usdPerHour"]))
        paid = lines(f"{name}: dollars per hour", [usd], dollars, width=560)
        held = lines(f"{name}: replicas that serve", pool_lines(run["series"]), replicas, width=560)
        made.append(f'<div class="pair">{paid}{held}</div>')
    return made


def over_hours(series: Found, values: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Values of a series as points over hours."""
    return tuple((at / 3600.0, value) for at, value in zip(series["seconds"], values, strict=True))


def pool_lines(series: Found) -> list[Line]:
    """Replicas of each pool over hours."""
    return [
        Line(pool.rpartition("/")[2], over_hours(series, [row[place] for row in series["replicas"]]))
        for place, pool in enumerate(series["pools"])
    ]
