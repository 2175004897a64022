"""The rules of the election, one by one, with times of one's own clock."""

from __future__ import annotations

import pytest

from comptroller.runtime.election import (
    NOBODY,
    Record,
    Step,
    Terms,
    View,
    left_seconds,
    next_step,
    record_of,
    seen,
    won,
)

TERMS = Terms(15.0, 10.0)
MINE, THEIRS = Record("7", "me", 15.0), Record("8", "other", 15.0)


def led(at: float = 100.0) -> View:
    return won(View(), MINE, at, at + 0.5)


def test_a_lease_that_nobody_ever_saw_is_made_at_once() -> None:
    assert next_step(seen(View(), "me", None, 5.0), "me", TERMS, 5.0) is Step.CREATE


def test_the_right_to_write_counts_from_the_moment_the_request_left() -> None:
    assert left_seconds(led(100.0), TERMS, 100.5) == 9.5
    assert left_seconds(led(100.0), TERMS, 110.0) == 0.0
    assert left_seconds(View(), TERMS, 0.0) < 0.0


def test_a_process_that_was_frozen_may_not_write_before_it_has_renewed() -> None:
    frozen = led(100.0)
    assert left_seconds(frozen, TERMS, 160.0) < 0.0
    assert next_step(frozen, "me", TERMS, 160.0) is Step.RENEW
    assert left_seconds(won(frozen, Record("9", "me", 15.0), 160.0, 160.1), TERMS, 160.1) > 0.0


@pytest.mark.parametrize(("after", "step"), [(14.9, Step.WAIT), (15.0, Step.TAKE)])
def test_another_holder_is_replaced_a_whole_lease_after_it_was_last_heard_of(after: float, step: Step) -> None:
    view = seen(View(), "me", THEIRS, 100.0)
    assert next_step(seen(view, "me", THEIRS, 100.0 + after), "me", TERMS, 100.0 + after) is step


def test_every_renewal_of_another_begins_the_wait_anew() -> None:
    view = seen(seen(View(), "me", THEIRS, 100.0), "me", Record("9", "other", 15.0), 114.0)
    assert next_step(view, "me", TERMS, 120.0) is Step.WAIT


def test_a_holder_that_asks_for_a_longer_lease_has_it() -> None:
    view = seen(View(), "me", Record("8", "other", 60.0), 100.0)
    assert next_step(view, "me", TERMS, 159.0) is Step.WAIT
    assert next_step(view, "me", TERMS, 160.0) is Step.TAKE


def test_a_lease_that_was_let_go_of_is_taken_at_once() -> None:
    assert next_step(seen(View(), "me", Record("8", NOBODY, 15.0), 100.0), "me", TERMS, 100.0) is Step.TAKE


def test_whoever_finds_another_in_its_place_has_lost_and_writes_nothing() -> None:
    view = seen(led(100.0), "me", THEIRS, 101.0)
    assert view.lost_to == "other"
    assert left_seconds(view, TERMS, 101.0) < 0.0


def test_a_follower_that_sees_another_holder_has_lost_nothing() -> None:
    assert seen(View(), "me", THEIRS, 1.0).lost_to is None


def test_after_a_lease_was_deleted_followers_wait_and_its_holder_makes_it_anew() -> None:
    follower = seen(seen(View(), "me", THEIRS, 100.0), "me", None, 101.0)
    assert next_step(follower, "me", TERMS, 115.9) is Step.WAIT
    assert next_step(follower, "me", TERMS, 116.0) is Step.CREATE
    holder = seen(led(100.0), "me", None, 101.0)
    assert next_step(holder, "me", TERMS, 102.0) is Step.CREATE
    assert left_seconds(holder, TERMS, 102.0) == 8.0


def test_an_answer_that_was_lost_is_found_out_by_looking() -> None:
    view = seen(View(), "me", MINE, 50.0)
    assert left_seconds(view, TERMS, 50.0) < 0.0
    assert next_step(view, "me", TERMS, 50.0) is Step.RENEW


def test_a_lease_that_somebody_else_wrote_is_read_with_what_it_lacks() -> None:
    assert record_of(None) is None
    assert record_of({"metadata": {"resourceVersion": "3"}}) == Record("3", NOBODY, 0.0)
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 20, "leaseTransitions": 4, "acquireTime": "then"}
    assert record_of({"metadata": {"resourceVersion": "3"}, "spec": spec}) == Record("3", "a", 20.0, 4, "then")
