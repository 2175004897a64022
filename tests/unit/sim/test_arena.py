"""The arena and its verb: the same result whatever the number of processes, a table, a file, errors that help."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from comptroller.cli.main import main
from comptroller.sim.arena import OWN, Options, policy, policy_names, run_arena

EXAMPLES = Path(__file__).parents[3] / "examples" / "simulate"
AZURE = EXAMPLES / "azure.yaml"


def timeless(value: Any) -> Any:
    """A result without what a clock has measured."""
    if isinstance(value, dict):
        return {name: timeless(one) for name, one in value.items() if name != "decisionSeconds"}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def test_the_result_does_not_depend_on_the_number_of_processes() -> None:
    options = Options(AZURE, policies=("static", "all-hosted"), seeds=(1, 2), hours=0.1, tick_seconds=60.0)
    told: list[tuple[str, int, int, float]] = []
    alone = run_arena(options, lambda *news: told.append(news))
    together = run_arena(Options(**{**{name: getattr(options, name) for name in Options.__slots__}, "jobs": 2}))
    assert timeless(alone) == timeless(together)
    assert {one[0] for one in told} == {"static", "all-hosted", "hindsight bound"}


def test_nobody_is_below_the_bound_and_nobody_breaks_a_data_rule() -> None:
    names = ("programme", "static", "wva-spill", "all-hosted", "all-local")
    found = run_arena(Options(AZURE, policies=names, hours=0.15, tick_seconds=60.0))
    for name in names:
        one = found["policies"][name]
        assert one["aboveBoundPercent"] > 0
        assert one["sovereigntyViolations"] == 0


def test_every_policy_of_the_list_can_be_made() -> None:
    assert {*OWN} <= {*policy_names()}
    assert all(policy(name, 1.0).name for name in policy_names())


def test_the_verb_prints_a_table_and_writes_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, page = tmp_path / "result.json", tmp_path / "result.html"
    code = main(
        ["simulate", str(AZURE), "--policy", "static,all-hosted", "--hours", "0.1", "--tick", "60", "--seed", "3",
         "--load", "0.5", "--output", str(output), "--html", str(page)]
    )  # fmt: skip
    assert code == 0
    printed = capsys.readouterr().out
    assert "hindsight bound" in printed
    assert "load 0.5" in printed
    assert "is the cheapest of 2" in page.read_text()
    found = json.loads(output.read_text())
    assert set(found["policies"]) == {"static", "all-hosted"}
    assert found["seeds"] == [3]
    figures = found["policies"]["static"]
    assert set(figures["decisionSeconds"]) == {"p50", "p99", "max"}
    promised = (
        "costUsd aboveBoundPercent sloAttainment blockedRatio sovereigntyViolations budgetOverrunUsd replicaMoves"
    )
    assert {*promised.split(), "directionFlips", "insideRatio", "usdPerSolvedTask", "confidence95"} <= set(figures)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["none.yaml"],
            "none.yaml: cannot be read: No such file or directory. Give a scenario as YAML",
        ),
        ([str(AZURE), "--policy", "magic"], "--policy: there is no magic (there are: programme"),
        ([str(AZURE), "--days", "3"], "nothing of day 3"),
        ([str(AZURE), "--demand", "nothing.csv"], "nothing.csv: there is no such file"),
        ([str(AZURE), "--demand", str(AZURE)], "the format is not known"),
        ([str(AZURE), "--demand", str(AZURE.parent)], "cannot be read: Is a directory. Give a csv or jsonl file"),
        ([str(AZURE), "--demand", os.devnull], "is empty. Give a csv or jsonl file of demand"),
    ],
)
def test_what_cannot_be_run_says_why_and_exits_with_two(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_result_that_has_no_place_is_told_before_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(AZURE), "--output", str(tmp_path / "no" / "a.json")]) == 2
    printed = capsys.readouterr()
    assert f"there is no folder {tmp_path / 'no'}. Make it with `mkdir -p {tmp_path / 'no'}`." in printed.err
    assert printed.out == ""
    assert main(["simulate", str(AZURE), "--html", str(tmp_path)]) == 2
    assert f"{tmp_path}: is a folder. Name a file in it" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--seed", "one"], ["--load", "0"], ["--tick", "-1"], ["--days", "-1"]])
def test_an_option_that_is_wrong_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["simulate", str(AZURE), *arguments])
    assert raised.value.code == 2
    assert "must" in capsys.readouterr().err or "expected" in capsys.readouterr().err
