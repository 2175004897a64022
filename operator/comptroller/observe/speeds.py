"""What the engines of a pool showed over the last window, as one sample of their speed."""

from __future__ import annotations

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.learning.speed import SpeedSample
from comptroller.observe.measurements import Measurements, find

IDLE = "the engines were idle"


def speed_sample(measured: Measurements, pool: str, at_seconds: float) -> SpeedSample | Unknown:
    """One sample of a pool (namespace/name), or why there is none.

    The batch is the one that a request meets: replicas count by their requests, so that idle ones count nothing (of
    two replicas with 30 and 10 requests: 25). Engines tell the time between tokens; mean prompt and answer come from
    the routers, since not every engine counts requests.
    """
    namespace, name = pool.split("/", 1)
    if isinstance(measured.running, Unknown):
        return measured.running
    batches = []
    for key, one in measured.running.items():
        if key[:2] == (namespace, name):
            if isinstance(one, Unknown):
                return one
            batches.append(one.value)
    running = sum(batches)
    if running <= 0.0:
        return Unknown(IDLE)
    numbers = []
    for series, key in (
        (measured.token_seconds, (namespace, name)),
        (measured.timed_tokens, (namespace, name)),
        (measured.answered_by_pool, (pool,)),
        (measured.pool_tokens, (pool, "input")),
        (measured.pool_tokens, (pool, "output")),
    ):
        value = find(series, key, IDLE)
        if not isinstance(value, Sample):
            return value
        if value.value <= 0.0:
            return Unknown(IDLE)
        numbers.append(value.value)
    token_seconds, tokens, answered, tokens_in, tokens_out = numbers
    return SpeedSample(
        at_seconds=at_seconds,
        batch=sum(one * one for one in batches) / running,
        per_token_ms=1000.0 * token_seconds / tokens,
        input_tokens=tokens_in / answered,
        output_tokens=tokens_out / answered,
    )
