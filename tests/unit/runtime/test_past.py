"""After a start the demand log is filled with what Prometheus still knows, and the forecast is told."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from comptroller.allocation.snapshot import Unknown
from comptroller.api.settings import PrometheusSettings
from comptroller.learning.demand import DemandLearner
from comptroller.observe.history import KEPT_DAYS
from comptroller.observe.prometheus import History
from comptroller.runtime import past as module
from comptroller.runtime.clock import now_seconds
from comptroller.runtime.past import ATTEMPTS, Past
from tests.unit.runtime.test_reconcile import reconcile, status
from tests.unit.runtime.world import World

NOW = 1_795_327_200.0


def wave(at_seconds: float) -> float:
    return 5.0 + 3.0 * math.sin(2 * math.pi * at_seconds / 86_400.0) + (at_seconds // 60) % 7 / 10


class Remembering:
    """A Prometheus with some days of one route; the first answers may fail."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.ends: list[float] = []
        self.complete = asyncio.Event()

    async def query_range(self, _: str, __: Any, start: float, end: float, step: float) -> History | Unknown:
        self.ends.append(end)
        if len(self.ends) == KEPT_DAYS:
            self.complete.set()
        if len(self.ends) <= self.failures:
            return Unknown("Prometheus starts")
        times = [start + step * number for number in range(int((end - start) // step) + 1)]
        return {("chat",): tuple((at, wave(at)) for at in times)}


async def test_every_day_is_read_the_newest_first() -> None:
    source: Any = Remembering()
    past, learner = Past(source, PrometheusSettings()), DemandLearner()

    await past.read({"ai/research": 1}, NOW)
    past.give(learner, NOW)

    assert source.ends == [NOW - 86_400.0 * day for day in range(KEPT_DAYS)]
    assert learner.log.newest_minute == NOW // 60
    assert learner.log.routes == ("ai/research/chat",)
    outlook = learner.outlook(NOW, {"ai/research/chat": wave(NOW)}, 240.0, 600.0)
    assert set(outlook.requests_per_second) == {"ai/research/chat"}


async def test_what_was_given_is_given_once() -> None:
    source: Any = Remembering()
    past, learner = Past(source, PrometheusSettings()), DemandLearner()
    await past.read({"ai/research": 1}, NOW)

    past.give(learner, NOW)
    revision = learner.log.revision
    past.give(learner, NOW)

    assert learner.log.revision == revision


async def test_a_prometheus_that_starts_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BETWEEN_ATTEMPTS_SECONDS", 0.0)
    source: Any = Remembering(failures=2)
    past, learner = Past(source, PrometheusSettings()), DemandLearner()

    await past.read({"ai/research": 1}, NOW)
    past.give(learner, NOW)

    assert learner.log.routes == ("ai/research/chat",)


async def test_a_prometheus_that_never_answers_leaves_an_empty_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BETWEEN_ATTEMPTS_SECONDS", 0.0)
    source: Any = Remembering(failures=1000)
    past, learner = Past(source, PrometheusSettings()), DemandLearner()

    await past.read({"ai/research": 1}, NOW)
    past.give(learner, NOW)

    assert len(source.ends) == ATTEMPTS
    assert learner.log.routes == ()


async def test_without_policies_nothing_is_asked() -> None:
    source: Any = Remembering()
    await Past(source, PrometheusSettings()).read({}, NOW)

    assert source.ends == []


async def test_the_loop_decides_with_an_outlook_and_tells_its_skill() -> None:
    world = World()
    remembering: Any = Remembering()
    world.loop.past = Past(remembering, PrometheusSettings())
    await world.loop.past.read({"ai/research": 1}, now_seconds())

    picture = await world.round(5.0)
    await reconcile(world)

    key = "ai/research/chat"
    assert len(picture.snapshot.outlook.requests_per_second[key]) == len(picture.snapshot.outlook.probabilities) > 1
    told = picture.forecasts[key]
    assert told.samples > 30
    forecast = status(world, "research", "RoutingPolicy")["routes"][0]["forecast"]
    assert forecast["method"] == told.method
    assert forecast["samples"] == told.samples
    labels = {"policy": "ai/research", "route": "chat"}
    assert world.context.metrics.registry.get_sample_value("comptroller_forecast_skill", labels) == told.skill


async def test_the_loop_reads_the_past_of_the_policies_that_there_are() -> None:
    world = World()
    source: Any = Remembering()
    world.loop.past = Past(source, PrometheusSettings())
    task = asyncio.create_task(world.loop.run())
    await source.complete.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert len(source.ends) == KEPT_DAYS


async def test_the_first_measurements_are_learned_without_any_past() -> None:
    world = World()
    picture = await world.round(5.0)

    assert picture.snapshot.outlook.requests_per_second == {}
    assert world.state.demand.log.routes == ("ai/research/chat",)
