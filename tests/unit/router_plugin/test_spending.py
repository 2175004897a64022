"""What is spent of budgets: the sum of what was settled, not refused below the limit, overshot by what is in flight."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from comptroller.router_plugin import keep
from comptroller.router_plugin.budget import Counter
from comptroller.router_plugin.charge import Charge
from comptroller.router_plugin.config import Config, ConfigError
from comptroller.router_plugin.keep import Keeper
from comptroller.router_plugin.spending import Spending

NOON = 1_795_348_800.0  # 2026-11-22 12:00 UTC
DAY = 86_400.0
PRICE = 1e-3  # US dollars per output token outside; input costs nothing here
PREFIX = "comptroller_router_budget"


def budget(usd: float, tenant: str | None = "a", way: str = "degrade", **more: Any) -> dict[str, Any]:
    standard = {"period": "day", "time_zone": "UTC", "parts": 1, "mine": 1}
    return {"tenant": tenant, "usd": str(usd), "on_exhausted": way, **standard, **more}


def config(*budgets: dict[str, Any], redis: str | None = None) -> Config:
    def entry(route: str, pool: str, price: float) -> dict[str, Any]:
        params = {"input_cost_per_token": 0.0, "output_cost_per_token": price}
        return {"model_name": route, "litellm_params": params, "model_info": {"id": f"ai/{pool}/{route}"}}

    models = [entry("chat", "own", 0.0), entry("chat", "api", PRICE), entry("far", "api", PRICE)]
    section = {
        "policy": "ai/policy", "kind": "open", "routes": [{"name": "chat"}, {"name": "far"}], "outside": ["ai/api"],
        "budgets": list(budgets), "redis": redis,
    }  # fmt: skip
    return Config.parse(json.dumps({"model_list": models, "x_comptroller": section}))


@dataclass
class Clock:
    now: float = NOON

    def __call__(self) -> float:
        return self.now


def spending(*budgets: dict[str, Any], clock: Callable[[], float] | None = None, **more: Any) -> Spending:
    return Spending(config(*budgets, **more), clock or Clock())


def charge(books: Spending, tenant: str = "a", tokens: int = 100, route: str = "chat") -> Charge:
    return Charge(books, tenant, route, {"max_tokens": tokens}, 0)


def nothing_booked(*_: Any) -> None:
    raise AssertionError("nothing was to be booked")


class TestWays:
    def test_degrade_leaves_the_backends_inside(self) -> None:
        books = spending(budget(1.0))
        both = ["ai/own/chat", "ai/api/chat"]
        assert books.permitted("a", both) == both
        books.spend("a", "ai/api", 1.0)
        assert books.permitted("a", both) == ["ai/own/chat"]
        assert books.refusal("a", "chat") is None
        assert books.permitted("b", both) == both

    def test_degrade_refuses_a_route_that_has_nothing_inside(self) -> None:
        books = spending(budget(1.0))
        books.spend("a", "ai/api", 1.25)
        refusal = books.refusal("a", "far")
        assert refusal is not None
        error = json.loads(refusal.body())["error"]
        assert (refusal.status, error["type"], error["code"]) == (429, "insufficient_quota", "insufficient_quota")
        assert error["message"] == (
            "the budget of tenant a is spent: $1.25 of $1.00 per day. Route far has no backend inside: add a local "
            "pool to it, or wait: it begins anew at 2026-11-23T00:00+00:00"
        )
        assert refusal.headers["retry-after"] == "43200"

    def test_reject_refuses_every_route(self) -> None:
        books = spending(budget(1.0, way="reject"))
        books.spend("a", "ai/own", 1.0)
        assert [books.refusal("a", one) is None for one in ("chat", "far")] == [False, False]
        assert books.permitted("a", ["ai/own/chat"]) == []
        assert books.refusal("b", "chat") is None

    def test_alert_only_counts_and_goes_on(self) -> None:
        books = spending(budget(1.0, way="alertOnly"))
        books.spend("a", "ai/api", 5.0)
        assert books.refusal("a", "far") is None
        assert books.permitted("a", ["ai/api/far"]) == ["ai/api/far"]
        assert [one.spent for one in books.counters.values()] == [5.0]

    def test_the_policys_budget_holds_for_everybody(self) -> None:
        books = spending(budget(1.0, tenant=None, way="reject"), budget(100.0))
        books.spend("b", "ai/api", 1.0)
        assert books.refusal("a", "chat") is not None
        assert "the budget of the policy is spent" in books.refusal("a", "chat").message  # type: ignore[union-attr]
        assert {one.budget.tenant: one.spent for one in books.counters.values()} == {None: 1.0, "a": 0.0}

    def test_a_part_is_what_a_process_may_spend_and_it_says_so(self) -> None:
        books = spending(budget(100.0, way="reject", parts=4))
        books.spend("a", "ai/api", 25.0)
        refusal = books.refusal("a", "chat")
        assert refusal is not None
        assert "$25.00 of $25.00 (this router's part of $100.00) per day" in refusal.message

    @pytest.mark.parametrize(
        "wrong",
        [{"usd": "much"}, {"period": "year"}, {"time_zone": "Middle/Earth"}, {"on_exhausted": "go"}, {"mine": 2}],
    )
    def test_a_budget_that_cannot_be_read_is_not_put_into_force(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            config({**budget(1.0), **wrong})


class TestPeriods:
    def test_a_new_period_begins_with_nothing_spent(self) -> None:
        clock = Clock()
        books = spending(budget(1.0, way="reject"), clock=clock)
        books.spend("a", "ai/api", 2.0)
        clock.now += DAY / 2 - 1
        assert books.refusal("a", "chat") is not None
        clock.now += 1
        assert books.refusal("a", "chat") is None
        assert books.counters["a|day|UTC"].spent == 0.0

    def test_a_clock_that_is_put_back_a_little_does_not_begin_the_last_period_again(self) -> None:
        clock = Clock(NOON + DAY / 2 + 1)
        books = spending(budget(1.0, way="reject"), clock=clock)
        books.spend("a", "ai/api", 2.0)
        clock.now -= 60
        assert books.refusal("a", "chat") is not None

    def test_a_raised_budget_keeps_what_is_spent(self) -> None:
        books = spending(budget(1.0, way="reject"))
        books.spend("a", "ai/api", 2.0)
        books.adopt(config(budget(3.0, way="reject")))
        assert books.refusal("a", "chat") is None
        assert books.counters["a|day|UTC"].room == pytest.approx(1.0)

    def test_a_budget_that_is_gone_binds_nobody(self) -> None:
        books = spending(budget(1.0, way="reject"))
        books.spend("a", "ai/api", 2.0)
        books.adopt(config())
        assert books.refusal("a", "chat") is None


class TestCharges:
    def test_requests_in_flight_see_each_other(self) -> None:
        books = spending(budget(1.0))
        first = charge(books, tokens=1000)
        assert first.permitted(["ai/own/chat", "ai/api/chat"]) == ["ai/own/chat", "ai/api/chat"]
        first.take("ai/api/chat")
        assert charge(books).permitted(["ai/own/chat", "ai/api/chat"]) == ["ai/own/chat"]
        first.settle("ai/api/chat")
        assert charge(books).permitted(["ai/own/chat", "ai/api/chat"]) == ["ai/own/chat", "ai/api/chat"]

    def test_who_has_no_backend_left_is_told_why(self) -> None:
        books = spending(budget(1.0))
        books.spend("a", "ai/api", 1.0)
        asked = charge(books, route="far")
        assert asked.permitted(["ai/api/far"]) == []
        assert asked.refusal is not None
        assert asked.refusal.code == "insufficient_quota"

    def test_a_failed_answer_gives_its_reservation_back(self) -> None:
        books = spending(budget(1.0))
        asked = charge(books, tokens=1000)
        asked.take("ai/api/chat")
        asked.close(produced=False, pieces=0, book=nothing_booked)
        assert books.counters["a|day|UTC"].room == pytest.approx(1.0)

    def test_an_answer_that_nobody_reports_is_charged_by_what_passed_and_only_once(self) -> None:
        books, booked = spending(budget(1.0)), []

        async def left() -> None:
            asked = Charge(books, "a", "chat", {}, 400)
            asked.take("ai/api/chat")
            asked.close(produced=True, pieces=7, book=lambda *what: booked.append(what))
            asked.overdue(lambda *what: booked.append(what))
            asked.overdue(lambda *what: booked.append(what))
            assert not asked.settle("ai/api/chat")  # LiteLLM's report, which comes after all

        asyncio.run(left())
        assert booked == [("ai/api/chat", "a", 100, 7)]
        assert books.counters["a|day|UTC"].reserved == 0.0

    def test_a_judges_answer_settles_nothing_of_the_request(self) -> None:
        books = spending(budget(1.0))
        asked = charge(books, tokens=500)
        asked.take("ai/api/chat")
        assert asked.settle("ai/api/judge")
        assert books.counters["a|day|UTC"].reserved == pytest.approx(0.5)


class Requests(RuleBasedStateMachine):
    """Requests of one tenant that come, are answered at whatever cost, fail, and are left."""

    LIMIT = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.books = spending(budget(self.LIMIT), budget(3 * self.LIMIT, tenant=None, way="reject"))
        self.flying: list[Charge] = []
        self.settled = 0.0
        self.in_flight_at_limit: float | None = None

    @property
    def own(self) -> Counter:
        return self.books.counters["a|day|UTC"]

    @rule(tokens=st.integers(0, 400))
    def comes(self, tokens: int) -> None:
        asked = charge(self.books, tokens=tokens)
        before = self.own.spent + self.own.reserved
        left = asked.permitted(["ai/own/chat", "ai/api/chat"])
        # never below the limit, always at it
        assert ("ai/api/chat" in left) is (before < self.LIMIT)
        if "ai/api/chat" in left:
            asked.take("ai/api/chat")
            self.flying.append(asked)

    @precondition(lambda self: self.flying)
    @rule(usd=st.floats(0.0, 0.4), index=st.integers(0, 100))
    def is_answered(self, usd: float, index: int) -> None:
        asked = self.flying.pop(index % len(self.flying))
        if asked.settle("ai/api/chat"):
            self.books.spend("a", "ai/api", usd)
            self.settled += usd
        asked.close(produced=True, pieces=0, book=nothing_booked)

    @precondition(lambda self: self.flying)
    @rule(index=st.integers(0, 100))
    def fails(self, index: int) -> None:
        self.flying.pop(index % len(self.flying)).close(produced=False, pieces=0, book=nothing_booked)

    @invariant()
    def what_is_spent_is_what_was_settled(self) -> None:
        assert [one.spent for one in self.books.counters.values()] == pytest.approx([self.settled] * 2)

    @invariant()
    def nothing_stays_reserved(self) -> None:
        assert self.own.reserved >= 0.0
        if not self.flying:
            assert self.own.reserved == pytest.approx(0.0, abs=1e-9)


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.floats(0.01, 10.0), st.lists(st.floats(0.001, 2.0), max_size=60))
def test_what_is_overshot_was_in_flight(limit: float, costs: list[float]) -> None:
    """With estimates that come true, no more than the last request that was admitted."""
    books = spending(budget(limit))
    for cost in costs:
        asked = charge(books, tokens=round(cost / PRICE))
        if "ai/api/chat" in asked.permitted(["ai/api/chat"]):
            asked.take("ai/api/chat")
    counter = books.counters["a|day|UTC"]
    assert counter.reserved < limit + max(costs, default=0.0) + PRICE


@dataclass
class Hash:
    """A Redis hash that may be emptied."""

    fields: dict[str, float] = field(default_factory=dict)

    def beat(self, counter: Counter, process: str) -> None:
        if counter.own:
            self.fields[process] = counter.own
        self.fields |= counter.merge(dict(self.fields), process)


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["spend", "beat", "away", "empty"])), max_size=60))
def test_processes_that_share_agree_in_the_end_and_count_nothing_twice(steps: list[tuple[int, str]]) -> None:
    """Whatever is lost, late or repeated: after two rounds of beats everybody has the sum of all."""
    shared = Hash()
    all_books = [spending(budget(10.0, parts=3, mine=3), redis="redis://x") for _ in range(3)]
    counters = [one.counters["a|day|UTC"] for one in all_books]
    spent = 0.0
    for process, what in steps:
        if what == "spend":
            all_books[process].spend("a", "ai/api", 0.25)
            spent += 0.25
        elif what == "beat":
            shared.beat(counters[process], str(process))
        elif what == "away":
            counters[process].alone = True
        else:
            shared.fields.clear()
    for _ in range(2):
        for process, counter in enumerate(counters):
            shared.beat(counter, str(process))
    assert [one.spent for one in counters] == pytest.approx([spent] * 3)


def test_while_redis_is_away_each_may_spend_its_part_of_what_was_left() -> None:
    books = spending(budget(100.0, way="reject", parts=4, mine=4), redis="redis://x")
    counter = books.counters["a|day|UTC"]
    assert counter.alone
    assert counter.room == pytest.approx(25.0)
    counter.merge({"other": 60.0}, books.process)
    assert counter.room == pytest.approx(40.0)
    counter.alone = True
    assert counter.room == pytest.approx(10.0)
    books.spend("a", "ai/api", 10.0)
    assert books.refusal("a", "chat") is not None
    counter.merge({"other": 62.0}, books.process)
    assert counter.spent == pytest.approx(72.0)
    assert books.refusal("a", "chat") is None


class TestFile:
    def test_a_process_goes_on_where_the_last_one_ended(self, tmp_path: Path) -> None:
        async def live() -> None:
            books = spending(budget(5.0))
            books.spend("a", "ai/api", 2.5)
            await Keeper(books, str(tmp_path / "spending.json")).close()

        asyncio.run(live())
        books = spending(budget(5.0))
        Keeper(books, str(tmp_path / "spending.json"))
        assert books.counters["a|day|UTC"].spent == 2.5

    def test_a_file_of_another_day_says_nothing_of_this_one(self, tmp_path: Path) -> None:
        async def live() -> None:
            books = spending(budget(5.0), clock=Clock(NOON - DAY))
            books.spend("a", "ai/api", 2.5)
            await Keeper(books, str(tmp_path / "spending.json")).close()

        asyncio.run(live())
        books = spending(budget(5.0))
        Keeper(books, str(tmp_path / "spending.json"))
        assert books.counters["a|day|UTC"].spent == 0.0

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"policy": "ai/policy", "counters": 3, "process": 1}'])
    def test_a_file_that_cannot_be_read_keeps_nobody_from_starting(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "spending.json").write_text(text)
        books = spending(budget(5.0))
        Keeper(books, str(tmp_path / "spending.json"))
        assert books.counters["a|day|UTC"].spent == 0.0

    def test_a_write_that_fails_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "spending.json"
        keep.replace_file(path, "old")

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(keep.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            keep.replace_file(path, "new")
        assert path.read_text() == "old"
