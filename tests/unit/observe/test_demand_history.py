"""Demand out of Prometheus: rates per window, mean lengths, and what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.learning.demand_record import RouteWindow
from comptroller.observe.demand_history import demand_history
from comptroller.observe.prometheus import History, PrometheusSource, Series

KEY = ("ai/desk", "chat")


class Source:
    def __init__(self, tokens: Series | Unknown, answered: Series | Unknown) -> None:
        self.tokens, self.answered = tokens, answered

    async def query(self, expression: str, labels: Sequence[str]) -> Series | Unknown:
        return self.tokens if "tokens_total" in expression else self.answered

    async def query_range(self, _: str, __: Sequence[str], start: float, end: float, step: float) -> History | Unknown:
        count = round((end - start) / step) + 1
        return {KEY: tuple((start + step * number, float(number)) for number in range(count))}


async def history(source: Source, end: float = 3600.0) -> list[RouteWindow] | Unknown:
    return await demand_history(cast(PrometheusSource, source), 0.0, end, (1000.0, 250.0))


async def test_a_row_per_window_in_which_something_was_asked() -> None:
    tokens = {(*KEY, "input"): Sample(40_000.0), (*KEY, "cached_input"): Sample(10_000.0),
              (*KEY, "output"): Sample(2_000.0)}  # fmt: skip
    rows = await history(Source(tokens, {KEY: Sample(20.0)}))
    assert not isinstance(rows, Unknown)
    assert [one.start_seconds for one in rows] == [300.0 * number for number in range(1, 12)]
    assert {(one.input_tokens, one.output_tokens, one.cached_ratio) for one in rows} == {(2000.0, 100.0, 0.25)}


async def test_a_route_that_nobody_answered_has_the_usual_lengths() -> None:
    rows = await history(Source({}, {}))
    assert not isinstance(rows, Unknown)
    assert {(one.input_tokens, one.output_tokens) for one in rows} == {(1000.0, 250.0)}


async def test_days_follow_each_other_without_a_hole() -> None:
    rows = await history(Source({}, {}), 2 * 86_400.0)
    assert not isinstance(rows, Unknown)
    starts = [one.start_seconds for one in rows]
    assert len(starts) == len(set(starts)) == 2 * 287


async def test_silence_is_not_zero() -> None:
    assert isinstance(await history(Source(Unknown("refused"), {})), Unknown)
    assert isinstance(await history(Source({}, Unknown("refused"))), Unknown)
