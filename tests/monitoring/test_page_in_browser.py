"""The operator's page in a real headless Chromium: wide and on a phone, light and dark, with honest and hostile names.

PAGE_PICTURES=DIR keeps what it looked like.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from comptroller.runtime.page import Page
from comptroller.runtime.server import serve
from e2e.browser.chromium import Tab, chromium
from e2e.browser.install import axe, browser
from tests.unit.report.page_data import data
from tests.unit.report.test_page import HOSTILE, hostile
from tests.unit.runtime.test_loop import World

PROGRAM = browser()
LOOKS = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "light"), "phone-dark": (360, "dark")}

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium is there: `make browser` installs one as root"),
    pytest.mark.timeout(180),
]


@dataclass(slots=True)
class Shown(Page):
    """The real page with given data."""

    told: dict[str, Any] = field(default_factory=data)

    def fresh(self) -> dict[str, Any]:
        return self.told


@asynccontextmanager
async def served(told: dict[str, Any]) -> AsyncIterator[tuple[str, Shown, web.AppRunner]]:
    world = World()
    page = Shown(world.context, world.loop.hours, world.loop.ledger, told=told)
    runner = await serve(0, CollectorRegistry(), dict, dict, list, pages=page.routes())
    port = next(one[1] for one in runner.addresses if len(one) == 2)
    try:
        yield f"http://127.0.0.1:{port}/", page, runner
    finally:
        await runner.cleanup()
        await page.close()


@asynccontextmanager
async def opened(told: dict[str, Any], folder: Path, look: str = "light") -> AsyncIterator[tuple[Tab, str, Shown]]:
    """The page in a browser, without a complaint and without a request to anybody else."""
    width, theme = LOOKS[look]
    assert PROGRAM is not None
    async with served(told) as (url, page, _), chromium(PROGRAM, folder) as tab:
        await tab.open(url, width, theme=theme)
        yield tab, url, page
        assert tab.complaints == []
        assert tab.dialogs == []
        assert [one for one in tab.requests if not one.startswith((url, "data:"))] == []


@pytest.mark.parametrize("look", LOOKS)
async def test_the_page_fits_its_screen_and_complains_of_nothing(look: str, tmp_path: Path) -> None:
    async with opened(data(), tmp_path, look) as (tab, _, _):
        assert await tab.ask("document.documentElement.scrollWidth") <= LOOKS[look][0]
        ground = await tab.ask("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(15, 19, 23)" if LOOKS[look][1] == "dark" else "rgb(246, 247, 249)")
        small = "[...document.querySelectorAll('p,td,th,li,dt,span')].filter((one) => one.textContent.trim()"
        assert await tab.ask(f"{small} && parseFloat(getComputedStyle(one).fontSize) < 12).length") == 0
        if folder := os.environ.get("PAGE_PICTURES"):
            await tab.picture(Path(folder) / f"page-{look}.png")


@pytest.mark.parametrize("look", LOOKS)
async def test_axe_finds_nothing(look: str, tmp_path: Path) -> None:
    if (program := axe()) is None:
        pytest.skip("axe-core is not there, and npm cannot fetch it")
    async with opened(data(), tmp_path, look) as (tab, _, _):
        await tab.ask(program.read_text() + ";0")
        found = await tab.ask("axe.run().then((one) => ({bad: one.violations, good: one.passes.length}))")
    assert found["good"] > 15
    assert [f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]}" for one in found["bad"]] == []


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_names_are_text(text: str, tmp_path: Path) -> None:
    async with opened(hostile(data(), text), tmp_path, "phone") as (tab, _, _):
        shown = await tab.ask("document.querySelector('[data-part=pools] h3').textContent")
        assert shown.split() == text.split()
        assert await tab.ask("document.scripts.length") == 1
        assert await tab.ask("document.documentElement.scrollWidth") <= LOOKS["phone"][0]


async def test_a_script_without_the_nonce_does_not_run(tmp_path: Path) -> None:
    async with opened(data(), tmp_path) as (tab, _, _):
        await tab.ask("document.body.append(Object.assign(document.createElement('script'), {text: 'var got = 1'})), 0")
        assert await tab.ask("typeof got") == "undefined"
        assert any("Content Security Policy" in one for one in tab.complaints)
        tab.complaints.clear()


async def test_it_refreshes_in_place_and_leaves_alone_what_is_being_read(tmp_path: Path) -> None:
    async with opened(data(), tmp_path) as (tab, _, page):
        await tab.ask("document.querySelector('[data-part=money] .wide').focus()")
        page.told = data(usdPerHour=99.5, money={})
        await tab.ask("refresh()")
        assert "$99.50" in await tab.ask("document.querySelector('[data-part=facts]').textContent")
        assert "$2,210" in await tab.ask("document.querySelector('[data-part=money]').textContent")
        await tab.ask("document.activeElement.blur(), refresh()")
        assert "being asked" in await tab.ask("document.querySelector('[data-part=money]').textContent")
        assert await tab.ask("document.getElementById('lost').hidden")


async def test_the_first_decision_appears_by_itself(tmp_path: Path) -> None:
    nothing = {"version": "0.1.0", "at": "2026-11-22T14:02:30Z", "atSeconds": 0.0}
    async with opened(nothing, tmp_path) as (tab, _, page):
        page.told = data()
        await tab.again("refresh()")
        assert "31.4 rps of extraction" in await tab.ask("document.body.textContent")


async def test_it_says_when_the_operator_is_gone_and_when_it_is_back(tmp_path: Path) -> None:
    assert PROGRAM is not None
    async with served(data()) as (url, page, runner), chromium(PROGRAM, tmp_path) as tab:
        await tab.open(url)
        assert not await tab.ask("document.getElementById('lost').checkVisibility()")
        await runner.cleanup()
        await tab.ask("refresh()")
        assert await tab.ask("document.getElementById('lost').checkVisibility()")
        assert "$14.10" in await tab.ask("document.body.textContent")
        again = await serve(int(url.rsplit(":", 1)[1][:-1]), CollectorRegistry(), dict, dict, list, pages=page.routes())
        try:
            await tab.ask("refresh()")
            assert not await tab.ask("document.getElementById('lost').checkVisibility()")
        finally:
            await again.cleanup()
