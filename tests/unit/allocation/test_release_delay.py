"""How long an idle replica stays: as long as a rented ski is rented, within the settings' bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.allocation.decide import decide
from comptroller.allocation.measured import cleaned
from comptroller.allocation.problem import prepare
from comptroller.allocation.snapshot import Memory, Rules, Snapshot
from comptroller.allocation.stabilise import release_delay_seconds
from comptroller.api.conditions import Reason
from tests.unit.allocation.build import hosted, local, planned_state, route, snapshot

OWN = "ai/own"
RULES = Rules(scale_down_delay_seconds=300.0, longest_scale_down_delay_seconds=3600.0)


def delay(world: Snapshot, rules: Rules = RULES) -> float:
    return release_delay_seconds(prepare(cleaned(world)[0]), OWN, rules)


def fleet(idle_usd: float, *others: object, rules: Rules = RULES) -> Snapshot:
    pool = local(serving=2, previous=2, idle_usd_per_replica_hour=idle_usd)
    return snapshot(pool, hosted(), *others, rules=rules)  # type: ignore[arg-type]


def test_a_rented_replica_stays_until_its_idling_has_cost_what_missing_it_would() -> None:
    """7.91 requests/s at $24.30/h take $192 an hour elsewhere, for 180 s of start-up: 180 x 192 / 40 = 865 s."""
    assert delay(fleet(40.0, route(rps=3))) == pytest.approx(180.0 * 7.908 * 24.3 / 40.0, rel=0.01)


def test_it_is_never_shorter_than_the_delay_nor_longer_than_the_longest() -> None:
    assert delay(fleet(400.0, route(rps=3))) == 300.0
    assert delay(fleet(0.03, route(rps=3))) == 3600.0
    assert delay(fleet(0.0, route(rps=3))) == 3600.0


def test_a_pool_that_nobody_asks_waits_no_longer_than_the_delay() -> None:
    assert delay(fleet(0.03, route(rps=0))) == 300.0
    assert delay(fleet(0.03)) == 300.0


def test_where_nobody_outside_may_answer_it_stays_longest() -> None:
    assert delay(fleet(40.0, route("secret", rps=3, perimeters=("onPremises",)))) == 3600.0


def test_without_a_longest_delay_all_pools_wait_alike() -> None:
    alike = Rules(scale_down_delay_seconds=300.0)
    assert delay(fleet(0.03, route(rps=3)), alike) == 300.0


def test_the_sentence_tells_the_delay_of_this_pool() -> None:
    world = fleet(40.0, route(rps=3))
    decision = decide(world)
    assert decision.pools[OWN].reason is Reason.STABILISING
    assert "once that has lasted 865 s" in decision.pools[OWN].message
    later = replace(planned_state(world, decision, ready=True, after_seconds=800.0), routes=world.routes)
    assert decide(later).pools[OWN].replicas == 2
    latest = replace(later, at_seconds=world.at_seconds + 900.0)
    assert decide(latest).pools[OWN].replicas == 1
    assert decide(replace(latest, memory=Memory())).pools[OWN].replicas == 2
