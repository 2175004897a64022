"""The arena's benchmark: runs are kept, and not run again; what the document says follows from the record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import arena, arena_document, arena_figures, arena_runs
from bench.arena_figures import Results, gap_closed, together
from bench.arena_goals import goals
from bench.arena_runs import BOUND, INTEGRAL, OURS, STARTUP, Cell, Run
from comptroller.sim.arena import policy_names
from comptroller.sim.score import Score

SERIES = {
    "seconds": [600, 1200], "requestsPerSecond": [1.0, 2.0], "usdPerHour": [4.0, 5.0], "replicas": [[1, 2], [2, 2]],
    "pools": ["ns/a", "ns/b"],
}  # fmt: skip


def score(name: str, day: int, usd: float) -> Score:
    return Score(
        policy=name, day=day, seed=1, hours=24.0, cost_usd=usd - 1.0, power_usd=usd - 2.0, hosted_usd=1.0,
        missed_usd=1.0, blocked_usd=0.0, requests=1000, answered=999, within=995, blocked=1, inside=900, solved=999.0,
        sovereignty_violations=0, budget_overrun_usd=0.0, replica_moves=48, direction_flips=12,
        worst_flips_per_hour=0.25, decision_seconds=(), series=SERIES,
    )  # fmt: skip


def runs(*, load: float = 1.0, **usd: float) -> dict[Cell, Run]:
    """Two days: each policy (underscores are hyphens) pays so much on day 7 and 10 more on day 8."""
    found = {}
    for name, first in {
        BOUND: 100.0,
        INTEGRAL: 105.0,
        **{key.replace("_", "-"): one for key, one in usd.items()},
    }.items():
        for day in (7, 8):
            cell, paid = Cell(load, day, 1, name), first + 10.0 * (day - 7)
            seconds = {"p50": 0.01, "p99": 0.02, "max": 0.03 * day}
            made = None if name in (BOUND, INTEGRAL) else score(name, day, paid)
            found[cell] = Run(
                cell,
                paid,
                made,
                seconds,
                {"at": "t", "commit": "c", "processor": "p", "python": "3", "versions": "v"},
                60.0,
            )
    return found


def test_a_run_survives_the_record_and_a_line_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    file, found = tmp_path / "deep" / "record.jsonl", list(runs(programme=110.0).values())
    arena_runs.write_record(file, found[:3])
    with file.open("a") as lines:
        lines.write('{"cell": {"load"')
    arena_runs.write_record(file, found[3:])
    assert arena_runs.read_record(file) == {one.cell: one for one in found}


def test_finished_runs_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = arena.Choice(
        days=(7,), loads=(1.0,), policies=(BOUND, OURS, "greedy"), record=tmp_path / "r", documents=None
    )
    asked: list[Cell] = []

    def pretended(wanted: list[Cell], jobs: int, told: object) -> list[Run]:
        asked.extend(wanted)
        return [Run(cell, 100.0, None if cell.policy == BOUND else score(cell.policy, 7, 110.0)) for cell in wanted]

    monkeypatch.setattr(arena, "run_all", pretended)
    arena.measure(choice)
    assert [cell.policy for cell in asked] == [BOUND, OURS, "greedy"]
    found = arena.measure(replace(choice, policies=(*choice.policies, "wva")))
    assert [cell.policy for cell in asked[3:]] == ["wva"]
    assert len(found.tables[0].rows) == 4
    arena.measure(replace(choice, policies=(*choice.policies, "static"), jobs=0))
    assert len(asked) == 4


def test_a_real_run_of_twelve_minutes_is_above_its_bound() -> None:
    cell = Cell(1.0, 5, 1, "greedy", hours=(8.0, 8.1), trouble="APIs twice as dear")
    bound, found = arena_runs.run(replace(cell, policy=BOUND)), arena_runs.run(cell)
    assert found.score is not None
    assert 0 < bound.usd < found.usd
    assert found.score.hours == pytest.approx(0.1)
    assert found.decision_seconds["max"] is not None


def test_every_policy_of_the_simulator_is_in_the_benchmark() -> None:
    assert set(arena_runs.POLICIES) == {BOUND, STARTUP, INTEGRAL, *policy_names()}
    assert set(arena.TROUBLED_POLICIES) <= set(arena_runs.POLICIES)


def test_a_policy_with_a_missing_day_is_not_compared() -> None:
    found = runs(programme=110.0, greedy=130.0, wva=120.0)
    del found[Cell(1.0, 8, 1, "wva")]
    results = Results(found)
    assert [one.policy for one in results.rules(1.0)] == ["greedy"]
    table = arena_figures.per_load(results, 1.0, (BOUND, OURS, "greedy", "wva"))
    assert [row[0] for row in table.rows] == [BOUND, OURS, "greedy"]
    assert table.notes == ("Not finished at this load: wva.",)


def test_a_day_without_our_own_policy_is_left_out_for_all() -> None:
    found = runs(programme=110.0, greedy=130.0)
    del found[Cell(1.0, 8, 1, OURS)]
    greedy = Results(found).of(1.0, "greedy")
    assert greedy is not None
    assert greedy.usd_per_day == 130.0


def test_means_are_over_days_and_percent_of_the_mean_bound() -> None:
    ours = Results(runs(programme=110.0)).of(1.0, OURS)
    assert ours is not None
    assert ours.usd_per_day == 115.0
    assert ours.above_percent == pytest.approx(100 * (115 / 105 - 1))
    assert ours.figures["aboveBoundPercent"] == pytest.approx(ours.above_percent)
    assert ours.decision_seconds == {"p50": 0.01, "p99": 0.02, "max": 0.24}


def test_the_gap_is_what_the_rule_pays_above_the_bound() -> None:
    assert gap_closed(103.0, 110.0, 100.0) == pytest.approx(0.7)
    assert gap_closed(120.0, 110.0, 100.0) == pytest.approx(-1.0)
    assert gap_closed(100.0, 100.0, 100.0) is None
    assert together([]) == {"p50": None, "p99": None, "max": None}


def test_goals_stand_beside_what_was_measured() -> None:
    reached = {row[0]: row[-1] for row in goals(Results(runs(programme=106.0, greedy=140.0))).rows}
    assert set(reached.values()) == {"yes"}
    missed = {row[0]: row[-1] for row in goals(Results(runs(programme=125.0, greedy=120.0))).rows}
    assert missed["gap closed, %"] == "**no**"
    assert missed["above the bound, %"] == "**no**"
    assert missed["worst day against its best rule, %"] == "**no**"
    assert missed["in time, %"] == "yes"


def test_losses_and_ties_are_said() -> None:
    said = arena_figures.losses(Results(runs(programme=110.0, greedy=104.5, wva=110.05, static=120.0)))
    assert said[:2] == [
        "Load 1, day 7: `greedy` is 5.0 % cheaper than `programme`.",
        "Load 1, day 7: `wva` is as cheap as `programme`.",
    ]
    assert not any("static" in one for one in said)


def test_the_document_has_every_part_and_its_charts_are_well_formed(tmp_path: Path) -> None:
    found = {**runs(programme=106.0, greedy=140.0, oracle=104.0), **runs(load=0.6, programme=106.0, greedy=105.0)}
    wrong = Cell(1.0, 7, 1, OURS, hours=(8.0, 14.0), trouble="a node with 8 H100 lost")
    for name, usd in ((BOUND, 20.0), (OURS, 25.0), ("greedy", 30.0)):
        cell = replace(wrong, policy=name)
        found[cell] = Run(cell, usd, None if name == BOUND else score(name, 7, usd))
    arena_document.write_document(found, tmp_path, 60.0, arena_runs.WHOLE_DAY)
    written = (tmp_path / "benchmark.md").read_text()
    text = " ".join(written.split())
    for part in (
        "**Load 1**: $111.00 a day, 5.7 % above the hindsight bound",
        "Gap closed: 85 %",
        "Load 0.6, day 7: `greedy` is 0.9 % cheaper than `programme`.",
        "| a node with 8 H100 lost | **programme** | 25.00 | +25.0 |",
        "| oracle | – | +3.8 |",
        "best rule | +4.8 (greedy) | +38.1 (greedy)",
    ):
        assert part in text
    for name in text.split("(benchmark/")[1:]:
        drawn = tmp_path / "benchmark" / name.split(")")[0]
        assert ElementTree.fromstring(drawn.read_text()).tag.endswith("svg")


def test_without_a_day_that_can_be_compared_nothing_is_written(tmp_path: Path) -> None:
    arena_document.write_document({}, tmp_path, 60.0, arena_runs.WHOLE_DAY)
    assert list(tmp_path.iterdir()) == []


def test_the_document_tells_what_was_run_at_an_earlier_commit_and_at_which_loads() -> None:
    found = {**runs(load=0.6, programme=110.0, greedy=120.0), **runs(load=1.0, programme=110.0, greedy=120.0)}
    newer = {"at": "u", "commit": "d", "processor": "p", "python": "3", "versions": "v"}
    found = {
        cell: replace(one, conditions=newer) if cell.load == 1.0 and cell.policy == OURS else one
        for cell, one in found.items()
    }
    text = arena_document.document(found, arena_figures.Results(found))
    assert f"Run at commit d; at c: {BOUND}, {INTEGRAL}, {OURS} (load 0.6), greedy." in " ".join(text.split())


def test_the_parts_of_a_day_are_told_where_the_record_has_them() -> None:
    found = runs(programme=110.0, greedy=120.0)
    parts = {"idle power": 1.0, "hosted: no GPU": 3.0, "late answers": 2.0}
    found = {
        cell: replace(one, score=replace(one.score, parts_usd=parts)) if cell.policy == OURS and one.score else one
        for cell, one in found.items()
    }
    found = {
        cell: replace(one, parts_usd={"idle power": 1.0, "otherwise": 4.0}) if cell.policy == BOUND else one
        for cell, one in found.items()
    }
    table = arena_figures.made_of(arena_figures.Results(found), 1.0, (BOUND, OURS, "greedy"))
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert set(rows) == {BOUND, OURS}
    assert (rows[OURS]["hosted: no GPU"], rows[OURS]["otherwise"]) == ("3.00", "")
    assert (rows[BOUND]["hosted: no GPU"], rows[BOUND]["otherwise"]) == ("", "4.00")
