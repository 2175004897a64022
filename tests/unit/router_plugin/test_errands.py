"""Work after an answer is bounded, and a failure of one piece is no failure of others."""

from __future__ import annotations

import asyncio

import pytest

from comptroller.router_plugin.errands import Errands


async def test_a_few_at_once_a_few_wait_and_the_rest_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    gate, running, most, done = asyncio.Event(), 0, 0, 0

    async def errand() -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        done += 1
        raise ValueError("secret words")

    errands = Errands(at_once=2, waiting=3)
    accepted = [errands.submit(errand) for _ in range(7)]
    await asyncio.sleep(0)
    gate.set()
    for _ in range(20):
        await asyncio.sleep(0)

    assert accepted == [True] * 5 + [False] * 2
    assert (most, done) == (2, 5)
    assert errands.submit(errand)
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text
