"""Charts and the page of a simulation: well-formed, complete, escaped, and nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from comptroller.report.charts import DARK, LIGHT, Bar, Line, alone, bars, lines, ticks
from comptroller.report.simulation_page import simulation_page

SVG = "{http://www.w3.org/2000/svg}"


def policy(usd: float, *, bound: float | None = 8.0, points: int = 3, hours: float = 12.0) -> dict[str, Any]:
    series = {
        "seconds": [600 * (number + 1) for number in range(points)],
        "requestsPerSecond": [10.0] * points,
        "usdPerHour": [usd / 12] * points,
        "replicas": [[1, number] for number in range(points)],
        "pools": ["ns/small", "ns/<large>"],
    }
    figures = {
        "objectiveUsd": usd,
        "objectiveUsdPerDay": 24 * usd / hours,
        "boundUsd": bound,
        "aboveBoundPercent": None if bound is None else 100 * (usd / bound - 1),
        "powerUsd": usd / 2,
        "hostedUsd": usd / 4,
        "penaltyUsd": {"missed": usd / 8, "blocked": usd / 8},
        "sloAttainment": 0.999,
        "blockedRatio": 0.0001,
        "insideRatio": None,
        "replicaMoves": 12,
        "directionFlips": 3,
        "sovereigntyViolations": 0,
        "decisionSeconds": {"p50": 0.01, "p99": 0.02, "max": 0.03},
        "hours": hours,
        "confidence95": {},
    }
    return {**figures, "runs": [{"day": 7, "seed": 1, **figures, "series": series}]}


def result(**policies: dict[str, Any]) -> dict[str, Any]:
    return {
        "scenario": "mine & <yours>",
        "comptroller": "0.1.0",
        "demand": {"file": "days.csv.gz", "load": 1.0, "days": [7]},
        "seeds": [1],
        "tickSeconds": 60.0,
        "perturbations": [],
        "bound": [{"day": 7, "seed": 1, "usd": 8.0}],
        "policies": policies,
    }


class Tags(HTMLParser):
    """Which tags are open at the end, and every attribute that was seen."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_names_the_cheapest_first_and_how_far_the_next_is() -> None:
    page = simulation_page(result(dear=policy(12.0), cheap=policy(10.0)))
    assert "cheap is the cheapest of 2: $20.00 a day, 25.0 % above the least" in page
    assert "dear follows, 20.0 % dearer." in page
    assert page.index("<td>cheap</td>") < page.index("<td>dear</td>") < page.index("<td>hindsight bound</td>")
    assert "<td>16.00</td>" in page  # the bound a day
    assert page.count("<svg") == 1 + 1 + 2 * 2  # bars, demand, dollars and replicas of each


def test_the_page_is_well_formed_escaped_and_needs_nothing_from_elsewhere() -> None:
    page = simulation_page(result(**{"<script>alert(1)</script>": policy(10.0), "b": policy(11.0)}))
    tags = Tags(page)
    assert tags.open == []
    assert "<script" not in page
    assert "&lt;large&gt;" in page
    assert not [name for name, _ in tags.attributes if name in ("src", "href") or name.startswith("on")]
    assert "url(" not in page
    assert "prefers-color-scheme:dark" in page


@pytest.mark.parametrize("bound", [None, 8.0])
def test_a_run_too_short_for_points_still_has_a_page(bound: float | None) -> None:
    found = result(only=policy(10.0, bound=bound, points=0))
    found["bound"] = [] if bound is None else found["bound"]
    page = simulation_page(found)
    assert "only costs $20.00 a day" in page
    assert "too short for a chart" in page


def test_what_went_wrong_is_said() -> None:
    found = {**result(only=policy(10.0)), "perturbations": [{"kind": "nodeLost"}]}
    assert "what went wrong: nodeLost" in simulation_page(found)


def test_parts_of_a_bar_stand_one_after_the_other_on_one_scale() -> None:
    drawn = ElementTree.fromstring(bars("t", [Bar("a", (10.0, 30.0), "40"), Bar("b", (20.0, 0.0))], ("x", "y")))
    found = [one for one in drawn.iter(f"{SVG}rect") if one.get("height") == "16"]
    widths = [float(one.get("width") or 0) for one in found]
    assert widths == pytest.approx([widths[0], 3 * widths[0], 2 * widths[0]], abs=0.4)
    assert float(found[1].get("x") or 0) == pytest.approx(float(found[0].get("x") or 0) + widths[0], abs=0.2)


def test_an_outlier_is_cut_and_says_so() -> None:
    drawn = bars("t", [Bar("a", (10.0,), "10"), Bar("b", (900.0,), "900")], ("x",), ("bound", 9.0))
    found = ElementTree.fromstring(drawn)
    widths = [float(one.get("width") or 0) for one in found.iter(f"{SVG}rect") if one.get("height") == "16"]
    assert widths[1] == pytest.approx(4 * widths[0], abs=0.3)
    assert "» 900" in drawn
    assert "dashed: bound" in drawn


def test_lines_go_up_where_values_do() -> None:
    drawn = ElementTree.fromstring(lines("t", [Line("a", ((0.0, 0.0), (1.0, 5.0))), Line("b", ((0.0, 1.0),))]))
    (path, _) = [one.get("d") or "" for one in drawn.iter(f"{SVG}path") if "l" in (one.get("class") or "").split()]
    (_, low), (_, high) = re.findall(r"([\d.]+) ([\d.]+)", path)
    assert float(high) < float(low)


def test_a_chart_of_its_own_carries_its_colours() -> None:
    drawn = alone(lines("a & b", [Line("a", ((0.0, 1.0), (2.0, 1.0)))]))
    assert ElementTree.fromstring(drawn).tag == f"{SVG}svg"
    assert LIGHT[0] in drawn
    assert DARK[0] in drawn


@pytest.mark.parametrize(
    ("top", "last"), [(130.0, 150.0), (0.0, 1.0), (5.0, 5.0), (0.013, 0.014), (24.0, 25.0), (float("nan"), 1.0)]
)
def test_ticks_are_round_and_reach_the_top(top: float, last: float) -> None:
    found = ticks(top)
    assert found[0] == 0.0
    assert found[-1] >= (top if top == top else 0.0) - 1e-9
    assert 2 <= len(found) <= 8
    assert found[-1] == pytest.approx(last, rel=0.3)
