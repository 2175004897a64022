"""One sample of a pool's speed out of what its engines and routers count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.learning.speed import SpeedSample
from comptroller.observe.measurements import Measurements
from comptroller.observe.speeds import speed_sample

BIG, CHAT = ("ai", "big"), ("ai/big", "ai/research", "chat")
BUSY = Measurements(
    running={(*BIG, "a"): Sample(30.0), (*BIG, "b"): Sample(10.0), ("ai", "other", "c"): Sample(99.0)},
    token_seconds={BIG: Sample(40.0)},
    timed_tokens={BIG: Sample(2000.0)},
    pool_tokens={(*CHAT, "input"): Sample(2000.0), (*CHAT, "output"): Sample(500.0)},
    pool_answered={CHAT: Sample(2.0), ("ai/other", "ai/research", "chat"): Sample(9.0)},
)


def test_the_batch_is_the_one_that_a_request_meets() -> None:
    found = speed_sample(BUSY, "ai/big", 7.0)
    assert isinstance(found, SpeedSample)
    assert (found.at_seconds, found.batch, found.per_token_ms) == (7.0, 25.0, 20.0)
    assert (found.input_tokens, found.output_tokens) == pytest.approx((1000.0, 250.0))


def test_long_answers_weigh_more_since_they_are_longer_in_flight() -> None:
    agent = ("ai/big", "ai/research", "agent")
    mixed = replace(
        BUSY,
        pool_tokens={
            (*CHAT, "input"): Sample(4000.0), (*CHAT, "output"): Sample(100.0),
            (*agent, "input"): Sample(100.0), (*agent, "output"): Sample(900.0),
        },
        pool_answered={CHAT: Sample(1.0), agent: Sample(1.0)},
    )  # fmt: skip
    found = speed_sample(mixed, "ai/big", 7.0)
    assert isinstance(found, SpeedSample)
    assert (found.input_tokens, found.output_tokens) == pytest.approx((802, 196), abs=1)


def test_an_idle_replica_does_not_thin_the_batch_of_the_others() -> None:
    one = replace(BUSY, running={(*BIG, "a"): Sample(30.0), (*BIG, "b"): Sample(0.0)})
    found = speed_sample(one, "ai/big", 7.0)
    assert isinstance(found, SpeedSample)
    assert found.batch == 30.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"running": {}}, "idle", id="no replica runs"),
        pytest.param({"running": {(*BIG, "a"): Sample(0.0)}}, "idle", id="nothing runs"),
        pytest.param({"running": {(*BIG, "a"): Unknown("NaN")}}, "NaN", id="a load is no number"),
        pytest.param({"running": Unknown("down")}, "down", id="Prometheus is down"),
        pytest.param({"token_seconds": Unknown("refused")}, "refused", id="one query failed"),
        pytest.param({"timed_tokens": {BIG: Sample(0.0)}}, "idle", id="no token in the window"),
        pytest.param({"timed_tokens": {}}, "idle", id="the engine does not tell"),
        pytest.param({"pool_answered": {CHAT: Sample(0.0)}}, "idle", id="no answer ended"),
        pytest.param({"pool_answered": {}}, "idle", id="the routers know of no answer"),
        pytest.param({"pool_answered": Unknown("refused")}, "refused", id="answers were not told"),
        pytest.param({"pool_answered": {CHAT: Unknown("NaN")}}, "not known", id="answers are no number"),
        pytest.param({"pool_tokens": {(*CHAT, "input"): Sample(9.0)}}, "not known", id="no answers' tokens"),
    ],
)
def test_what_is_not_known_or_idle_is_no_sample(change: dict[str, Any], reason: str) -> None:
    found = speed_sample(replace(BUSY, **change), "ai/big", 7.0)
    assert isinstance(found, Unknown)
    assert reason in found.reason


def test_nothing_measured_is_no_sample() -> None:
    assert isinstance(speed_sample(Measurements(), "ai/big", 7.0), Unknown)
