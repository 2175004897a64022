"""What was to be reached, beside what was measured."""

from __future__ import annotations

from bench.arena_figures import TIE_RATIO, Results, Standing, gap_closed, percent
from bench.arena_runs import OURS
from bench.report import Table

GAP = 0.70
ABOVE_PERCENT = {0.6: 15.0, 1.0: 12.0, 1.5: 7.0}
IN_TIME, BLOCKED, FLIPS = 0.99, 0.001, 1.0


def goals(results: Results, troubles_lost: int | None = None) -> Table:
    """One row per goal and load. `troubles_lost`: in how many perturbations a rule was cheaper; None: not run."""
    rows: list[tuple[str, ...]] = []
    for load in results.loads():
        ours, rules = results.of(load, OURS), results.rules(load)
        if ours is not None:
            rows += _of_load(load, ours, rules[0] if rules else None, _never_worse(results, load))
    if troubles_lost is not None:
        reached = "**no**" if troubles_lost else "yes"
        rows.append(("perturbations in which a rule is cheaper", "1", "0", str(troubles_lost), reached))
    return Table("Goal beside measured value", ("goal", "load", "wanted", "measured", "reached"), tuple(rows))


def _of_load(load: float, ours: Standing, rule: Standing | None, worst: float | None) -> list[tuple[str, ...]]:
    found, told = ours.figures, f"{load:g}"
    rows: list[tuple[str, str, str, bool]] = []
    if rule is not None:
        closed = gap_closed(ours.usd_per_day, rule.usd_per_day, ours.bound_usd_per_day)
        rows.append(("gap closed, %", f"at least {100 * GAP:.0f}", percent(closed, 0), (closed or 0.0) >= GAP))
    if (most := ABOVE_PERCENT.get(load)) is not None:
        rows.append(
            ("above the bound, %", f"at most {most:.0f}", f"{ours.above_percent:.1f}", ours.above_percent <= most)
        )
    if worst is not None:
        rows.append(("worst day against its best rule, %", "at most 0", f"{worst:+.1f}", worst <= 100.0 * TIE_RATIO))
    in_time, blocked = found["sloAttainment"], found["blockedRatio"]
    flips, forbidden = found["worstFlipsPerPoolAndHour"], found["sovereigntyViolations"]
    rows += [
        ("in time, %", f"at least {100 * IN_TIME:.0f}", percent(in_time, 2), (in_time or 0.0) >= IN_TIME),
        ("blocked, %", f"at most {100 * BLOCKED:g}", percent(blocked, 3), blocked <= BLOCKED),
        ("flips of the worst pool an hour", f"at most {FLIPS:g}", f"{flips:.2f}", flips <= FLIPS),
        ("forbidden requests", "0", f"{forbidden:g}", not forbidden),
    ]
    return [(goal, told, wanted, measured, "yes" if yes else "**no**") for goal, wanted, measured, yes in rows]


def _never_worse(results: Results, load: float) -> float | None:
    """How much dearer than the best rule of the day, in %, on the worst day."""
    found = []
    for day in results.days(load):
        ours, rules = results.of(load, OURS, [day]), results.rules(load, [day])
        if ours is not None and rules:
            found.append(100.0 * (ours.usd_per_day / rules[0].usd_per_day - 1.0))
    return max(found, default=None)
