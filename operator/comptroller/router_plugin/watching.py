"""Draws the requests that are judged or copied, listens to their answers, and has both done once the client has its
own."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from . import watching_metrics
from .config import Config, Route
from .errands import Errands
from .evaluator import judged
from .hooks import Admitted
from .inner import Inner, Scope
from .said import TALKS, Heard, asked
from .sampling import Allowance, sampled
from .shadow import shadowed
from .watchers import EVALUATOR_TENANT, JUDGE, SHADOW, Evaluator, model_of
from .watching_metrics import EVALUATIONS_DROPPED, SHADOW_ANSWERS

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
LARGEST_COPY_BYTES = 1024 * 1024


def _judging() -> Errands:
    return Errands(at_once=4, waiting=64)


def _copying() -> Errands:
    return Errands(at_once=4, waiting=16)


@dataclass
class Watching:
    """Of one process. Allowances and queues are kept by route, over all configurations."""

    inner: Inner
    allowances: defaultdict[str, Allowance] = field(default_factory=lambda: defaultdict(Allowance))
    judging: defaultdict[str, Errands] = field(default_factory=lambda: defaultdict(_judging))
    copying: defaultdict[str, Errands] = field(default_factory=lambda: defaultdict(_copying))

    def drawn(self, config: Config, admitted: Admitted, path: str, body: dict[str, Any], scope: Scope) -> Drawn | None:
        """The request, if anybody is to watch it."""
        route = config.routes.get(admitted.route)
        if route is None or (route.evaluator is None and route.shadow is None) or path not in TALKS:
            return None
        content = json.dumps({name: value for name, value in body.items() if name != "stream_options"}).encode()
        judges: bool | None = False
        copies: bool | None = False
        if route.evaluator is not None and model_of(JUDGE, route.name) in config.served:
            judges = self._draw(JUDGE, route, content, route.evaluator.sample_ratio)
            if judges is None:
                EVALUATIONS_DROPPED.labels(config.policy, route.name, "budget").inc()
        if route.shadow is not None and model_of(SHADOW, route.name) in config.served:
            copies = self._draw(SHADOW, route, content, route.shadow.sample_ratio)
            if copies is None:
                SHADOW_ANSWERS.labels(config.policy, route.name, route.shadow.pool, "budget").inc()
        if not judges and not copies:
            return None
        return Drawn(self, route, admitted, path, body, scope, len(content), bool(judges), bool(copies))

    def _draw(self, purpose: str, route: Route, content: bytes, ratio: float) -> bool | None:
        """Whether it belongs to the sample; None if it does and the allowance is spent."""
        allowance = self.allowances[model_of(purpose, route.name)]
        allowance.earn(ratio)
        if not sampled(content, purpose, ratio):
            return False
        return True if allowance.spend() else None


@dataclass
class Drawn:
    """One request that is watched."""

    watching: Watching
    route: Route
    admitted: Admitted
    path: str
    body: dict[str, Any]
    scope: Scope
    size: int
    judges: bool
    copies: bool
    heard: Heard = field(default_factory=Heard)

    def listening(self, send: Send) -> Send:
        """Passes the answer on and hears it."""

        async def heard(message: MutableMapping[str, Any]) -> None:
            await send(message)
            self.heard.hear(message)

        return heard

    def ended(self) -> None:
        """The client has its answer, or has left. Only answers that were complete are judged, and only their requests
        copied."""
        answer, pool = self.heard.text(), self.heard.pool
        good = self.heard.finished and self.heard.status == 200
        if self.judges and self.heard.too_long:
            self._drop("too_long")
        elif self.judges and answer is not None and self.route.evaluator is not None:
            self._judge(self.route.evaluator, answer, pool, watching_metrics.SAMPLE)
        if self.copies and good:
            self._copy()

    def _judge(self, evaluator: Evaluator, answer: str, pool: str, source: str) -> None:
        payer = Admitted(self.admitted.policy, EVALUATOR_TENANT, self.route.name)
        request, scope, inner = asked(self.body), self.scope, self.watching.inner

        async def judge() -> None:
            await judged(inner, scope, evaluator, payer, request, answer, pool, source)

        if not self.watching.judging[self.route.name].submit(judge):
            self._drop("busy")

    def _drop(self, reason: str) -> None:
        EVALUATIONS_DROPPED.labels(self.admitted.policy, self.route.name, reason).inc()

    def _copy(self) -> None:
        if self.route.shadow is None:
            return
        labels = functools.partial(SHADOW_ANSWERS.labels, self.admitted.policy, self.route.name, self.route.shadow.pool)
        if self.size > LARGEST_COPY_BYTES:
            labels("too_long").inc()
        elif not self.watching.copying[self.route.name].submit(self._shadow):
            labels("busy").inc()

    async def _shadow(self) -> None:
        shadow, evaluator = self.route.shadow, self.route.evaluator
        if shadow is None:
            return
        answer = await shadowed(self.watching.inner, self.scope, shadow, self.path, self.body, self.admitted)
        if answer is not None and evaluator is not None:
            self._judge(evaluator, answer, shadow.pool, watching_metrics.SHADOW)
