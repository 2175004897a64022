"""The elector against a Lease in memory, and the operator that has one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from comptroller.api.settings import LeaderElectionSettings, Settings, SettingsError, load_settings
from comptroller.kube.client import KubeError
from comptroller.kube.fence import Fence
from comptroller.kube.resources import KubeDict
from comptroller.runtime.clock import now_seconds
from comptroller.runtime.leader import Elector, process_name
from comptroller.runtime.operator import Operator
from tests.unit.apply.fake_api import FakeApi
from tests.unit.kube import build


class Leases:
    """One Lease; `error` is what the next write ends with, after it was taken where `taken` says so."""

    def __init__(self) -> None:
        self.lease: KubeDict | None = None
        self.version = 0
        self.error: KubeError | None = None
        self.asked = 0

    async def get(self, *_: object) -> KubeDict | None:
        self.asked += 1
        return self.lease

    async def create(self, lease: KubeDict) -> KubeDict:
        if self.lease is not None:
            raise KubeError(409, "exists")
        return self._put(lease)

    async def replace(self, lease: KubeDict) -> KubeDict:
        if self.lease is None or lease["metadata"]["resourceVersion"] != str(self.version):
            raise KubeError(409, "changed")
        return self._put(lease)

    def _put(self, lease: KubeDict) -> KubeDict:
        if self.error is not None:
            raise self.error
        self.version += 1
        self.lease = {**lease, "metadata": {**lease["metadata"], "resourceVersion": str(self.version)}}
        return self.lease

    @property
    def spec(self) -> KubeDict:
        assert self.lease is not None
        found: KubeDict = self.lease["spec"]
        return found


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0


def elector(leases: Leases, clock: Clock, name: str) -> Elector:
    api: Any = leases
    return Elector(api, "home", name, LeaderElectionSettings(), now=lambda: clock.now)


async def test_the_first_leads_the_second_waits_and_takes_over_what_is_let_go_of() -> None:
    leases, clock = Leases(), Clock()
    one, two = elector(leases, clock, "one"), elector(leases, clock, "two")
    await one.attempt()
    await two.attempt()
    assert (one.left_seconds(), two.left_seconds() > 0, two.holder) == (10.0, False, "one")
    acquired = leases.spec["acquireTime"]
    await one.attempt()
    assert (leases.spec["acquireTime"], leases.spec["leaseTransitions"]) == (acquired, 0)
    await one.release()
    assert leases.spec["holderIdentity"] == ""
    await two.attempt()
    assert (leases.spec["holderIdentity"], leases.spec["leaseTransitions"]) == ("two", 1)
    assert two.left_seconds() == 10.0


async def test_a_leader_renews_without_reading_first() -> None:
    leases, clock = Leases(), Clock()
    one = elector(leases, clock, "one")
    for _ in range(5):
        await one.attempt()
        clock.now += 2.0
    assert (leases.asked, leases.version) == (1, 5)


async def test_a_leader_whose_renewals_fail_stops_in_time_and_goes_on_if_nobody_took_its_place() -> None:
    leases, clock = Leases(), Clock()
    one = elector(leases, clock, "one")
    await one.attempt()
    leases.error = KubeError(0, "no answer")
    for _ in range(5):
        clock.now += 2.0
        with pytest.raises(KubeError):
            await one.attempt()
    assert one.left_seconds() <= 0.0
    leases.error = None
    await one.attempt()
    assert (one.left_seconds(), one.view.lost_to) == (10.0, None)


async def test_a_leader_that_slept_over_its_lease_finds_another_and_ends() -> None:
    leases, clock = Leases(), Clock()
    one, two = elector(leases, clock, "one"), elector(leases, clock, "two")
    lost = list[str]()
    one.on_loss = lambda: lost.append("one")
    await one.attempt()
    await two.attempt()
    clock.now += 60.0
    assert one.left_seconds() < 0.0
    await two.attempt()
    assert two.left_seconds() == 10.0
    with pytest.raises(KubeError):
        await one.attempt()
    await one.attempt()
    assert one.view.lost_to == "two"
    await asyncio.wait_for(one.run(), 5.0)
    assert lost == ["one"]
    assert leases.spec["holderIdentity"] == "two"


async def test_it_says_once_when_it_leads_and_when_it_follows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "comptroller.leader")
    leases, clock = Leases(), Clock()
    asked = list[str]()
    one, two = elector(leases, clock, "one"), elector(leases, clock, "two")
    for elected in (one, two):
        elected.settings = LeaderElectionSettings(retry_period_seconds=0.001)
        elected.on_change = lambda name=elected.me: asked.append(name)  # type: ignore[misc]
        running = asyncio.create_task(elected.run())
        await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert leases.version > 2
    assert (caplog.messages, asked) == (["Leads", "Follows one"], ["one"])


async def test_a_release_wins_over_a_renewal_that_was_still_under_way() -> None:
    leases, clock = Leases(), Clock()
    one = elector(leases, clock, "one")
    await one.attempt()
    real: Callable[[KubeDict], Awaitable[KubeDict]] = leases.replace
    late = True

    async def replace(lease: KubeDict) -> KubeDict:
        nonlocal late
        if late and not lease["spec"]["holderIdentity"]:
            late = False
            await real({**lease, "spec": {**lease["spec"], "holderIdentity": "one"}})
        return await real(lease)

    leases.replace = replace  # type: ignore[method-assign]
    await one.release()
    assert leases.spec["holderIdentity"] == ""


async def test_whoever_does_not_hold_the_lease_lets_go_of_nothing() -> None:
    leases, clock = Leases(), Clock()
    one, two = elector(leases, clock, "one"), elector(leases, clock, "two")
    await one.attempt()
    await two.release()
    assert leases.spec["holderIdentity"] == "one"


def test_every_process_has_a_name_of_its_own() -> None:
    assert process_name() != process_name()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{renewDeadlineSeconds: 13}", "renewDeadlineSeconds must be at most 0.8 of leaseDurationSeconds"),
        ("{retryPeriodSeconds: 6}", "retryPeriodSeconds must be at most half of renewDeadlineSeconds"),
    ],
)
def test_durations_that_would_let_two_write_are_refused(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(f"leaderElection: {text}")


class Process:
    """An operator with an elector, before an API server in memory."""

    def __init__(self) -> None:
        self.api, self.leases, self.clock = FakeApi(), Leases(), Clock()
        self.api.fence = Fence()  # type: ignore[attr-defined]
        self.elector = elector(self.leases, self.clock, "me")
        self.operator = Operator(self.api, Settings(), self.elector, store=self.api.store)  # type: ignore[arg-type]

    def leader(self) -> float | None:
        return self.operator.metrics.registry.get_sample_value("comptroller_leader")


async def test_a_follower_is_ready_by_what_it_sees_and_works_on_nothing() -> None:
    process = Process()
    operator = process.operator
    process.api.put(build.pool())
    operator._synced_at, operator.loop.succeeded_seconds = 1.0, now_seconds()
    assert operator.ready() == {"ok": True, "failing": 0, "leads": False}
    assert (process.leader(), operator._led_by()) == (0.0, "nobody")
    await operator._work(("ModelPool", ("ai", "big")))
    assert (process.api.writes, operator.queue.failing) == (0, 0)


async def test_a_process_that_is_told_to_stop_writes_no_more_and_then_lets_go() -> None:
    process = Process()
    operator = process.operator
    await process.elector.attempt()
    assert operator.leads()
    assert (process.leader(), operator._led_by()) == (1.0, None)
    operator._election = asyncio.create_task(process.elector.run())
    await asyncio.sleep(0)
    await operator.stop()
    assert (operator.leads(), process.leader()) == (False, 0.0)
    assert process.leases.spec["holderIdentity"] == ""
    process.clock.now += 0.1
    assert process.elector.left_seconds() > 0.0, "its time was not over: the fence alone holds it back"


async def test_where_a_write_does_not_end_the_lease_is_kept_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comptroller.runtime.operator.LAST_WRITES_SECONDS", 0.01)
    process = Process()
    await process.elector.attempt()
    process.operator._election = asyncio.create_task(asyncio.sleep(60))
    with process.operator.client.fence.passing():
        await process.operator.stop()
    assert process.leases.spec["holderIdentity"] == "me"
