"""What a change of policies does, as text, as Markdown for a pull request and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comptroller.allocation.words import number, usd
from comptroller.api.parse import parse_spec

Item = Mapping[str, Any]
Found = Mapping[str, Any]

LONGEST_CHANGES = 40
NEWS_SLO = 0.0005  # of the answers: a smaller move of a route is not told
BASIS = "hosted tokens, power and rent; marginal basis"


@dataclass(frozen=True, slots=True)
class PlanReport:
    """A comparison. `today` or `proposed` is None where no route of that version has recorded demand."""

    scope: str  # what was replayed: "24 h of history, 3 seeds, a decision every 60 s"
    changes: Sequence[str]
    today: Found | None
    proposed: Found | None
    not_replayed: Sequence[str] = ()  # routes of the proposal without recorded demand
    dropped: Sequence[str] = ()  # routes with recorded demand that the proposal no longer has
    problems: Sequence[str] = ()


def changes_of(today: Sequence[Item], proposed: Sequence[Item]) -> list[str]:
    """One line per object that is new, gone or different, with the paths that differ."""
    before, after = _by_name(today), _by_name(proposed)
    found = []
    for name in sorted({*before, *after}):
        if name not in before:
            found.append(f"{name} is new")
        elif name not in after:
            found.append(f"{name} is gone")
        elif paths := list(_different(_whole(before[name]), _whole(after[name]), "spec")):
            more = f" and {len(paths) - 6} more" if len(paths) > 6 else ""
            found.append(f"{name}: {', '.join(paths[:6])}{more}")
    return found


def _whole(item: Item) -> Any:
    """The spec with its defaults: what is left out and what is said as it would be are the same."""
    spec = parse_spec(item["kind"], item).model_dump(mode="json", by_alias=True, exclude_none=True)
    return _without_empty(spec)


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: _without_empty(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if one not in ({}, [], None)}
    return [_without_empty(one) for one in value] if isinstance(value, list) else value


def _by_name(objects: Sequence[Item]) -> dict[str, Item]:
    return {
        f"{one['kind']} {one['metadata'].get('namespace') or 'default'}/{one['metadata']['name']}": one
        for one in objects
    }


def _different(before: Any, after: Any, path: str) -> Iterator[str]:
    """The paths that differ; entries of a list with names are compared by name."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from _different(before.get(key), after.get(key), f"{path}.{key}")
    elif _named(before) and _named(after):
        old, new = ({one["name"]: one for one in many} for many in (before, after))
        for name in [*old, *(one for one in new if one not in old)]:
            yield from _different(old.get(name), new.get(name), f"{path}[{name}]")
    elif before != after:
        yield path


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) and "name" in one for one in value)


def as_json(report: PlanReport) -> dict[str, Any]:
    """The comparison for other programs, exact."""
    return {
        "scope": report.scope,
        "basis": f"US dollars per day: {BASIS}",
        "changes": list(report.changes),
        "today": report.today,
        "proposed": report.proposed,
        "routesWithoutHistory": list(report.not_replayed),
        "routesDropped": list(report.dropped),
        "problems": list(report.problems),
    }


def as_text(report: PlanReport) -> str:
    """What a terminal shows."""
    if not report.changes:
        return "Nothing changes: no pool or policy differs."
    rows = [("", "today", "proposed", ""), *table(report)]
    widths = [max(len(row[index]) for row in rows) for index in range(4)]
    lines = [f"Plan: {report.scope}", ""]
    if report.today or report.proposed:
        lines += [
            f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows
        ]
    lines += [f"  {one}" for one in replica_sentences(report)]
    lines += ["", "Changes", *(f"  {one}" for one in _shortened(report.changes))]
    lines += [f"Note: {one}" for one in notes(report)]
    return "\n".join(lines)


def as_markdown(report: PlanReport) -> str:
    """What a pull request shows."""
    if not report.changes:
        return "### Comptroller plan\n\nNothing changes: no pool or policy differs.\n"
    lines = [f"### Comptroller plan ({report.scope})", ""]
    if report.today or report.proposed:
        lines += ["| | today | proposed | |", "|---|---:|---:|---|"]
        lines += [f"| {' | '.join(_cell(one) for one in row)} |" for row in table(report)]
        lines.append("")
    if sentences := replica_sentences(report):
        lines += [" ".join(sentences), ""]
    lines += [
        "<details><summary>What changes</summary>",
        "",
        *(f"- {_cell(one)}" for one in _shortened(report.changes)),
    ]
    lines += ["", "</details>"]
    if told := notes(report):
        lines += ["", *(f"> {_cell(one)}" for one in told)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """A text as Markdown shows it, whatever is in it."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _shortened(changes: Sequence[str]) -> list[str]:
    more = len(changes) - LONGEST_CHANGES
    return [*changes[:LONGEST_CHANGES], *([f"{more} more"] if more > 0 else [])]


def table(report: PlanReport) -> list[tuple[str, str, str, str]]:
    """What both versions cost and do: name, today, proposed, difference."""
    today, proposed = report.today, report.proposed
    rows = [
        ("cost per day", *_both(report, _cost), _relative(today, proposed, "usdPerDay")),
        (
            "of that at hosted APIs",
            *_both(report, lambda one: usd(one["hostedUsdPerDay"])),
            _relative(today, proposed, "hostedUsdPerDay"),
        ),
        ("answered inside", *_both(report, lambda one: _share(one["insideRatio"])), _points(report, "insideRatio")),
        (
            "within their objective",
            *_both(report, lambda one: _share(one["sloAttainment"])),
            _points(report, "sloAttainment"),
        ),
        ("answered by nobody", *_both(report, lambda one: _share(one["unansweredRatio"])), ""),
        (
            "restricted data outside",
            *_both(report, lambda one: "none" if not one["sovereigntyViolations"] else "SOME"),
            "",
        ),
    ]
    for name, before, after in _moved_routes(report):
        rows.append((f"in time: {name}", _share(before), _share(after), ""))
    return rows


def _both(report: PlanReport, say: Any) -> tuple[str, str]:
    return tuple("-" if one is None else say(one) for one in (report.today, report.proposed))  # type: ignore[return-value]


def _cost(one: Found) -> str:
    spread = one["usdPerDayPlusMinus"]
    return usd(one["usdPerDay"]) + (f" ± {number(spread)}" if spread is not None else "")


def _share(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100.0 * ratio:.2f} %".replace(".00 %", " %")


def _relative(today: Found | None, proposed: Found | None, name: str) -> str:
    if not today or not proposed or not today[name]:
        return ""
    change = proposed[name] / today[name] - 1.0
    return "same" if abs(change) < 0.005 else f"{100.0 * change:+.0f} %"


def _points(report: PlanReport, name: str) -> str:
    values = [one[name] if one else None for one in (report.today, report.proposed)]
    if values[0] is None or values[1] is None:
        return ""
    change = 100.0 * (values[1] - values[0])
    return "same" if abs(change) < 0.05 else f"{change:+.1f} points"


def _moved_routes(report: PlanReport) -> list[tuple[str, float | None, float | None]]:
    """Routes whose share within the objective moves, those that lose most first; at most six."""
    if not report.today or not report.proposed:
        return []
    before, after = report.today["routes"], report.proposed["routes"]
    moved = []
    for name in sorted({*before, *after}):
        old = (before.get(name) or {}).get("sloAttainment")
        new = (after.get(name) or {}).get("sloAttainment")
        if old is not None and new is not None and abs(new - old) > NEWS_SLO:
            moved.append((new - old, name, old, new))
    return [(name, old, new) for _, name, old, new in sorted(moved)[:6]]


def replica_sentences(report: PlanReport) -> list[str]:
    """`qwen3-32b 3-5 -> 4-6`: fewest and most replicas of each pool that change."""
    before = report.today["pools"] if report.today else {}
    after = report.proposed["pools"] if report.proposed else {}
    told, same = [], 0
    for pool in sorted({*before, *after}):
        old, new = _range(before.get(pool)), _range(after.get(pool))
        if old == new:
            same += 1
        else:
            told.append(f"{pool.rsplit('/', 1)[-1]} {old} -> {new}")
    if not told:
        return ["Replicas: unchanged."] if same else []
    return [f"Replicas: {'; '.join(told)}" + (f"; {same} unchanged." if same else ".")]


def _range(one: Mapping[str, float] | None) -> str:
    if one is None:
        return "-"
    fewest, most = int(one["fewest"]), int(one["most"])
    return str(most) if fewest == most else f"{fewest}-{most}"


def notes(report: PlanReport) -> list[str]:
    """What the figures do not say."""
    found = list(report.problems)
    if report.not_replayed:
        found.append(f"no recorded demand, so not in the figures: {', '.join(report.not_replayed)}.")
    if report.dropped:
        found.append(f"asked for until now and gone in the proposal: {', '.join(report.dropped)}.")
    return found
