"""A status is written when it is news, and never otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.apply.status import StatusWriter, with_transitions
from comptroller.kube.client import KubeError
from comptroller.kube.resources import MODEL_POOL, KubeDict
from tests.unit.apply.fake_api import FakeApi
from tests.unit.kube import build

QUIET_SECONDS = 30.0

Status = dict[str, Any]


def condition(kind: str = "Ready", status: str = "True", reason: str = "DemandServed", **more: Any) -> Status:
    return {"type": kind, "status": status, "reason": reason, "message": "fine", "observedGeneration": 1, **more}


def status(rps: str = "10", desired: int = 2, *conditions: Status, **more: Any) -> Status:
    return {
        "observedGeneration": 1,
        "allocation": {"desired": desired, "reason": "DemandServed", "message": "2 suffice", "requestsPerSecond": rps},
        "economics": {"usdPerHour": "0.50", "utilisation": "71%"},
        "conditions": list(conditions) or [condition(), condition("Stalled", "False", "Converged")],
        **more,
    }


class World:
    """One pool, its writer and a clock."""

    def __init__(self) -> None:
        self.api, self.now = FakeApi(), 1000.0
        self.api.put(build.pool("big"))
        self.writer = StatusWriter(self.api, self.api.store)  # type: ignore[arg-type]

    async def write(self, new: Status, after: float = 0.0) -> bool:
        self.now += after
        return await self.writer.write(self.live, new, self.now, f"t{self.now:.0f}")

    @property
    def live(self) -> KubeDict:
        found = self.api.store.get(MODEL_POOL, ("ai", "big"))
        assert found is not None
        return found

    def times(self) -> dict[str, str]:
        return {one["type"]: one["lastTransitionTime"] for one in self.live["status"]["conditions"]}


@pytest.fixture
async def world() -> World:
    """A world in which a first status was written at second 1000."""
    made = World()
    assert await made.write(status())
    return made


async def test_the_first_status_is_written_and_the_spec_stays(world: World) -> None:
    live = world.api.live("ModelPool", "big") or {}
    assert live["status"]["allocation"]["desired"] == 2
    assert live["spec"] == build.pool("big")["spec"]


async def test_the_same_status_is_never_written_again(world: World) -> None:
    assert [await world.write(status(), after=100) for _ in range(3)] == [False] * 3


async def test_after_a_restart_the_same_status_is_not_written(world: World) -> None:
    world.writer = StatusWriter(world.api, world.api.store)  # type: ignore[arg-type]
    assert not await world.write(status())


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(status("10", 3), id="a count"),
        pytest.param(
            status("10", 2, condition(status="False"), condition("Stalled", "False", "Converged")), id="a flip"
        ),
        pytest.param(
            status("10", 2, condition(reason="ScalingUp"), condition("Stalled", "False", "Converged")), id="why"
        ),
        pytest.param(status("10", 2, condition()), id="a condition of ours that is no more"),
        pytest.param(status(observedGeneration=2), id="a generation"),
        pytest.param(status(endpoints=["http://a"]), id="a word"),
        pytest.param(
            status("10", 2, condition(observedGeneration=2), condition("Stalled", "False", "Converged")), id="seen"
        ),
    ],
)
async def test_what_changes_a_decision_is_written_at_once(world: World, new: Status) -> None:
    assert await world.write(new)
    assert not await world.write(new)


@pytest.mark.parametrize("rps", ["11.9", "8.1", "10"])
async def test_a_reading_that_drifts_by_less_than_a_fifth_is_no_news(world: World, rps: str) -> None:
    assert not await world.write(status(rps), after=10 * QUIET_SECONDS)


@pytest.mark.parametrize("rps", ["13", "7", "0", "NaN?"])
async def test_a_reading_that_moved_waits_for_the_quiet_time(world: World, rps: str) -> None:
    assert not await world.write(status(rps), after=QUIET_SECONDS - 1)
    assert await world.write(status(rps), after=1)
    assert world.live["status"]["allocation"]["requestsPerSecond"] == rps


async def test_small_steps_add_up_against_what_was_written(world: World) -> None:
    written = [await world.write(status(rps), after=QUIET_SECONDS) for rps in ("11", "12", "13")]
    assert written == [False, False, True]


async def test_a_small_rate_may_double_without_being_news(world: World) -> None:
    assert await world.write(status("0.05"), after=QUIET_SECONDS)
    assert not await world.write(status("0.1"), after=QUIET_SECONDS)
    assert await world.write(status("0.4"), after=QUIET_SECONDS)


async def test_new_words_alone_are_no_news_and_come_with_the_next_numbers(world: World) -> None:
    words = status()
    words["allocation"]["message"] = "2 still suffice"
    assert not await world.write(words, after=QUIET_SECONDS)
    words["allocation"]["desired"] = 3
    assert await world.write(words)
    assert world.live["status"]["allocation"]["message"] == "2 still suffice"


async def test_percentages_and_dollars_are_numbers(world: World) -> None:
    near, far = status(), status()
    near["economics"] = {"usdPerHour": "$0.52", "utilisation": "73%"}
    far["economics"] = {"usdPerHour": "$0.80", "utilisation": "73%"}
    assert not await world.write(near, after=QUIET_SECONDS)
    assert await world.write(far)


async def test_a_transition_time_moves_only_when_the_status_flips(world: World) -> None:
    stalled = condition("Stalled", "False", "Converged")
    assert world.times() == {"Ready": "t1000", "Stalled": "t1000"}
    await world.write(status("10", 2, condition(reason="ScalingUp"), stalled), after=5)
    assert world.times() == {"Ready": "t1000", "Stalled": "t1000"}
    await world.write(status("10", 2, condition(status="False"), stalled), after=5)
    assert world.times() == {"Ready": "t1010", "Stalled": "t1000"}


def test_a_condition_that_is_new_or_unknown_before_has_its_time_now() -> None:
    before = [{**condition(), "lastTransitionTime": "old"}]
    after = with_transitions(before, [condition(), condition("Paused", "False")], "now")
    assert [one["lastTransitionTime"] for one in after] == ["old", "now"]


async def test_conditions_of_others_and_their_order_are_no_reason_to_write(world: World) -> None:
    world.api.edit(
        "ModelPool",
        "big",
        lambda item: item["status"]["conditions"].insert(0, condition("Theirs") | {"lastTransitionTime": "t0"}),
    )
    assert [await world.write(status(), after=QUIET_SECONDS) for _ in range(3)] == [False] * 3
    assert await world.write(status("10", 3))
    assert "Theirs" in world.times()


async def test_a_refused_write_is_tried_again(world: World) -> None:
    world.api.refuses = KubeError(409, "conflict")
    with pytest.raises(KubeError):
        await world.write(status("10", 3))
    world.api.refuses = None
    assert await world.write(status("10", 3))


async def test_a_forgotten_object_may_be_written_at_once(world: World) -> None:
    world.writer.forget(world.live)
    assert await world.write(status("13"))
