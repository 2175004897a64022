"""A pool turns back only when staying has cost what turning costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.allocation.decide import decide
from comptroller.allocation.limits import Bounds
from comptroller.allocation.measured import cleaned
from comptroller.allocation.problem import prepare
from comptroller.allocation.snapshot import Memory, Snapshot, Turn
from comptroller.allocation.stabilise import Hold
from comptroller.allocation.turning import STARTS, TURNING_SECONDS, missing, steadied, turning_back, turns_after
from tests.unit.allocation.build import hosted, local, route, snapshot

OWN, OTHER = "ai/own", "ai/other"
START_USD = STARTS * 180.0 / 3600.0 * 7.908 * 24.3  # for one replica of the default route, at the API's price


def world(*turns: tuple[str, Turn], now: float = 1000.0, last: float = 940.0) -> Snapshot:
    pools = local(serving=2, previous=2), local("other", serving=2, previous=2)
    asked = route(rps=10), route("second", "other", "api", rps=10)
    memory = Memory(turns=dict(turns), at_seconds=last)
    return snapshot(*pools, hosted(), *asked, at_seconds=now, memory=memory, gpus=4.0)


def holds() -> dict[str, Hold]:
    return {key: Hold(Bounds(0, 8, 2)) for key in (OWN, OTHER)}


def problem(one: Snapshot):  # type: ignore[no-untyped-def]
    return prepare(cleaned(one)[0])


def test_turning_costs_the_start_ups_of_what_starts_on_the_same_gpus() -> None:
    one = world((OWN, Turn(1, 900.0)))
    found = turning_back(one, problem(one), {OWN: 1, OTHER: 3}, holds())
    assert found.cost_usd == {OWN: pytest.approx(START_USD, rel=0.01)}
    assert found.waiting() == {OWN}


@pytest.mark.parametrize(
    ("turn", "wanted"),
    [
        (Turn(1, 900.0), 3),  # further up
        (Turn(1, 900.0), 2),  # stays
        (Turn(-1, 900.0), 1),  # further down
        (Turn(1, 1000.0 - TURNING_SECONDS - 1.0), 1),  # long ago
    ],
)
def test_only_a_move_against_the_last_one_within_the_hour_is_a_turn(turn: Turn, wanted: int) -> None:
    one = world((OWN, turn))
    assert not turning_back(one, problem(one), {OWN: wanted, OTHER: 3}, holds()).cost_usd


def test_to_release_what_nobody_else_starts_on_is_no_matter_of_turning() -> None:
    one = world((OWN, Turn(1, 900.0)))
    assert not turning_back(one, problem(one), {OWN: 1, OTHER: 2}, holds()).waiting()


def test_what_nobody_outside_may_answer_never_waits() -> None:
    one = world((OWN, Turn(-1, 900.0)))
    kept = tuple(replace(each, perimeters=("onPremises",)) for each in one.routes)
    one = replace(one, routes=kept)
    assert not turning_back(one, problem(one), {OWN: 3, OTHER: 1}, holds()).waiting()


def test_what_staying_costs_is_summed_up_until_it_pays() -> None:
    """A minute at $60/h is one dollar; two pools of one group share one sum."""
    one = world((OWN, Turn(1, 900.0, 2.0)), (OTHER, Turn(-1, 900.0, 2.0)))
    found = turning_back(one, problem(one), {OWN: 1, OTHER: 3}, holds())
    after = missing(one, found, 60.0)
    assert after.missed_usd == {OWN: pytest.approx(3.0), OTHER: pytest.approx(3.0)}
    assert after.waiting() == {OWN, OTHER}
    assert not missing(one, found, 60.0 * START_USD).waiting()
    assert missing(one, found, -5.0).missed_usd == found.missed_usd
    late = replace(one, at_seconds=1e6)
    assert missing(late, found, 60.0).missed_usd[OWN] == pytest.approx(2.0 + 5.0)  # no more than five minutes


def test_those_who_wait_may_move_on_but_not_back() -> None:
    one = world((OWN, Turn(1, 900.0)), (OTHER, Turn(-1, 900.0)))
    wanted = {OWN: 1, OTHER: 3}
    found = turning_back(one, problem(one), wanted, holds())
    kept = steadied(holds(), found, wanted)
    assert kept[OWN].bounds == Bounds(2, 8, 2)
    assert kept[OTHER].bounds == Bounds(0, 2, 2)
    assert not kept[OWN].has_waited
    paid = steadied(holds(), missing(one, found, 1e6), wanted)
    assert paid[OWN].bounds == Bounds(0, 8, 2)
    assert paid[OWN].has_waited


def test_the_memory_begins_anew_with_each_move_and_forgets_after_the_hour() -> None:
    one = world((OWN, Turn(1, 900.0, 2.0)), (OTHER, Turn(-1, 900.0, 2.0)), ("ai/gone", Turn(1, 900.0)))
    found = turning_back(one, problem(one), {OWN: 1, OTHER: 3}, holds())
    assert turns_after(one, {OWN: 2, OTHER: 3}, holds(), missing(one, found, 60.0)) == {
        OWN: Turn(1, 900.0, pytest.approx(3.0)),  # type: ignore[arg-type]
        OTHER: Turn(1, 1000.0),
    }
    assert not turns_after(replace(one, at_seconds=1e6), {OWN: 2, OTHER: 2}, holds(), found)


def swung(rps: float, turns: dict[str, Turn]) -> Snapshot:
    """The second model asks for more than its two replicas; the first has one to spare. All four GPUs are taken."""
    pools = local(serving=2, previous=2), local("other", serving=2, previous=2)
    asked = route(rps=5), route("second", "other", "api", rps=rps)
    since = {OWN: (0.0, 1)}
    memory = Memory(below_since_seconds=since, turns=turns, at_seconds=985.0)
    return snapshot(*pools, hosted(), *asked, memory=memory, gpus=4.0)


def test_a_decision_follows_at_first_and_waits_before_it_turns_back() -> None:
    first = decide(swung(17.5, {}))
    assert (first.pools[OWN].replicas, first.pools[OTHER].replicas) == (1, 3)
    assert first.memory.turns == {OWN: Turn(-1, 1000.0), OTHER: Turn(1, 1000.0)}
    turns = {OWN: Turn(1, 900.0), OTHER: Turn(-1, 900.0)}
    held = decide(swung(17.5, turns))
    assert (held.pools[OWN].replicas, held.pools[OTHER].replicas) == (2, 2)
    assert 0.0 < held.memory.turns[OTHER].missed_usd < START_USD
    assert "turning back would have saved" in held.pools[OTHER].message
    paid = {key: replace(turn, missed_usd=START_USD * 1.1) for key, turn in turns.items()}
    turned = decide(swung(17.5, paid))
    assert (turned.pools[OWN].replicas, turned.pools[OTHER].replicas) == (1, 3)


def test_requests_that_nobody_would_answer_never_wait() -> None:
    turns = {OWN: Turn(1, 900.0), OTHER: Turn(-1, 900.0)}
    one = swung(25.0, turns)
    kept = tuple(replace(each, perimeters=("onPremises",)) if each.name == "second" else each for each in one.routes)
    assert decide(replace(one, routes=kept)).pools[OTHER].replicas == 3
