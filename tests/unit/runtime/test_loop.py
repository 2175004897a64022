"""Rounds of the decision loop over raw objects, with the real decision and the real auditor."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from comptroller.kube.resources import ROUTING_POLICY
from comptroller.runtime import loop as module
from comptroller.runtime.specs import read_specs
from tests.unit.kube import build
from tests.unit.runtime.world import World


async def test_a_round_without_measurements_holds_and_says_why() -> None:
    world = World()
    picture = await world.round(None)
    target = picture.decision.pools["ai/big"]
    assert 0 <= target.replicas <= 8
    assert "cannot be reached" in " ".join(picture.decision.unknowns.values())
    assert world.state.first_data_seconds is None
    assert world.state.picture is picture


async def test_every_object_is_reconciled_with_a_new_picture() -> None:
    world = World()
    await world.round(1.0)
    assert set(world.queue._when) == {
        ("ModelPool", ("ai", "big")), ("ModelPool", ("ai", "api")), ("RoutingPolicy", ("ai", "research")),
    }  # fmt: skip


async def test_more_demand_makes_more_replicas_and_is_told_once_by_event_and_history() -> None:
    world = World()
    first = await world.round(1.0)
    second = await world.round(15.0)
    old, new = (one.decision.pools["ai/big"].replicas for one in (first, second))
    assert old < new <= 8
    assert [one["note"].startswith(f"Wanted {old} -> {new}: ") for one in world.api.events] == [True]
    assert [one["message"].startswith(f"big: {old} -> {new}: ") for one in world.state.history["ai/research"]] == [True]
    assert world.state.desired_since_seconds["ai/big"] == second.at_seconds
    await world.round(15.0)
    assert len(world.api.events) == 1
    assert len(world.state.history["ai/research"]) == 1


async def test_silence_after_demand_changes_no_target() -> None:
    world = World()
    await world.round(1.0)
    busy = await world.round(15.0)
    silent = await world.round(None)
    assert silent.decision.pools["ai/big"].replicas == busy.decision.pools["ai/big"].replicas


async def test_the_first_picture_is_no_news_after_a_restart() -> None:
    world = World()
    await world.round(15.0)
    assert world.api.events == []
    assert world.state.history == {}


async def test_a_plan_that_the_auditor_refuses_is_never_published(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    good = await world.round(1.0)
    memory = world.state.memory
    monkeypatch.setattr(module, "audit_plan", lambda *_: ["chat may not go to api"])
    assert await world.round(15.0) is good
    assert (world.state.picture, world.state.memory) == (good, memory)
    assert world.context.metrics.registry.get_sample_value("comptroller_audit_refusals_total") == 1


async def test_without_a_plan_that_the_auditor_accepts_there_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(module, "audit_plan", lambda *_: ["chat may not go to api"])
    with pytest.raises(RuntimeError, match="auditor"):
        await world.round(1.0)
    assert world.state.picture is None


async def test_a_round_that_fails_is_logged_and_the_next_one_is_made_when_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.source.rps = 1.0
    rounds: list[str] = []

    def failing(*arguments: Any) -> Any:
        rounds.append("failed" if not rounds else "made")
        if len(rounds) == 1:
            raise KeyError("a mistake of ours")
        return real(*arguments)

    real = read_specs
    monkeypatch.setattr(module, "read_specs", failing)
    caplog.set_level(logging.CRITICAL, "comptroller.loop")
    task = asyncio.create_task(world.loop.run())
    try:
        async with asyncio.timeout(10):
            while world.state.picture is None:
                world.loop.ask()
                await asyncio.sleep(0.005)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert rounds[:2] == ["failed", "made"]


async def test_only_rounds_that_end_with_a_picture_count_as_successes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.source.rps = 1.0
    times = iter(range(1, 1000))
    monkeypatch.setattr(module, "now_seconds", lambda: float(next(times)))
    come_round: list[tuple[float | None, float]] = []

    async def rounds(count: int) -> None:
        task = asyncio.create_task(world.loop.run())
        try:
            async with asyncio.timeout(10):
                for _ in range(count):
                    before = world.state.last_round_seconds
                    world.loop.ask()
                    while world.state.last_round_seconds == before:  # noqa: ASYNC110 - there is no event of it
                        await asyncio.sleep(0.002)
                    come_round.append((world.loop.succeeded_seconds, world.state.last_round_seconds))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with monkeypatch.context() as patch:
        patch.setattr(module, "audit_plan", lambda *_: ["chat may not go to api"])
        await rounds(1)
    assert world.loop.succeeded_seconds is None, "the first plan was refused: there is nothing to stand on"
    await rounds(1)
    made = world.loop.succeeded_seconds
    assert made is not None
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_specs", lambda *_: 1 / 0)
        await rounds(2)
    assert world.loop.succeeded_seconds == made
    with monkeypatch.context() as patch:
        patch.setattr(module, "audit_plan", lambda *_: ["chat may not go to api"])
        await rounds(1)
    assert world.loop.succeeded_seconds > made, "a refused plan leaves the last one in force"
    assert [one[1] for one in come_round] == sorted({one[1] for one in come_round})


async def test_a_policy_that_went_while_it_was_decided_gets_no_history() -> None:
    world = World()
    await world.round(1.0)
    decide = module.decide

    def slow(snapshot: Any) -> Any:
        world.context.store.remove(ROUTING_POLICY, build.policy() | {"metadata": later})
        return decide(snapshot)

    later = {**build.policy()["metadata"], "resourceVersion": "100000"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "decide", slow)
        await world.round(15.0)
    assert world.api.events
    assert world.state.history == {}


async def test_a_follower_measures_and_learns_and_decides_nothing() -> None:
    world = World()
    world.source.rps = 15.0
    writes = world.api.writes
    await world.loop.follow()
    assert world.state.picture is None
    assert world.state.first_data_seconds is not None
    assert world.state.demand.log.routes == ("ai/research/chat",)
    assert not world.queue._when
    assert (world.api.writes, world.api.events) == (writes, [])


async def test_a_follower_that_comes_to_lead_goes_on_from_what_the_other_told() -> None:
    world = World()
    world.source.rps = 1.0
    await world.loop.follow()
    world.api.put(build.pool(status={"allocation": {"desired": 5}}))
    world.api.put(build.policy(status={"decisions": [{"id": "41"}]}))
    picture = await world.round(1.0)
    assert (picture.number, picture.decision.pools["ai/big"].previous) == (42, 5)
    assert picture.decision.pools["ai/big"].replicas == 5, "fewer only after fewer have sufficed for a while"


async def test_what_changes_makes_no_follower_look_more_often() -> None:
    world = World()
    world.loop.context = replace(world.context, leads=lambda: False)
    world.loop.ask()
    assert not world.loop._asked.is_set()
