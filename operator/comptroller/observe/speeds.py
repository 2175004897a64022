"""What the engines of a pool showed over the last window, as one sample of their speed."""

from __future__ import annotations

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.learning.speed import SpeedSample, mean_shape
from comptroller.observe.measurements import Measurements, find

IDLE = "the engines were idle"


def speed_sample(measured: Measurements, pool: str, at_seconds: float) -> SpeedSample | Unknown:
    """One sample of a pool (namespace/name), or why there is none.

    The batch is the one that a request meets: replicas count by their requests, so that idle ones count nothing (of
    two replicas with 30 and 10 requests: 25). Engines tell the time between tokens; prompts and answers come from the
    routers, by route, since not every engine counts requests.
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
    ):
        value = find(series, key, IDLE)
        if not isinstance(value, Sample):
            return value
        if value.value <= 0.0:
            return Unknown(IDLE)
        numbers.append(value.value)
    shape = _shape(measured, pool)
    if isinstance(shape, Unknown):
        return shape
    token_seconds, tokens = numbers
    return SpeedSample(
        at_seconds=at_seconds,
        batch=sum(one * one for one in batches) / running,
        per_token_ms=1000.0 * token_seconds / tokens,
        input_tokens=shape[0],
        output_tokens=shape[1],
    )


def _shape(measured: Measurements, pool: str) -> tuple[float, float] | Unknown:
    """The mean request of the pool, out of what each route had answered there."""
    if isinstance(measured.pool_answered, Unknown):
        return measured.pool_answered
    parts = []
    for key, answered in measured.pool_answered.items():
        if key[0] != pool:
            continue
        inputs, outputs = (find(measured.pool_tokens, (*key, kind), IDLE) for kind in ("input", "output"))
        if isinstance(answered, Sample) and isinstance(inputs, Sample) and isinstance(outputs, Sample):
            if answered.value > 0.0:
                parts.append((answered.value, inputs.value / answered.value, outputs.value / answered.value))
        else:
            return Unknown("the tokens of a route are not known")
    return mean_shape(parts) or Unknown(IDLE)
