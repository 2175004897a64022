"""Copies of requests for a pool that is tried out. Nobody sees its answers but the judge."""

from __future__ import annotations

import asyncio
from typing import Any

from . import watching_metrics
from .hooks import Admitted
from .inner import Inner, Scope
from .said import Heard
from .watchers import SHADOW, SHADOW_TENANT, Shadow, model_of

SHADOW_SECONDS = 300.0


async def shadowed(
    inner: Inner, scope: Scope, shadow: Shadow, path: str, body: dict[str, Any], admitted: Admitted
) -> str | None:
    """The shadow's answer to a request, as text for the judge; None where it is none to be judged."""
    model = model_of(SHADOW, admitted.route)
    copied = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    clock = asyncio.get_running_loop().time
    began = clock()
    asker = Admitted(admitted.policy, SHADOW_TENANT, model)
    whole = await inner.ask(scope, path, {**copied, "model": model}, asker, SHADOW_SECONDS)
    outcome = {200: "ok", 429: "full"}.get(whole.status, "error")
    labels = (admitted.policy, admitted.route, shadow.pool)
    watching_metrics.SHADOW_ANSWERS.labels(*labels, outcome).inc()
    if outcome != "ok":
        return None
    watching_metrics.SHADOW_SECONDS.labels(*labels).observe(clock() - began)
    heard = Heard()
    for message in whole.messages():
        heard.hear(message)
    return heard.text()
