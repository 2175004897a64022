"""What the runs of the arena say: means over days, shares of the gap, who is cheaper where. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.arena_runs import BOUND, INTEGRAL, OURS, STARTUP, WHOLE_DAY, Cell, Run
from bench.report import Table
from comptroller.sim.baselines.registry import BASELINES
from comptroller.sim.reasons import REASONS
from comptroller.sim.score import Score, figures, with_intervals

TIE_RATIO = 0.001
ABLATION = (
    (STARTUP, "replicas start for three minutes, on GPUs that serve nobody meanwhile"),
    (INTEGRAL, "instead: whole replicas, that stay ten minutes"),
    ("oracle", "both, and bursts, queues; told what is asked when a replica that starts now serves"),
    (OURS, "and the future has to be foreseen"),
    ("programme-last-value", "and no forecast at all"),
)
PARTS = ("idle power", "busy power", *(f"hosted: {one}" for one in REASONS), "late answers", "blocked")
COLUMNS = (
    "policy", "$ per day", "above bound %", "in time %", "blocked %", "forbidden", "moves a day",
    "worst flips per pool and hour", "inside %", "decision ms: p50 / p99 / max",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """One policy at one load, over days and seeds. `figures` as in the result file; empty for a bound."""

    policy: str
    usd_per_day: float
    bound_usd_per_day: float
    figures: Mapping[str, Any]
    decision_seconds: Mapping[str, float | None]

    @property
    def above_percent(self) -> float:
        """Above the hindsight bound: 110 against 100 is 10."""
        return 100.0 * (self.usd_per_day / self.bound_usd_per_day - 1.0)


class Results:
    """The runs with one tick over the same hours, whole days, in which nothing went wrong."""

    def __init__(self, runs: Mapping[Cell, Run], tick_seconds: float = 60.0, hours: tuple[float, float] = WHOLE_DAY):
        self.runs = {
            cell: one
            for cell, one in runs.items()
            if cell.tick_seconds == tick_seconds and cell.hours == hours and cell.trouble == "nothing"
        }
        self._a_day = 24.0 / (hours[1] - hours[0])

    def loads(self) -> list[float]:
        """Those with at least one day that can be compared."""
        return [load for load in sorted({cell.load for cell in self.runs}) if self.days(load)]

    def days(self, load: float) -> list[tuple[int, int]]:
        """(day, seed) that have the bound and our own policy."""
        found = self._cells(load)
        return sorted(set(found.get(BOUND, {})) & set(found.get(OURS, {})))

    def of(self, load: float, policy: str, days: Sequence[tuple[int, int]] | None = None) -> Standing | None:
        """None where a day is missing."""
        found = self._cells(load)
        days = self.days(load) if days is None else days
        mine, bounds = found.get(policy, {}), found.get(BOUND, {})
        if not days or any(day not in mine or day not in bounds for day in days):
            return None
        bound = self._a_day * statistics.fmean(bounds[day].usd for day in days)
        usd = self._a_day * statistics.fmean(mine[day].usd for day in days)
        scores = [replace(one.score, bound_usd=bounds[day].usd) for day in days if (one := mine[day]).score is not None]
        seconds = [mine[day].decision_seconds for day in days]
        return Standing(policy, usd, bound, _over_seeds(scores), together(seconds))

    def parts(self, load: float, policy: str) -> dict[str, float]:
        """Of what a day consists, in US dollars, as a mean over days; empty where the record does not tell."""
        mine, days = self._cells(load).get(policy, {}), self.days(load)
        if not days or any(day not in mine for day in days):
            return {}
        told = [one.parts_usd if one.score is None else one.score.parts_usd for one in (mine[day] for day in days)]
        names = set(told[0]) if all(told) else set()
        return {name: self._a_day * statistics.fmean(one.get(name, 0.0) for one in told) for name in names}

    def missing(self, load: float, policies: Sequence[str]) -> list[str]:
        """Who has not finished every day at this load."""
        return [name for name in policies if self.of(load, name) is None]

    def rules(self, load: float, days: Sequence[tuple[int, int]] | None = None) -> list[Standing]:
        """The baselines that are finished, the cheapest first."""
        found = [self.of(load, name, days) for name in BASELINES]
        return sorted((one for one in found if one is not None), key=lambda one: one.usd_per_day)

    def _cells(self, load: float) -> dict[str, dict[tuple[int, int], Run]]:
        found: dict[str, dict[tuple[int, int], Run]] = {}
        for cell, one in self.runs.items():
            if cell.load == load:
                found.setdefault(cell.policy, {})[cell.day, cell.seed] = one
        return found


def _over_seeds(scores: Sequence[Score]) -> Mapping[str, Any]:
    if not scores:
        return {}
    seeds = sorted({one.seed for one in scores})
    return with_intervals([figures([one for one in scores if one.seed == seed]) for seed in seeds])


def together(seconds: Sequence[Mapping[str, float | None]]) -> Mapping[str, float | None]:
    """Decision times of several runs: the median of medians, the worst p99, the longest of all."""
    found: dict[str, float | None] = {}
    for name, reduce in (("p50", statistics.median), ("p99", max), ("max", max)):
        values = [value for one in seconds if (value := one.get(name)) is not None]
        found[name] = float(reduce(values)) if values else None
    return found


def gap_closed(ours: float, rule: float, bound: float) -> float | None:
    """Which part of what a rule pays above the bound is saved: (110 - 103) / (110 - 100) = 0.7.

    None where the rule is at the bound, for there is nothing to close.
    """
    return (rule - ours) / (rule - bound) if rule > bound else None


def per_load(results: Results, load: float, policies: Sequence[str]) -> Table:
    """Everything about one load, the cheapest first."""
    found = [one for name in policies if (one := results.of(load, name)) is not None]
    days = ", ".join(str(day) for day in sorted({day for day, _ in results.days(load)}))
    rows = tuple(_row(one) for one in sorted(found, key=lambda one: one.usd_per_day))
    late = results.missing(load, policies)
    notes = (f"Not finished at this load: {', '.join(late)}.",) if late else ()
    return Table(f"Load {load:g}, mean of days {days}", COLUMNS, rows, notes)


def _row(one: Standing) -> tuple[str, ...]:
    usd, above = f"{one.usd_per_day:,.2f}", f"{one.above_percent:+.1f}"
    found = one.figures
    if not found:
        return (one.policy, usd, above, *("",) * (len(COLUMNS) - 3))
    spread = (found["confidence95"] or {}).get("objectiveUsdPerDay")
    times = "/".join(
        "–" if (value := one.decision_seconds[name]) is None else f" {1000 * value:.0f} "
        for name in ("p50", "p99", "max")
    )
    return (
        one.policy,
        usd if spread is None else f"{usd} ± {spread:,.2f}",
        above,
        percent(found["sloAttainment"], 2),
        percent(found["blockedRatio"], 3),
        f"{found['sovereigntyViolations']:,.0f}",
        f"{24.0 * found['replicaMoves'] / found['hours']:,.0f}",
        f"{found['worstFlipsPerPoolAndHour']:.2f}",
        percent(found["insideRatio"], 1),
        times.strip(),
    )


def percent(ratio: float | None, digits: int) -> str:
    """A ratio in percent, without the sign."""
    return "–" if ratio is None else f"{round(100.0 * ratio, digits) + 0.0:.{digits}f}"


def per_day(results: Results) -> Table:
    """Ours against the best rule of each single day."""
    rows = []
    for load in results.loads():
        for day, seed in results.days(load):
            ours, rules = results.of(load, OURS, [(day, seed)]), results.rules(load, [(day, seed)])
            if ours is None or not rules:
                continue
            best = rules[0]
            closed = gap_closed(ours.usd_per_day, best.usd_per_day, ours.bound_usd_per_day)
            rows.append(
                (
                    f"{load:g}", f"{day}", f"{ours.bound_usd_per_day:,.2f}", f"{ours.usd_per_day:,.2f}",
                    f"{ours.above_percent:+.1f}", best.policy, f"{best.usd_per_day:,.2f}",
                    f"{best.above_percent:+.1f}", percent(closed, 0),
                )
            )  # fmt: skip
    columns = ("load", "day", "bound $", "programme $", "above %", "best rule", "its $", "above %", "gap closed %")
    return Table("Each day, against the rule that was best on it", columns, tuple(rows))


def gaps(results: Results) -> Table:
    """Which part of each baseline's gap is closed, per load."""
    loads = results.loads()
    rows = []
    for name in BASELINES:
        row = []
        for load in loads:
            ours, rule = results.of(load, OURS), results.of(load, name)
            row.append("–" if ours is None or rule is None else _closed(ours, rule))
        rows.append((name, *row))
    best = []
    for load in loads:
        ours, rules = results.of(load, OURS), results.rules(load)
        best.append("–" if ours is None or not rules else f"{_closed(ours, rules[0])} ({rules[0].policy})")
    rows.append(("best of the load", *best))
    columns = ("gap closed % against", *(f"load {load:g}" for load in loads))
    return Table("Gap closed: (rule - programme) / (rule - bound)", columns, tuple(rows))


def _closed(ours: Standing, rule: Standing) -> str:
    return percent(gap_closed(ours.usd_per_day, rule.usd_per_day, ours.bound_usd_per_day), 0)


def ablation(results: Results) -> Table:
    """From the bound to the best rule, step by step: % above the bound."""
    loads = results.loads()
    rows = [("hindsight bound", *("0.0" for _ in loads), "fractions of replicas, no start-up, no queue, no bursts")]
    for name, meaning in ABLATION:
        found = [results.of(load, name) for load in loads]
        rows.append((name, *("–" if one is None else f"{one.above_percent:+.1f}" for one in found), meaning))
    best = [rules[0] if (rules := results.rules(load)) else None for load in loads]
    told = ("–" if one is None else f"{one.above_percent:+.1f} ({one.policy})" for one in best)
    rows.append(("best rule", *told, "replicas of each pool by a rule; routed by our programme"))
    columns = ("% above the bound", *(f"load {load:g}" for load in loads), "what is added")
    return Table("What each part brings", columns, tuple(rows))


def made_of(results: Results, load: float, policies: Sequence[str]) -> Table:
    """What a day's dollars are made of, for those of whom the record tells it. A bound has one part for all that is not
    answered inside in time."""
    rows = []
    for name in policies:
        parts = results.parts(load, name)
        if parts:
            cells = (f"{parts[one]:,.2f}" if one in parts else "" for one in PARTS)
            rows.append((name, *cells, f"{parts['otherwise']:,.2f}" if "otherwise" in parts else ""))
    return Table(f"Load {load:g}: what a day is made of", ("$ per day", *PARTS, "otherwise"), tuple(rows))


def losses(results: Results) -> list[str]:
    """Where a rule is cheaper than ours or ties, each as a sentence."""
    found = []
    for load in results.loads():
        for day, seed in results.days(load):
            ours = results.of(load, OURS, [(day, seed)])
            for rule in results.rules(load, [(day, seed)]):
                if ours is None or rule.usd_per_day > ours.usd_per_day * (1.0 + TIE_RATIO):
                    continue
                less = 100.0 * (1.0 - rule.usd_per_day / ours.usd_per_day)
                said = f"{less:.1f} % cheaper than" if less > 100.0 * TIE_RATIO else "as cheap as"
                found.append(f"Load {load:g}, day {day}: `{rule.policy}` is {said} `{OURS}`.")
    return found


def troubles(runs: Mapping[Cell, Run], policies: Sequence[str], tick_seconds: float = 60.0) -> Table | None:
    """What goes wrong, per policy: dollars, above the bound of that world, blocked, in time, forbidden."""
    worlds = {(cell.day, cell.load, cell.hours) for cell in runs if cell.trouble != "nothing"}
    chosen = {
        cell: one
        for cell, one in runs.items()
        if (cell.day, cell.load, cell.hours) in worlds and cell.tick_seconds == tick_seconds
    }
    bounds = {_world(cell): one.usd for cell, one in chosen.items() if cell.policy == BOUND}
    rows = []
    for trouble in dict.fromkeys(cell.trouble for cell in chosen):
        for name in policies:
            cell = next((one for one in chosen if one.trouble == trouble and one.policy == name), None)
            if cell is None or _world(cell) not in bounds or (score := chosen[cell].score) is None:
                continue
            found = figures([replace(score, bound_usd=bounds[_world(cell)])])
            rows.append(
                (
                    trouble, name, f"{found['objectiveUsd']:,.2f}", f"{found['aboveBoundPercent']:+.1f}",
                    percent(found["sloAttainment"], 2), percent(found["blockedRatio"], 3),
                    f"{found['sovereigntyViolations']}", f"{found['replicaMoves']}",
                )
            )  # fmt: skip
    columns = ("what goes wrong", "policy", "$", "above bound %", "in time %", "blocked %", "forbidden", "moves")
    return Table("Perturbations", columns, tuple(rows)) if rows else None


def trouble_losses(runs: Mapping[Cell, Run], tick_seconds: float = 60.0) -> list[str]:
    """What goes wrong where a rule is cheaper than ours, each as a sentence."""
    worlds: dict[tuple[object, ...], list[Run]] = {}
    for cell, one in runs.items():
        if cell.trouble != "nothing" and cell.tick_seconds == tick_seconds and one.score is not None:
            worlds.setdefault(_world(cell), []).append(one)
    found = []
    for together_run in worlds.values():
        ours = next((one for one in together_run if one.cell.policy == OURS), None)
        rule = min((one for one in together_run if one.cell.policy in BASELINES), key=lambda one: one.usd, default=None)
        if ours is not None and rule is not None and rule.usd < ours.usd:
            less = 100.0 * (1.0 - rule.usd / ours.usd)
            found.append(f"{ours.cell.trouble}: `{rule.cell.policy}` is {less:.1f} % cheaper")
    return found


def _world(cell: Cell) -> tuple[object, ...]:
    return cell.load, cell.day, cell.seed, cell.hours, cell.trouble
