"""The ledger of the process: what is recorded, told and served, round by round."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.observe.prometheus import Series
from comptroller.runtime import ledger as ledger_module
from comptroller.runtime import loop as loop_module
from comptroller.runtime.ledger import Ledger
from comptroller.runtime.reconcile.policy import reconcile_policy
from comptroller.runtime.server import serve
from tests.unit.kube import build
from tests.unit.runtime.world import Metrology
from tests.unit.runtime.world import World as Rounds


class Priced(Metrology):
    """A Prometheus that also knows what the routers have counted."""

    def __init__(self) -> None:
        super().__init__()
        self.usd_per_second: float | None = 0.0

    async def query(self, expression: str, labels: Sequence[str]) -> Series | Unknown:
        if "usd_total" in expression:
            return Unknown("refused") if self.usd_per_second is None else {("ai/api",): Sample(self.usd_per_second)}
        return await super().query(expression, labels)


class World(Rounds):
    """Rounds at times that the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.prices = self.source = self.loop.source = Priced()  # type: ignore[assignment]
        self.seconds = 1000.0
        monkeypatch.setattr(loop_module, "now_seconds", lambda: self.seconds)

    async def at(self, seconds: float, rps: float | None) -> None:
        self.seconds = 1000.0 + seconds
        await self.round(rps)

    @property
    def ledger(self) -> Ledger:
        return self.loop.ledger

    def metric(self, name: str, **labels: str) -> float | None:
        return self.context.metrics.registry.get_sample_value(f"comptroller_{name}", labels)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_a_steady_fleet_has_one_entry_a_minute_and_no_line_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "comptroller")
    for seconds in range(0, 181, 15):
        await world.at(seconds, 1.0)
    assert [one.at_seconds for one in world.ledger.entries] == [1000.0, 1060.0, 1120.0, 1180.0]
    assert [one for one in caplog.records if one.name == "comptroller.ledger"] == []


async def test_a_change_is_recorded_at_once_and_told_in_one_line(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "comptroller")
    await world.at(0, 1.0)
    await world.at(15, 15.0)
    made = world.ledger.entries[-1]
    assert next(one.subject for one in made.changes) == "ai/big"
    (line,) = [one for one in caplog.records if one.name == "comptroller.ledger"]
    assert line.getMessage().startswith(f"Decided {made.number}: 1 -> ")
    fields = vars(line)
    assert (fields["decision"], fields["inputs"], fields["rung"]) == (made.number, made.inputs, made.rung)
    assert [one["name"] for one in fields["alternatives"]] == ["all hosted", "previous plan"]


async def test_an_interval_ends_with_what_it_cost(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "comptroller")
    await world.at(0, 1.0)
    await world.at(15, 15.0)
    world.prices.usd_per_second = 0.01
    for seconds in range(30, 91, 15):
        await world.at(seconds, 15.0)
    done = next(one for one in world.ledger.entries if one.changes)
    assert done.realised is not None
    assert done.realised.usd is not None
    assert done.realised.usd >= done.realised.seconds * 0.01
    told = [one for one in caplog.records if one.getMessage().startswith(f"Settled {done.number}: ")]
    assert [vars(one)["realised"]["usd"] for one in told] == [done.realised.usd]
    settled = [one.realised for one in world.ledger.entries if one.realised is not None]
    assert world.metric("ledger_usd_total", kind="realised") == pytest.approx(sum(one.usd or 0.0 for one in settled))
    assert world.metric("ledger_usd_total", kind="predicted") == pytest.approx(
        sum(one.predicted_usd for one in settled)
    )
    assert world.metric("prediction_error_ratio") == settled[-1].error_ratio


async def test_what_was_not_measured_is_counted_as_seconds_and_not_as_dollars(world: World) -> None:
    world.prices.usd_per_second = None
    for seconds in range(0, 61, 15):
        await world.at(seconds, 1.0)
    first = world.ledger.entries[0]
    assert first.realised is not None
    assert (first.realised.usd, first.realised.why_unknown) == (None, "refused")
    assert world.metric("ledger_unknown_seconds_total") == 60.0
    assert world.metric("ledger_usd_total", kind="realised") is None


async def test_a_rate_says_nothing_about_a_long_silence(world: World) -> None:
    await world.at(0, 1.0)
    await world.at(600, 1.0)
    first = world.ledger.entries[0]
    assert first.realised is not None
    assert first.realised.why_unknown == "nothing was measured for 600 s"


async def test_the_last_decisions_stand_in_the_status_of_the_policy_with_what_they_cost(world: World) -> None:
    await world.at(0, 1.0)
    await world.at(15, 15.0)
    await reconcile_policy(world.context, ("ai", "research"))
    (told,) = (world.api.live("RoutingPolicy", "research") or {})["status"]["decisions"]
    made = next(one for one in world.ledger.entries if one.changes)
    assert (told["id"], told["inputs"], told["rung"]) == (str(made.number), made.inputs, made.rung)
    assert "realisedUsdPerHour" not in told
    await world.at(75, 15.0)
    await world.at(136, 15.0)
    assert "realisedUsdPerHour" in world.state.history["ai/research"][0]


async def test_numbers_go_on_after_a_restart(world: World) -> None:
    world.api.put(build.policy(status={"decisions": [{"id": "118"}, {"id": "117"}, {"id": "odd"}, {}]}))
    await world.at(0, 1.0)
    assert world.context.picture().number == 119


async def test_the_ring_is_bounded_and_answers_newest_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.ledger.entries.maxlen == ledger_module.MOST_ENTRIES
    for minute in range(4):
        await world.at(61 * minute, 1.0)
    found = world.ledger.answer({})
    assert [one["at"] for one in found] == sorted((one["at"] for one in found), reverse=True)
    assert len(world.ledger.answer({"limit": "2"})) == 2
    assert len(world.ledger.answer({"limit": "all"})) == 4
    for name in ("big", "ai/big"):
        assert {tuple(one["replicas"]) for one in world.ledger.answer({"pool": name})} == {("ai/big",)}
    assert world.ledger.answer({"pool": "none"}) == []


async def test_a_decision_stands_although_the_ledger_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledger_module, "entry_of", lambda *_: 1 / 0)
    await world.at(0, 1.0)
    assert world.context.picture().at_seconds == 1000.0
    assert len(world.queue._when) == 3
    assert "The ledger cannot take the decision in" in caplog.text


async def test_large_fleets_have_fewer_entries(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.at(0, 1.0)
    monkeypatch.setattr(ledger_module, "MOST_VALUES", 3 * ledger_module._size(world.ledger.entries[0]))
    for minute in range(1, 8):
        await world.at(61 * minute, 1.0)
    assert [one.at_seconds for one in world.ledger.entries] == [1000.0 + 61 * minute for minute in (5, 6, 7)]


@pytest.fixture
async def port(world: World) -> AsyncIterator[int]:
    runner = await serve(0, CollectorRegistry(), lambda: {"ok": True}, lambda: {"ok": True}, list, world.ledger.answer)
    yield next(one[1] for one in runner.addresses if len(one) == 2)  # of IPv4
    await runner.cleanup()


async def test_it_is_served_read_only_as_json(world: World, port: int) -> None:
    await world.at(0, 1.0)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/ledger?pool=ai/big&limit=1") as answer:
            (found,) = json.loads(await answer.text())
        async with session.post(f"http://127.0.0.1:{port}/ledger") as refused:
            assert refused.status == 405
    assert (found["id"], set(found["replicas"])) == ("1", {"ai/big"})


async def test_a_follower_sends_on_who_asks_for_what_only_the_leader_knows(world: World) -> None:
    runner = await serve(
        0, CollectorRegistry(), lambda: {"ok": True}, lambda: {"ok": True}, list, world.ledger.answer,
        led_by=lambda: "comptroller-7d4f_0a1b",
    )  # fmt: skip
    port = next(one[1] for one in runner.addresses if len(one) == 2)
    async with aiohttp.ClientSession() as session:
        for path in ("/healthz", "/readyz", "/metrics", "/targets"):
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                assert answer.status == 200
        async with session.get(f"http://127.0.0.1:{port}/ledger") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert "kubectl port-forward pod/comptroller-7d4f 8080" in await answer.text()
    await runner.cleanup()
