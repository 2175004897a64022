"""What is generated for Prometheus and Grafana is committed, asks only for metrics that exist, and is explained."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from monitoring.__main__ import files
from monitoring.alerts import ALERTS, Alert
from monitoring.catalogue import catalogue, series, used_in
from monitoring.dashboard import ROWS, WIDTH, dashboard, queries

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "operator" / "comptroller"
RUNBOOKS = ROOT / "docs" / "runbooks"
EVERY_ALERT = [alert for group in ALERTS.values() for alert in group]
MATCHER = re.compile(r"(comptroller_\w+)\{([^}]*)\}")
GIVEN = {"namespace", "pod", "le"}  # by the scrape, or by a histogram


@pytest.mark.parametrize("name", files())
def test_what_is_generated_is_committed(name: str) -> None:
    assert (ROOT / name).read_text() == files()[name], "run `make generate` and commit the result"


def test_every_metric_has_a_meaning_and_is_named_as_prometheus_asks() -> None:
    found = catalogue()
    assert len({one.name for one in found}) == len(found)
    for one in found:
        assert one.meaning.endswith("."), one.name
        assert one.name.endswith("_total") == (one.type == "counter"), one.name


def test_no_metric_is_missing_from_the_catalogue() -> None:
    """Every name of a metric that the sources write down is in it."""
    known = {one.name.removesuffix("_total") for one in catalogue()}
    written = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in ("Counter", "Gauge", "Histogram", "Summary", "Info") and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and str(first.value).startswith("comptroller_"):
                    written.add(str(first.value).removesuffix("_total"))
    assert written == known


@pytest.mark.parametrize(
    "expression", [*(one.expression for one in EVERY_ALERT), *(one.expression for one in queries())]
)
def test_only_metrics_and_labels_that_exist_are_asked_for(expression: str) -> None:
    names = used_in(expression)
    assert names
    assert [name for name in names if name not in series()] == []
    for name, matchers in MATCHER.findall(expression):
        labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", matchers))
        assert labels <= {*series()[name].labels, *GIVEN}, name
    for labels_text in re.findall(r"(?:by|on|ignoring) \(([^)]*)\)", expression):
        every = {label for name in names for label in series()[name].labels}
        assert {one.strip() for one in labels_text.split(",")} <= every | GIVEN, expression


@pytest.mark.parametrize("alert", EVERY_ALERT, ids=lambda one: one.name)
def test_every_alert_has_a_page_that_says_what_to_do(alert: Alert) -> None:
    text = (RUNBOOKS / f"{alert.name}.md").read_text()
    assert text.startswith(f"# {alert.name}\n")
    assert "## What it means\n" in text
    assert "## What to do\n\n1. " in text
    for link in re.findall(r"\]\((\w+\.md)\)", text):
        assert (RUNBOOKS / link).exists()


def test_no_page_is_left_of_an_alert_that_is_gone() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {one.name for one in EVERY_ALERT}


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= WIDTH
        taken |= cells
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])
    assert all(panel.why.endswith(".") for panels in ROWS.values() for panel in panels)
