"""`x-comptroller-verify: true`: the answer is judged before it is returned; when it fails a better pool is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .config import Config, Route
from .errors import MalformedError, RefusedError
from .evaluator import judged
from .hooks import Admitted
from .inner import Inner, Scope, Send, Whole
from .said import TALKS, Heard, asked
from .verdict import FAIL, PASS
from .watchers import JUDGE, Evaluator, model_of
from .watching_metrics import ESCALATIONS, VERIFY

HEADER = b"x-comptroller-verify"
RESULT = b"x-comptroller-verified"
ANSWER_SECONDS = 600.0


def wanted(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the client asks for it. Raises `MalformedError` for a value that is neither yes nor no."""
    values = [value.strip().lower() for name, value in headers if name.lower() == HEADER]
    if any(value not in (b"true", b"false") for value in values):
        raise MalformedError(f"{HEADER.decode()} must be true or false")
    return b"true" in values


def check(headers: Iterable[tuple[bytes, bytes]], path: str, body: dict[str, Any], route: Route) -> None:
    """Refuses what cannot be verified. Raises `RefusedError` and `MalformedError`."""
    if not wanted(headers):
        return
    name = HEADER.decode()
    if route.evaluator is None or not route.evaluator.escalate_on_fail:
        raise RefusedError(
            f"{name}: route {route.name} has nobody who verifies; leave the header out, or have "
            "spec.routes[].evaluator.escalateOnFail set to true"
        )
    if path not in TALKS:
        raise RefusedError(f"{name}: only answers in text can be verified; leave the header out")
    if body.get("stream"):
        raise RefusedError(
            f"{name}: a streamed answer is with the client before it can be verified; "
            "set stream to false or leave the header out"
        )


def verified(
    inner: Inner,
    config: Config,
    admitted: Admitted,
    scope: Scope,
    path: str,
    body: dict[str, Any],
    gone: asyncio.Event,
) -> Verified | None:
    """The request as one to be verified; None where the client has not asked for it. It has passed `check`."""
    route = config.routes.get(admitted.route)
    if route is None or route.evaluator is None or not wanted(scope["headers"]):
        return None
    return Verified(inner, config, route, route.evaluator, admitted, scope, path, body, gone)


@dataclass
class Verified:
    """One request whose answer is verified."""

    inner: Inner
    config: Config
    route: Route
    evaluator: Evaluator
    admitted: Admitted
    scope: Scope
    path: str
    body: dict[str, Any]
    gone: asyncio.Event

    async def send(self, send: Send) -> None:
        """Sends the answer as a client gets it."""
        for message in (await self.answer()).messages():
            await send(message)

    async def answer(self) -> Whole:
        """The first answer if it passes, or if nobody can tell; that of a better pool if it fails, or itself if none
        answers. The header `x-comptroller-verified` says passed, unknown, escalated or failed. What is asked again is
        not judged again."""
        first = await self._ask(None)
        heard = Heard()
        for message in first.messages():
            heard.hear(message)
        text = heard.text()
        if text is None or model_of(JUDGE, self.route.name) not in self.config.served:
            return _told(first, b"unknown")
        found = await judged(
            self.inner, self.scope, self.evaluator, self.admitted, asked(self.body), text, first.pool, VERIFY, self.gone
        )
        if found != FAIL:
            return _told(first, b"passed" if found == PASS else b"unknown")
        for pool in better(self.config, self.route.name, self.evaluator.ascending, first.pool):
            second = await self._ask(frozenset({pool}))
            if second.status == 200:
                ESCALATIONS.labels(self.admitted.policy, self.route.name, first.pool, pool).inc()
                return _told(second, b"escalated")
        return _told(first, b"failed")

    async def _ask(self, only: frozenset[str] | None) -> Whole:
        return await self.inner.ask(
            self.scope, self.path, self.body, self.admitted, ANSWER_SECONDS, only=only, gone=self.gone
        )


def better(config: Config, route: str, ascending: tuple[str, ...], failed: str) -> tuple[str, ...]:
    """The pools that solve more than the one that failed, nearest first, of those that the route has now."""
    after = ascending[ascending.index(failed) + 1 :] if failed in ascending else ()
    return tuple(pool for pool in after if f"{pool}/{route}" in config.prices)


def _told(whole: Whole, result: bytes) -> Whole:
    return Whole(whole.status, [*whole.headers, (RESULT, result)], whole.body, whole.complete)
