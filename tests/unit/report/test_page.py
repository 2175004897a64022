"""The operator's page as HTML: whatever names it is given, it stays one page that needs nothing and hides nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.report.page import page_html
from comptroller.report.page_chart import demand_chart, said
from comptroller.report.page_style import STYLE
from tests.unit.report.page_data import data

NONCE = "n0nce"
ELEMENTS = {
    "html", "head", "meta", "title", "link", "style", "script", "body", "header", "main", "footer", "section",
    "article", "div", "span", "p", "b", "i", "a", "h1", "h2", "h3", "ul", "ol", "li", "dl", "dt", "dd", "strong",
    "table", "thead", "tbody", "tr", "th", "td", "svg", "path", "rect", "text",
}  # fmt: skip
VOID = {"meta", "link", "path", "rect"}
HOSTILE = (
    '<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "</style></script>",
    "{{7*7}}", "javascript:alert(1)", "\u202egpj.exe", "a" * 5000,
)  # fmt: skip


class Page(HTMLParser):
    """The elements of a page with their attributes, and whether they are closed as they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]


def check(text: str) -> Page:
    """What holds for every page."""
    page = Page(text)
    assert page.open == []
    assert {tag for tag, _ in page.found} <= ELEMENTS
    for _, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "srcset")]
    assert [one["nonce"] for one in page.all("script", "style")] == [NONCE, NONCE]
    assert {one["href"] for one in page.all("a")} == {"page.json"}
    assert all(str(one["href"]).startswith("data:") for one in page.all("link"))
    return page


def hostile(value: Any, text: str) -> Any:
    """The same data with every name and sentence, also of mappings, replaced; times and numbers stay."""
    if isinstance(value, dict):
        return {
            (key if key.isidentifier() else text): (one if key == "label" else hostile(one, text))
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [hostile(one, text) for one in value]
    return text if isinstance(value, str) else value


def test_the_page_is_well_formed_and_carries_its_nonce() -> None:
    check(page_html(data(), NONCE))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_becomes_an_element_an_attribute_or_a_script(text: str) -> None:
    honest, attacked = check(page_html(data(), NONCE)), check(page_html(hostile(data(), text), NONCE))
    assert {tag for tag, _ in attacked.found} <= {tag for tag, _ in honest.found}


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_whatsoever_breaks_out(text: str) -> None:
    check(page_html(hostile(data(), text), NONCE))


def test_it_can_be_read_without_seeing_it() -> None:
    page = check(page_html(data(), NONCE))
    assert page.all("html") == [{"lang": "en"}]
    assert (len(page.all("main")), len(page.all("header")), len(page.all("footer"))) == (1, 1, 1)
    levels = [int(tag[1]) for tag, _ in page.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for section in page.all("section"):
        assert section.get("aria-labelledby", ids[0]) in ids
    assert all(one.get("scope") in ("col", "row") for one in page.all("th"))
    for tag, attributes in page.found:
        if attributes.get("role") == "img":
            assert attributes.get("aria-label")
        elif tag == "svg":
            assert attributes.get("aria-hidden") == "true"


def luminance(colour: str) -> float:
    """Of a colour of three or six hexadecimal digits, as WCAG 2 defines it."""
    digits = colour.lstrip("#")
    digits = "".join(2 * one for one in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_have_the_contrast_that_people_need(theme: int) -> None:
    block = re.findall(r":root\{([^}]*)\}", STYLE)[theme]
    colours = dict(re.findall(r"--([\w-]+):(#\w+)", block))
    for text in ("text", "soft", "bad"):
        for ground in ("card", "page", "warn-page"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    graphics = [name for name in colours if re.fullmatch(r"c\d", name)] + ["inside", "spill", "bad", "others"]
    for name in graphics:
        assert contrast(colours[name], colours["card"]) >= 3.0, name
    assert contrast(colours["c0"], colours["page"]) >= 4.5  # links


def test_numbers_are_those_of_the_data() -> None:
    text = page_html(data(), NONCE)
    for words in (
        "$14.10", "$10,200 (82%)", "0 of 54 restricted answers left the premises", "inference/qwen3-32b-h100 6",
        "31.4 rps of extraction and planning need 3.4 replicas", "$88.00 of $100 (88%)", "exhausted",
        "what is spent is unknown", "#128", "$14.60/h spent", "gpu-a1: 4 inference/qwen3-32b-h100, 2 others, 2 free",
    ):  # fmt: skip
        assert words in text


def test_not_knowing_is_said_and_is_never_a_zero() -> None:
    unknown = [[one[0], None, None, None, 9.0] for one in data()["hours"]]
    text = page_html(data(hours=unknown, money={}), NONCE)
    assert text.count("<dd>unknown</dd>") == 3
    assert "No demand is known yet." in text
    assert "Prometheus is being asked" in text


def test_data_that_left_is_shown_as_what_it_is() -> None:
    money = data()["money"]
    left = {**money, "month": {**money["month"], "restrictedLeft": 2.0}}
    assert '<p class="bad">2 of 54 restricted answers left the premises this month.</p>' in page_html(
        data(money=left), NONCE
    )


def test_before_the_first_decision_there_is_a_page_too() -> None:
    text = page_html({"version": "0.1.0", "at": "2026-11-22T14:02:30Z", "atSeconds": 0.0}, NONCE)
    check(text)
    assert "Nothing is decided yet" in text


def test_what_is_unknown_leaves_a_gap_in_the_chart() -> None:
    chart = demand_chart(data()["hours"])
    assert chart.count('class="inside"') == 2
    assert said(data()["hours"]) in chart


RATE = st.one_of(st.none(), st.floats(0, 1e9))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e6), RATE, RATE, RATE, st.floats(0, 1e6)), max_size=40))
def test_no_chart_leaves_its_frame(rows: list[tuple[float | None, ...]]) -> None:
    ordered = sorted(([1.8e9 + (one[0] or 0.0), *one[1:]] for one in rows), key=lambda one: one[0] or 0.0)
    chart = demand_chart(ordered)
    for path in re.findall(r' d="([^"]*)"', chart):
        numbers = [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", path)]
        assert all(-0.5 <= one <= 440.5 for one in numbers), path
