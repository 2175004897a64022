"""`comptroller plan`: two versions of real manifests against the same recorded demand."""

from __future__ import annotations

import io
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from comptroller.api.settings import Settings
from comptroller.cli.main import main
from comptroller.cli.plan import counted, manifests, read_objects
from comptroller.cli.report import WrongUseError

QUICKSTART = Path(__file__).resolve().parents[3] / "examples" / "quickstart"
START = datetime(2026, 11, 20, 6, tzinfo=UTC)


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Today's manifests, a copy to change, and an hour of demand."""
    for name in ("today", "proposed"):
        shutil.copytree(QUICKSTART, tmp_path / name)
    lines = ["window_start,policy,route,requests_per_second,input_tokens,output_tokens,cached_ratio"]
    for minutes in range(0, 60, 5):
        at = (START + timedelta(minutes=minutes)).isoformat()
        lines.append(f"{at},inference/research,extraction,14,1200,150,0.3")
        lines.append(f"{at},inference/research,deal-review,1,3000,400,0.2")
    (tmp_path / "demand.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "today", tmp_path / "proposed", tmp_path / "demand.csv"


def edited(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))


def planned(versions: tuple[Path, Path, Path], *more: str) -> int:
    today, proposed, demand = versions
    options = ("--history", str(demand), "--gpus", "h100=8,rtx4090=8", "--seeds", "1")
    return main(["plan", "-f", str(proposed), "--against", str(today), *options, *more])


def test_nothing_changes(versions: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert planned(versions) == 0
    assert capsys.readouterr().out == "Nothing changes: no pool or policy differs.\n"


def test_a_default_that_is_written_out_is_no_change(versions: tuple[Path, Path, Path]) -> None:
    edited(versions[1], "policy.yaml", "    type: litellm\n", "    type: litellm\n    port: 4000\n")
    assert planned(versions) == 0


def test_fewer_replicas_send_more_to_the_apis_and_the_difference_is_told(
    versions: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    edited(versions[1], "pools-local.yaml", "max: 8}", "max: 1}")
    edited(versions[1], "pools-local.yaml", "max: 4}", "max: 1}")
    assert planned(versions, "-o", "json") == 2
    found = json.loads(capsys.readouterr().out)
    assert found["changes"] == [
        "ModelPool inference/qwen3-32b: spec.local.replicas.max",
        "ModelPool inference/qwen3-8b: spec.local.replicas.max",
    ]
    today, proposed = found["today"], found["proposed"]
    assert proposed["hostedUsdPerDay"] > today["hostedUsdPerDay"]
    assert proposed["insideRatio"] < today["insideRatio"]
    assert max(one["most"] for one in proposed["pools"].values()) == 1
    assert (today["sovereigntyViolations"], proposed["sovereigntyViolations"]) == (0, 0)
    assert found["routesWithoutHistory"] == ["inference/research/planning"]


def test_the_pull_request_gets_a_table(versions: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    edited(versions[1], "policy.yaml", '    - {pool: gpt-5-mini, passRate: "0.96"}\n', "")
    assert planned(versions, "-o", "markdown") == 2
    text = capsys.readouterr().out
    assert text.startswith(
        "### Comptroller plan (1 h of demand, 1 seed, a decision every 60 s)\n\n| | today | proposed |"
    )
    assert "| cost per day | $" in text
    assert "- RoutingPolicy inference/research: spec.routes[extraction].backends\n" in text
    assert "> no recorded demand, so not in the figures: inference/research/planning." in text


def test_a_route_that_goes_is_named(versions: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    edited(versions[1], "policy.yaml", "  - name: deal-review ", "  - name: deal-study ")
    assert planned(versions) == 2
    text = capsys.readouterr().out
    assert "asked for until now and gone in the proposal: inference/research/deal-review." in text


def test_what_the_operator_would_refuse_is_an_error_with_file_and_field(
    versions: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    edited(versions[1], "policy.yaml", 'minimumPassRate: "0.93"', 'minimumPassRate: "1.93"')
    assert planned(versions) == 1
    error = capsys.readouterr().err
    assert "policy.yaml, document 1: spec.routes[0].quality.minimumPassRate: must be between 0 and 1" in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "what is proposed?"),
        (["-f", "nowhere"], "nowhere: cannot be read"),
        (["-f", str(QUICKSTART), "--against", str(QUICKSTART / "pools-local.yaml")], "which demand is replayed?"),
        (["-f", str(QUICKSTART), "--against", str(QUICKSTART / "pools-local.yaml"), "--history", "nowhere.csv"],
         "nowhere.csv: cannot be read"),
    ],
)  # fmt: skip
def test_wrong_use_says_what_to_write(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PROMETHEUS_URL", raising=False)
    assert main(["plan", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_manifests_come_from_folders_files_lists_and_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [one["metadata"]["name"] for one in manifests(str(QUICKSTART), "default")]
    assert set(names) == {"qwen3-8b", "qwen3-32b", "gpt-5-mini", "claude-sonnet", "research"}
    text = (QUICKSTART / "pools-hosted.yaml").read_text()
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert [one["metadata"]["name"] for one in manifests("-", "x")] == [
        one["metadata"]["name"] for one in read_objects("file", text, "x")
    ]
    pool: dict[str, Any] = read_objects("file", text, "x")[0]
    listed = json.dumps({"kind": "List", "items": [pool, {"kind": "Secret"}]})
    assert [one["metadata"]["name"] for one in read_objects("list", listed, "x")] == [pool["metadata"]["name"]]


def test_gpus_are_counted_by_class() -> None:
    (found,) = counted("h100=8", Settings())
    assert (found.class_, found.count) == ("h100", 8)
    with pytest.raises(WrongUseError, match="write CLASS=COUNT"):
        counted("h1000=8", Settings())
