"""Judges answers: asks the route's judge for one verdict, and books it. No text of a prompt, an answer or a reason goes
into logs, metrics or errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from . import watching_metrics
from .hooks import Admitted
from .inner import Inner, Scope
from .verdict import ERROR, question, verdict
from .watchers import JUDGE, Evaluator, model_of

JUDGE_SECONDS = 60.0
FULL = "full"


async def judged(
    inner: Inner,
    scope: Scope,
    evaluator: Evaluator,
    payer: Admitted,
    request: str,
    answer: str,
    pool: str,
    source: str,
    gone: asyncio.Event | None = None,
) -> str:
    """pass, fail, error when the judge gives no verdict, or full when its pool has no place; booked on `pool`, which
    gave the answer. `payer` is who asked on which route."""
    body = question(evaluator.rubric, request, answer, structured=evaluator.structured)
    body["model"] = model_of(JUDGE, payer.route)
    admitted = Admitted(payer.policy, payer.tenant, body["model"])
    clock = asyncio.get_running_loop().time
    began = clock()
    whole = await inner.ask(scope, "/v1/chat/completions", body, admitted, JUDGE_SECONDS, gone=gone)
    labels = (payer.policy, payer.route)
    if whole.status == 429:
        watching_metrics.EVALUATIONS_DROPPED.labels(*labels, FULL).inc()
        return FULL
    found = verdict(_said(whole.body)) if whole.status == 200 else ERROR
    watching_metrics.EVALUATION_SECONDS.labels(*labels, evaluator.pool).observe(clock() - began)
    watching_metrics.EVALUATIONS.labels(*labels, pool, source, found).inc()
    return found


def _said(raw: bytes) -> Any:
    """The text of the only choice of an answer."""
    try:
        (choice,) = json.loads(raw)["choices"]
        return choice["message"]["content"] if choice.get("finish_reason") == "stop" else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
