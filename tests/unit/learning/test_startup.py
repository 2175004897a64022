"""Start-up times: robust against one slow node, and remembered when the replicas are gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.learning.startup import LONGEST_SECONDS, REMEMBERED_STARTS, Starts, after


def starts(*seconds: float) -> Starts:
    return after(Starts(), {f"uid-{number}": value for number, value in enumerate(seconds)})


def test_without_a_start_nothing_is_known() -> None:
    assert Starts().mean_seconds is None


def test_one_slow_start_counts_for_twice_the_median_at_most() -> None:
    assert starts(118, 120, 125, 610).mean_seconds == pytest.approx(152)


def test_the_newest_eight_count() -> None:
    assert starts(*[900] * 20, *[100] * REMEMBERED_STARTS).mean_seconds == pytest.approx(100)


def test_starts_outlive_their_replicas() -> None:
    known = after(starts(120, 130), {})
    assert known.mean_seconds == pytest.approx(125)


def test_a_replica_that_was_unready_for_a_moment_has_not_been_starting_for_hours() -> None:
    known = after(Starts(), {"a": 120.0})
    assert after(known, {"a": 7300.0}) == known
    assert after(known, {"a": 110.0}).mean_seconds == 110.0


@pytest.mark.parametrize("wrong", [-5.0, float("nan"), float("inf"), LONGEST_SECONDS + 1])
def test_what_no_start_can_have_taken_is_left_out(wrong: float) -> None:
    assert after(Starts(), {"a": wrong, "b": 100.0}).mean_seconds == 100.0


@given(st.lists(st.dictionaries(st.text(max_size=3), st.floats()), max_size=6))
def test_the_mean_lies_between_the_shortest_and_the_longest(rounds: list[dict[str, float]]) -> None:
    known = Starts()
    for ready in rounds:
        known = after(known, ready)
    assert len(known.known) <= REMEMBERED_STARTS
    if known.mean_seconds is not None:
        seconds = [value for _, value in known.known]
        assert min(seconds) - 1e-9 <= known.mean_seconds <= max(seconds) + 1e-9
