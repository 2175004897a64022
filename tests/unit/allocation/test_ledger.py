"""Entries of the ledger: from what, what else, and what it cost."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.ledger import (
    Entry,
    Spending,
    Tally,
    as_json,
    changes,
    digest,
    entry_of,
    in_words,
    is_due,
    settled,
    spent_usd_per_hour,
)
from comptroller.allocation.snapshot import Measurement, Memory, Sample, Snapshot, Unknown
from tests.unit.allocation.build import hosted, local, route, snapshot


def world(rps: float | Measurement = 10.0, **changes: Any) -> Snapshot:
    return snapshot(local(serving=2, previous=2), hosted(), route(rps=rps), route("draft", rps=1.0), **changes)


def entry(rps: float = 10.0, number: int = 7) -> Entry:
    return entry_of(number, world(rps), decide(world(rps)))


def test_the_digest_is_that_of_the_inputs_and_not_of_their_order_or_of_the_hour() -> None:
    one = world()
    turned = replace(one, routes=one.routes[::-1], gpus=dict(reversed(one.gpus.items())))
    assert digest(one) == digest(turned) == digest(replace(one, at_seconds=5000.0))
    assert digest(one) != digest(world(10.1))
    assert len(digest(one)) == 16


@pytest.mark.parametrize(
    "other",
    [
        world(Unknown("stale")),
        world(gpus=63.0),
        world(memory=Memory(shares={"ai/policy/chat": {"ai/own": 1.0}})),
        world(memory=Memory(below_since_seconds={"ai/own": (900.0, 1)})),
    ],
    ids=["not knowing", "a GPU", "what was sent where", "how long fewer have sufficed"],
)
def test_everything_that_a_decision_depends_on_is_in_the_digest(other: Snapshot) -> None:
    assert digest(other) != digest(world())


def test_of_times_the_digest_has_the_distance_to_now() -> None:
    early = world(memory=Memory(below_since_seconds={"ai/own": (900.0, 1)}))
    late = replace(early, at_seconds=1600.0, memory=Memory(below_since_seconds={"ai/own": (1500.0, 1)}))
    assert digest(early) == digest(late)


def test_an_entry_has_what_was_decided_from_what_and_what_else_could_have_been_done() -> None:
    made = entry()
    assert made.demand == {"ai/policy/chat": 10.0, "ai/policy/draft": 1.0}
    assert made.prices["ai/api"]["outputUsdPerMillionTokens"] == 15.0
    assert set(made.replicas) == {"ai/own"}
    assert [one.name for one in made.alternatives] == ["all hosted", "previous plan"]
    assert made.changes == (), "the first entry changes nothing: nobody knows what was before"


def test_the_same_decision_again_is_no_change_and_is_recorded_once_a_minute() -> None:
    made = entry()
    again = decide(world())
    assert changes(made, again) == ()
    assert [is_due(made, again, 1000.0 + after) for after in (0, 15, 59, 60)] == [False, False, False, True]
    assert is_due(made, again, 900.0), "the clock went back"
    assert is_due(None, again, 1000.0)


def with_route(decision: Decision, **changes: Any) -> Decision:
    key = "ai/policy/chat"
    return replace(decision, routes={**decision.routes, key: replace(decision.routes[key], **changes)})


def test_changes_are_told_by_what_they_change() -> None:
    made, after = entry(), decide(world())
    more = replace(after, pools={"ai/own": replace(after.pools["ai/own"], replicas=5, message="2 -> 5: many.")})
    assert [(one.subject, one.words) for one in changes(made, more)] == [("ai/own", "2 -> 5: many.")]
    shares = made.shares["ai/policy/chat"]
    moved = {"ai/own": shares["ai/own"] - 0.11, "ai/api": shares.get("ai/api", 0.0) + 0.11}
    assert [one.subject for one in changes(made, with_route(after, shares=moved))] == ["ai/policy/chat"]
    little = {"ai/own": shares["ai/own"] - 0.09, "ai/api": shares.get("ai/api", 0.0) + 0.09}
    assert changes(made, with_route(after, shares=little)) == ()
    assert [one.words for one in changes(made, replace(after, rung="greedy"))] == [
        f"Decided by greedy instead of {made.rung}."
    ]
    gone = replace(after, pools={}, routes={"ai/policy/draft": after.routes["ai/policy/draft"]})
    assert [one.words for one in changes(made, gone)] == ["own is gone.", "Route chat is gone."]


def spending(usd: Any = None, answered: Any = None) -> Spending:
    return Spending({"ai/api": Sample(0.004)} if usd is None else usd, {} if answered is None else answered)


def test_what_is_spent_is_tokens_as_counted_and_power_of_the_replicas_that_exist() -> None:
    one, decision = world(), decide(world())
    capacity = decision.pools["ai/own"].capacity_requests_per_second
    found = spent_usd_per_hour(one, decision, spending(answered={"ai/own": Sample(0.8 * capacity)}))
    assert isinstance(found, Sample)
    assert found.value == pytest.approx(0.004 * 3600 + 2 * 0.03 + 0.8 * 0.13)
    idle = spent_usd_per_hour(one, decision, spending(usd={}))
    assert idle == Sample(pytest.approx(2 * 0.03))
    full = spent_usd_per_hour(one, decision, spending(usd={}, answered={"ai/own": Sample(1e6)}))
    assert full == Sample(pytest.approx(2 * 0.03 + 2 * 0.13)), "two replicas draw no more than two can"


@pytest.mark.parametrize(
    ("one", "measured", "why"),
    [
        (world(Unknown("stale")), spending(), "demand of chat: stale"),
        (world(), spending(usd=Unknown("Prometheus is down")), "Prometheus is down"),
        (world(), spending(answered=Unknown("refused")), "refused"),
        (world(), spending(usd={"ai/api": Unknown("a value of nan")}), "a value of nan"),
        (world(), spending(answered={"ai/own": Unknown("two series")}), "two series"),
    ],
)
def test_what_is_not_measured_is_unknown_and_never_nothing(one: Snapshot, measured: Spending, why: str) -> None:
    assert spent_usd_per_hour(one, decide(one), measured) == Unknown(why)


def test_an_interval_is_settled_with_what_it_cost_against_what_was_predicted() -> None:
    made = replace(entry(), usd_per_hour=14.0)
    tally = Tally().after(15.0, Sample(14.0)).after(45.0, Sample(16.0))
    done = settled(made, tally)
    assert done.realised is not None
    assert done.realised.seconds == 60.0
    assert done.realised.usd == pytest.approx((15 * 14 + 45 * 16) / 3600)
    assert done.realised.error_ratio == pytest.approx(15.5 / 14.0 - 1.0)
    assert in_words(done) == "$14.00/h predicted, $15.50/h spent (11% more)"


def test_one_stretch_that_is_unknown_makes_the_interval_unknown() -> None:
    tally = Tally().after(15.0, Sample(14.0)).after(15.0, Unknown("stale")).after(15.0, Unknown("other"))
    done = settled(replace(entry(), usd_per_hour=14.0), tally)
    assert done.realised is not None
    assert (done.realised.usd, done.realised.error_ratio, done.realised.seconds) == (None, None, 45.0)
    assert in_words(done) == "$14.00/h predicted, spent: unknown (stale)"


def test_as_json_it_is_exact_and_can_be_narrowed_to_one_pool() -> None:
    made = settled(entry(), Tally().after(60.0, Sample(14.0)))
    whole = json.loads(json.dumps(as_json(made), allow_nan=False))
    assert (whole["id"], whole["inputs"], whole["rung"]) == ("7", made.inputs, made.rung)
    assert whole["usdPerHour"] == made.usd_per_hour
    assert whole["alternatives"][0]["moreUsdPerHour"] == pytest.approx(
        made.alternatives[0].usd_per_hour - made.usd_per_hour_when_started
    )
    assert whole["realised"]["usd"] == pytest.approx(14.0 / 60.0)
    api = as_json(made, "ai/api")
    assert (api["replicas"], set(api["prices"])) == ({}, {"ai/api"})
    assert all("ai/api" in shares for shares in api["shares"].values())
