"""Reading the books: counters grow as they were counted, over restarts, new pods and midnight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from comptroller.allocation.snapshot import Unknown
from comptroller.economics.accounts import increase
from comptroller.observe.accounts import QUESTIONS, days, read_accounts
from comptroller.observe.prometheus import History, PrometheusSource

DAY = 86_400.0


class Source:
    """Answers from samples per counter; refuses what is too large, as the real one does."""

    def __init__(self, counters: dict[str, History | Unknown], most_points: int = 10_000) -> None:
        self.counters, self.most_points = counters, most_points
        self.asked: list[tuple[str, float, float, float]] = []

    async def query_range(
        self, expression: str, labels: Sequence[str], start: float, end: float, step: float
    ) -> History | Unknown:
        self.asked.append((expression, start, end, step))
        if (end - start) / step > self.most_points:
            return Unknown("Prometheus gave more than 200000 samples")
        name = next(one for one in self.counters if one in expression) if self.counters else ""
        found = self.counters.get(name, {})
        if isinstance(found, Unknown):
            return found
        return {key: tuple(one for one in samples if start <= one[0] <= end) for key, samples in found.items()}


async def read(source: Source, start: float, end: float) -> list[dict[tuple[str, ...], float]]:
    return [dict(one.usd) for one in await read_accounts(cast(PrometheusSource, source), start, end)]


KEY = ("ai/desk", "chat", "red", "ai/api")


def only_usd(history: History) -> dict[str, History | Unknown]:
    return {name: history if part == "usd" else {} for part, (name, _) in QUESTIONS.items()}


async def test_routers_are_added_up_and_a_restart_loses_nothing_that_was_seen() -> None:
    history = {
        (*KEY, "a"): ((0.0, 5.0), (300.0, 7.0), (600.0, 1.0)),
        (*KEY, "b"): ((300.0, 2.0), (600.0, 4.0)),
    }
    assert await read(Source(only_usd(history)), 0.0, 600.0) == [{KEY: 2.0 + 1.0 + 4.0}]


async def test_days_are_cut_at_midnight_and_add_up_to_the_whole() -> None:
    samples = tuple((300.0 * number, 1.0 * number) for number in range(577))
    found = await read(Source(only_usd({(*KEY, "a"): samples})), 0.0, 2 * DAY)
    assert [one[KEY] for one in found] == [288.0, 288.0]
    assert days(DAY / 2, 2.5 * DAY) == [(DAY / 2, DAY), (DAY, 2 * DAY), (2 * DAY, 2.5 * DAY)]


async def test_very_many_series_are_asked_for_in_fewer_points() -> None:
    source = Source(only_usd({}), most_points=80)
    (one,) = await read_accounts(cast(PrometheusSource, source), 0.0, DAY)
    assert one.unknown == ()
    assert {round((end - start) / step) for _, start, end, step in source.asked} == {288, 72}


async def test_what_cannot_be_read_is_named_and_the_rest_counts() -> None:
    counters = only_usd({(*KEY, "a"): ((0.0, 0.0), (60.0, 3.0))})
    counters["comptroller_router_tokens_total"] = Unknown("refused")
    (one,) = await read_accounts(cast(PrometheusSource, Source(counters)), 0.0, 60.0)
    assert one.unknown == ("comptroller_router_tokens_total: refused",)
    assert one.usd == {KEY: 3.0}


def test_a_counter_never_shrinks() -> None:
    assert increase([], 0.0) == 0.0
    assert increase([(0.0, 4.0)], 0.0) == 0.0
    assert increase([(0.0, 4.0), (1.0, 0.0), (2.0, 0.0)], 0.0) == 0.0
