"""Rounds of the decision loop over raw objects: an API server in memory, and a Prometheus with one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.api.settings import Settings
from comptroller.apply.events import EventRecorder
from comptroller.apply.objects import Applier
from comptroller.apply.status import StatusWriter
from comptroller.observe.prometheus import Series
from comptroller.runtime.loop import DecisionLoop
from comptroller.runtime.metrics import Metrics
from comptroller.runtime.queue import WorkQueue
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.state import Picture, State
from tests.unit.apply.fake_api import FakeApi
from tests.unit.kube import build

CHAT = ("ai/research", "chat")


class Metrology:
    """A Prometheus with one number: the rate of the only route. None: it does not answer."""

    def __init__(self) -> None:
        self.rps: float | None = None
        self.told: dict[str, Series] = {}  # words of a question -> its answer

    async def query(self, expression: str, labels: Sequence[str]) -> Series | Unknown:
        if self.rps is None:
            return Unknown("Prometheus cannot be reached")
        if "route_info" in expression:
            return {CHAT: Sample(1.0)}
        if "resets(" in expression:
            return {}
        for words, series in self.told.items():
            if words in expression:
                return series
        if "tenant" in labels:
            return {(*CHAT, "research"): Sample(self.rps)}
        if "requests_total" in expression:
            return {CHAT: Sample(self.rps)}
        return {}

    async def query_range(self, *_: Any) -> Unknown:
        return Unknown("Prometheus forgets")


class World:
    def __init__(self) -> None:
        self.api, self.source = FakeApi(), Metrology()
        for item in (build.pool(), build.hosted_pool(), build.policy(), build.node(gpus=8)):
            self.api.put(item)
        api: Any = self.api
        settings = Settings.model_validate({"loop": {"batchWindowSeconds": 0, "tickSeconds": 300}})
        self.state = State(last_round_seconds=0.0)
        self.context = Context(
            api, api.store, Applier(api, api.store), StatusWriter(api, api.store), EventRecorder(api), settings,
            self.state, Metrics(),
        )  # fmt: skip
        self.queue = WorkQueue[tuple[str, tuple[str, str]]]()
        self.loop = DecisionLoop(self.context, self.source, self.queue)  # type: ignore[arg-type]

    async def round(self, rps: float | None) -> Picture:
        self.source.rps = rps
        return await self.loop.once()
