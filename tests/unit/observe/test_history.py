"""What Prometheus still knows: range queries that stay small, and answers of which only what can be true counts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.snapshot import Unknown
from comptroller.api.settings import PrometheusSettings
from comptroller.observe.history import PastArrivals, past_arrivals
from comptroller.observe.prometheus import LARGEST_HISTORY, History, PrometheusSource, read_history

DAY = 86_400.0
NOW = 1_795_327_200.0


class Asked:
    """A Prometheus that remembers the question."""

    def __init__(self, answer: History | Unknown) -> None:
        self.answer = answer
        self.question: tuple[Any, ...] = ()

    async def query_range(
        self, expression: str, labels: Sequence[str], start: float, end: float, step: float
    ) -> History | Unknown:
        self.question = (expression, tuple(labels), start, end, step)
        return self.answer


async def ask(source: Any, routes: int) -> PastArrivals | Unknown:
    return await past_arrivals(source, PrometheusSettings(), "ai/research", routes, NOW)


async def test_a_day_of_a_policy_is_asked_for_minute_by_minute() -> None:
    source = Asked({("chat",): ((NOW - 60, 1.0), (NOW, 2.0))})

    found = await ask(source, routes=40)

    expression, labels, start, end, step = source.question
    assert expression == 'sum by (route) (rate(comptroller_router_requests_total{policy="ai/research"}[60s]))'
    assert (labels, start, end, step) == (("route",), NOW - DAY + 60, NOW, 60.0)
    assert found == PastArrivals({"ai/research/chat": ((NOW - 60, 1.0), (NOW, 2.0))}, 60.0)


async def test_many_routes_are_asked_for_in_coarser_steps_over_windows_of_that_length() -> None:
    source = Asked({})
    await ask(source, routes=500)

    expression, _, start, end, step = source.question
    assert step == 720.0
    assert "[720s]" in expression
    assert 500 * ((end - start) / step + 1) <= 60_000


async def test_what_prometheus_does_not_know_is_unknown() -> None:
    assert await ask(Asked(Unknown("it did not answer")), routes=1) == Unknown("it did not answer")


def series(*values: Any, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "values": list(values)}


def test_samples_that_cannot_be_true_and_series_told_twice_are_left_out() -> None:
    rows = [
        series([1, "1.5"], [2, "NaN"], [3, "-1"], [4, "+Inf"], [5, "0"], route="a"),
        series([1, "1"], route="b"),
        series([1, "2"], route="b"),
    ]

    assert read_history(rows, ("route",)) == {("a",): ((1.0, 1.5), (5.0, 0.0)), ("b",): ()}


@pytest.mark.parametrize(
    "rows",
    [None, "a", {"a": 1}, [1], [{}], [{"metric": {}}], [series([1])], [series([1, "many"])], [series("ab", route="a")],
     [series(*[[1, "1"]] * (LARGEST_HISTORY + 1))]],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_is_unknown(rows: Any) -> None:
    assert isinstance(read_history(rows, ("route",)), Unknown)


@given(st.recursive(st.none() | st.floats() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)))
def test_no_answer_raises(rows: Any) -> None:
    found = read_history(rows, ("route",))
    assert isinstance(found, Unknown | dict)


async def test_the_question_reaches_prometheus_with_its_times_and_step() -> None:
    asked: dict[str, str] = {}

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.update(request.query)
        body = {"status": "success", "data": {"result": [series([NOW, "2.5"], route="chat")]}}
        return web.Response(text=json.dumps(body), content_type="application/json")

    application = web.Application()
    application.router.add_get("/api/v1/query_range", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    source = PrometheusSource(PrometheusSettings(url=f"http://127.0.0.1:{port}"))
    try:
        found = await source.query_range("up", ("route",), NOW - 600.0, NOW, 60.0)
    finally:
        source.close()
        await runner.cleanup()

    assert found == {("chat",): ((NOW, 2.5),)}
    assert asked == {"query": "up", "start": str(int(NOW - 600)), "end": str(int(NOW)), "step": "60"}
