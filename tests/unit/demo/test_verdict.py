"""The verdict: a good story passes, and each way of breaking it fails the check that is about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from e2e.demo.observe import Observation, PoolView
from e2e.demo.results import Result
from e2e.demo.verdict import Evidence, checks, first_new_replica, first_spill, hosted_ratios, starting_intervals

STEP, END = 50.0, 180.0


def seen_at(at: float, desired: int, ready: int) -> Observation:
    return Observation(at, (PoolView("qwen3-8b", "rtx4090", hosted=False, desired=desired, ready=ready),))


def fleet(at: float) -> Observation:
    """1 replica; 4 wanted from 54 s on, ready from 75 s on; 1 again after the end."""
    desired = 4 if 54 <= at < 190 else 1
    ready = 4 if 75 <= at < 195 else 1
    return seen_at(at, desired, ready)


def client(number: int, at: float, *, hosted: bool = False, route: str = "extraction", status: int = 200) -> Result:
    return Result(number, route, at, status, 2.0, pool="claude-sonnet" if hosted else "qwen3-8b", hosted=hosted)


def requests() -> list[Result]:
    """Two a second; between 52 and 76 s every second one outside. One in ten is restricted and stays."""
    found = []
    for number in range(int(END * 2)):
        at = number / 2
        restricted = number % 10 == 0
        hosted = 52 <= at < 76 and number % 2 == 1
        found.append(
            client(number, at, hosted=hosted and not restricted, route="deal-review" if restricted else "extraction")
        )
    return found


GOOD = Evidence(
    observations=[fleet(float(at)) for at in range(0, 200, 2)],
    results=requests(),
    load_step=STEP,
    load_end=END,
    planned_requests=int(END * 2),
    restricted_routes=frozenset({"deal-review"}),
    canaries_in_ledgers=0,
)


def failed(seen: Evidence) -> list[str]:
    return [check.name for check in checks(seen) if not check.passed]


def test_a_good_story_passes() -> None:
    assert failed(GOOD) == []


def test_times_are_found() -> None:
    assert first_spill(GOOD) == 52.5
    assert first_new_replica(GOOD) == 76.0
    assert starting_intervals(GOOD.observations) == [(54.0, 76.0)]
    assert hosted_ratios(GOOD)[11] == (55.0, 10, 0.5)


def test_a_fleet_that_does_not_grow_has_not_scaled_out() -> None:
    never = replace(GOOD, observations=[seen_at(float(at), 1, 1) for at in range(0, 200, 2)])
    assert "the fleet scaled out" in failed(never)


def test_wanting_is_not_having() -> None:
    pending = replace(GOOD, observations=[replace_ready(one) for one in GOOD.observations])
    assert "the fleet scaled out" in failed(pending)


def replace_ready(one: Observation) -> Observation:
    return seen_at(one.at, one.desired, 1)


def test_spill_only_after_the_replicas_are_ready_is_not_spill_while_starting() -> None:
    late = [replace(one, hosted=90 <= one.at < 100 and one.number % 2 == 1) for one in GOOD.results]
    assert "it spilled while replicas were starting" in failed(replace(GOOD, results=late))


def test_spill_that_never_ends_has_not_come_back() -> None:
    ever = [replace(one, hosted=one.at >= 52 and one.number % 2 == 1) for one in GOOD.results]
    assert "it came back inside" in failed(replace(GOOD, results=ever))


def test_coming_back_because_the_load_has_gone_does_not_count() -> None:
    results = [replace(one, hosted=one.at >= 52 and one.number % 2 == 1) for one in GOOD.results if one.at < 120]
    results += [client(1000 + n, 120 + 3.0 * n) for n in range(20)]
    assert "it came back inside" in failed(replace(GOOD, results=results))


def test_no_spill_at_all_has_nothing_to_come_back_from() -> None:
    inside = [replace(one, hosted=False) for one in GOOD.results]
    names = failed(replace(GOOD, results=inside))
    assert names == ["it spilled while replicas were starting", "it came back inside"]


@pytest.mark.parametrize(("desired", "ready"), [(4, 4), (1, 4), (3, 3)], ids=["stays", "wanted only", "half way"])
def test_a_fleet_that_stays_large_has_not_scaled_in(desired: int, ready: int) -> None:
    observations = [*GOOD.observations, seen_at(300.0, desired, ready)]
    assert failed(replace(GOOD, observations=observations)) == ["it scaled in"]


def test_one_canary_in_a_ledger_fails() -> None:
    assert failed(replace(GOOD, canaries_in_ledgers=1)) == ["no restricted request left the premises"]


def test_ledgers_that_cannot_be_read_prove_nothing() -> None:
    assert failed(replace(GOOD, canaries_in_ledgers=None)) == ["no restricted request left the premises"]


def test_a_replay_without_restricted_requests_proves_nothing() -> None:
    results = [replace(one, route="extraction") for one in GOOD.results]
    assert "no restricted request left the premises" in failed(replace(GOOD, results=results))


def test_a_restricted_request_that_a_hosted_api_answered_fails_even_without_its_marker() -> None:
    results = [*GOOD.results[:-1], client(10_000, 170.0, hosted=True, route="deal-review")]
    assert "no restricted request left the premises" in failed(replace(GOOD, results=results))


def test_errors_above_two_percent_fail_and_are_quoted() -> None:
    results = [replace(one, status=503, error="no replica") if one.number % 20 == 0 else one for one in GOOD.results]
    broken = [check for check in checks(replace(GOOD, results=results)) if not check.passed]
    assert broken[0].name == "requests were answered"
    assert "503 no replica" in broken[0].detail


def test_requests_that_never_ended_count_as_errors() -> None:
    assert failed(replace(GOOD, planned_requests=GOOD.planned_requests + 50)) == ["requests were answered"]


def test_nothing_seen_fails_everything_and_raises_nothing() -> None:
    empty = Evidence([], [], STEP, END, 10, frozenset({"deal-review"}), 0)
    assert len(failed(empty)) == len(checks(empty))


def test_every_broken_promise_says_where_to_look() -> None:
    empty = Evidence([], [], STEP, END, 10, frozenset({"deal-review"}), None)
    assert all(check.look_at for check in checks(empty))
