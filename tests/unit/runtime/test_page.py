"""The operator's page: its data out of real rounds, its headers, its memory that does not grow, its books."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from comptroller.allocation.snapshot import Unknown
from comptroller.api.settings import Settings
from comptroller.observe.node_map import node_map
from comptroller.runtime import books as books_module
from comptroller.runtime import page as page_module
from comptroller.runtime.books import Books
from comptroller.runtime.hours import MOST_POINTS, Hours, point_of
from comptroller.runtime.page import MOST_POOLS, Page
from comptroller.runtime.server import serve
from tests.unit.kube import build
from tests.unit.runtime.test_loop import World

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC).timestamp()


class History:
    """A Prometheus in which every counter of one route grew by 1 in each day, so that money has something to count."""

    def __init__(self, *_: Any) -> None:
        self.asked: list[tuple[str, float, float]] = []
        self.unknown = False

    def close(self) -> None:
        pass

    async def query_range(
        self, expression: str, labels: Sequence[str], start: float, end: float, step: float
    ) -> dict[tuple[str, ...], tuple[tuple[float, float], ...]] | Unknown:
        self.asked.append((expression, start, end))
        if self.unknown:
            return Unknown("Prometheus cannot be reached")
        of_label = {
            "policy": "ai/research", "route": "chat", "tenant": "red", "pool": "ai/api", "outcome": "ok",
            "namespace": "ai", "basis": "marginal", "kind": "input", "gpu_class": "h100",
        }  # fmt: skip
        if "pool_usd" in expression or "gpu_hours" in expression:
            return {}
        amount = 1e6 if "tokens" in expression else 1.0
        return {tuple(of_label.get(one, "") for one in labels): ((start, 0.0), (end, amount))}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(books_module, "PrometheusSource", History)
    return World()


def page_of(world: World) -> Page:
    return Page(world.context, world.loop.hours, world.loop.ledger)


async def test_the_page_tells_what_was_decided_and_is_plain_data(world: World) -> None:
    for name in ("big-0", "big-1"):
        world.api.put(build.engine_pod(name))
    world.api.put(build.foreign_pod(gpus=3))
    await world.round(1.0)
    page = page_of(world)
    found = json.loads(json.dumps(page.data()))
    await page.close()
    assert found["decision"]["rung"] == "milp"
    (gpu,) = found["gpus"]
    assert (gpu["class"], gpu["available"], gpu["held"]) == ("h100", 5.0, 2)
    assert gpu["nodes"] == [
        {"name": "node-1", "usable": True, "gpus": 8, "pools": {"ai/big": 2}, "others": 3, "free": 3}
    ]
    assert {one["name"]: one["hosted"] for one in found["pools"]} == {"ai/api": True, "ai/big": False}
    assert [one["route"] for one in found["routes"]] == ["chat"]
    assert found["hours"][-1][1] + found["hours"][-1][2] == pytest.approx(1.0)


async def test_before_the_first_round_there_is_nothing_to_tell(world: World) -> None:
    page = page_of(world)
    assert set(page.data()) == {"version", "at", "atSeconds"}
    await page.close()


async def test_an_unknown_demand_is_unknown_and_a_problem(world: World) -> None:
    await world.round(None)
    page = page_of(world)
    found = page.data()
    await page.close()
    assert found["hours"][-1][1:4] == [None, None, None]
    assert any("Prometheus cannot be reached" in one for one in found["problems"])


async def test_no_secret_and_no_key_of_a_secret_is_told(world: World) -> None:
    await world.round(1.0)
    page = page_of(world)
    text = json.dumps(page.data())
    await page.close()
    for word in ("secret", "Secret", "research-keys", "api-key", "anthropic"):
        assert word not in text


async def test_many_pools_are_cut_and_counted(world: World) -> None:
    for number in range(MOST_POOLS + 5):
        world.api.put(build.hosted_pool(f"api-{number:03}", uid=f"u{number}"))
    await world.round(1.0)
    page = page_of(world)
    found = page.data()
    await page.close()
    assert (len(found["pools"]), found["morePools"]) == (MOST_POOLS, 7)


async def test_budgets_are_those_of_the_status(world: World) -> None:
    told = {"budgetUsd": "100", "spentUsd": "88.5", "resetsAt": "2026-11-23T00:00:00Z", "state": "Near"}
    status = {"tenants": [{"name": "red", **told}, {"name": "free"}], "spending": {"budgetUsd": "500"}}
    world.api.put({**build.policy(version=900), "status": status})
    await world.round(1.0)
    page = page_of(world)
    budgets = page.data()["budgets"]
    await page.close()
    assert [(one["tenant"], one["spentUsd"], one["state"]) for one in budgets] == [
        ("", None, None),
        ("red", 88.5, "Near"),
    ]


async def test_the_memory_of_the_hours_does_not_grow(world: World) -> None:
    picture = await world.round(1.0)
    hours = Hours()
    for second in range(0, 60 * (MOST_POINTS + 50), 15):
        hours.record(replace(picture, at_seconds=float(second)))
    assert len(hours.all()) == MOST_POINTS
    ats = [one.at_seconds for one in hours.all()]
    assert ats == sorted(ats)
    assert ats[-1] - ats[-2] == 60.0
    assert point_of(picture).usd_per_hour == picture.decision.usd_per_hour


async def served(page: Page | None) -> tuple[int, dict[str, str], str]:
    ok = {"ok": True}
    routes = page.routes() if page else ()
    runner = await serve(0, CollectorRegistry(), lambda: ok, lambda: ok, list, pages=routes)
    try:
        port = next(one[1] for one in runner.addresses if len(one) == 2)
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
            return answer.status, dict(answer.headers), await answer.text()
    finally:
        await runner.cleanup()


async def test_the_page_lets_nothing_in_and_nothing_out(world: World) -> None:
    await world.round(1.0)
    page = page_of(world)
    status, headers, text = await served(page)
    _, again, _ = await served(page)
    await page.close()
    assert status == 200
    policy = headers["Content-Security-Policy"]
    (nonce,) = set(re.findall(r"'nonce-([^']+)'", policy))
    assert re.findall(r'nonce="([^"]+)"', text) == [nonce, nonce]
    assert nonce not in again["Content-Security-Policy"]
    for rule in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
        assert rule in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"


async def test_many_who_look_at_once_cost_one_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(page_module, "monotonic_seconds", lambda: now[0])
    page = page_of(world)
    assert "decision" not in page.fresh()
    await world.round(1.0)
    now[0] = 0.9
    assert "decision" not in page.fresh()
    now[0] = 1.1
    assert page.fresh()["decision"]["rung"] == "milp"
    await page.close()


async def test_it_is_off_until_it_is_asked_for() -> None:
    assert not Settings().page.enabled
    status, _, _ = await served(None)
    assert status == 404


def test_a_node_is_shown_with_who_holds_its_gpus() -> None:
    world = World()
    world.api.put(build.node("node-2", gpus=4, cordoned=True))
    world.api.put(build.engine_pod("other-0", pool="other", gpus=2, node="node-2"))
    world.api.put(build.engine_pod("done", gpus=2, node="node-2", phase="Succeeded"))
    world.api.put(build.engine_pod("waiting", node=""))
    found = node_map(world.api.store, Settings().gpu_classes)
    assert list(found) == ["h100"]
    first, second = found["h100"]
    assert (first.name, first.free, dict(first.pools)) == ("node-1", 8, {})
    assert (second.usable, dict(second.pools), second.others, second.free) == (False, {"ai/other": 2}, 0, 2)


async def test_the_books_are_those_of_the_report_and_days_that_are_over_are_read_once(world: World) -> None:
    books = Books(world.api.store, Settings())
    history: Any = books.source
    found = await books.read(NOON)
    assert (found["today"]["spentUsd"], found["month"]["spentUsd"]) == (1.0, 3.0)
    # a million prompt tokens a day at $3.00
    assert (found["today"]["baselineUsd"], found["month"]["baselineUsd"]) == (3.0, 9.0)
    assert found["month"]["savedRatio"] == pytest.approx(2 / 3)
    asked = len(history.asked)
    await books.read(NOON + 60)
    begins = {start for _, start, _ in history.asked[asked:]}
    assert begins == {datetime(2026, 11, 3, tzinfo=UTC).timestamp()}
    await books.close()


async def test_what_prometheus_does_not_tell_is_not_kept(world: World) -> None:
    books = Books(world.api.store, Settings())
    history: Any = books.source
    history.unknown = True
    found = await books.read(NOON)
    assert any("cannot be reached" in one for one in found["month"]["unknown"])
    history.unknown = False
    assert (await books.read(NOON))["month"]["spentUsd"] == 3.0
    await books.close()


async def test_the_books_of_other_fleets_are_left_out(world: World) -> None:
    books = Books(world.api.store, Settings(watch_namespaces=["elsewhere"]))
    assert (await books.read(NOON))["month"]["spentUsd"] == 0.0
    await books.close()


async def test_without_anything_to_compare_with_it_says_so() -> None:
    world = World()
    world.api.store.remove(books_module.MODEL_POOL, world.api.store.get(books_module.MODEL_POOL, ("ai", "api")) or {})
    books = Books(world.api.store, Settings())
    books.source.close()
    books.source = History()  # type: ignore[assignment]
    assert "baseline.pool" in (await books.read(NOON))["why"]
