"""Sessions: planned shares are met for many and for one, and what moves is only what must."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.router_plugin.sessions import MARGIN, Sessions, Shares, order

BACKENDS = ("ai/one/chat", "ai/two/chat", "ai/api/chat", "ai/eu/chat")
WEIGHTS = st.lists(st.integers(1, 1000), min_size=2, max_size=4).map(
    lambda found: dict(zip(BACKENDS, map(float, found), strict=False))
)


some = settings(deadline=None, max_examples=40)


def sessions(number: int, seed: int = 0) -> list[bytes]:
    draw = random.Random(seed)
    return [draw.randbytes(16) for _ in range(number)]


def shares_of(chosen: list[str], weights: dict[str, float]) -> dict[str, float]:
    return {one: chosen.count(one) / len(chosen) for one in weights}


def planned(weights: dict[str, float]) -> dict[str, float]:
    return {one: weight / sum(weights.values()) for one, weight in weights.items()}


@some
@given(WEIGHTS, st.integers(0, 9))
def test_many_sessions_meet_the_plan_and_stay_where_they_are(weights: dict[str, float], seed: int) -> None:
    homes = [order(one, weights)[0] for one in sessions(3000, seed)]

    for backend, share in planned(weights).items():
        deviation = (share * (1 - share) / 3000) ** 0.5
        assert shares_of(homes, weights)[backend] == pytest.approx(share, abs=6 * deviation + 0.002)
    assert homes == [order(one, weights)[0] for one in sessions(3000, seed)]


@some
@given(WEIGHTS, st.integers(1, 40), st.integers(0, 9))
def test_few_sessions_meet_the_plan_as_well(weights: dict[str, float], number: int, seed: int) -> None:
    """One session too: what is above its share and the margin goes to the next one."""
    shares, draw = Shares(weights), random.Random(seed)
    asking = sessions(number, seed)

    chosen = [shares.choose(draw.choice(asking), list(weights)) for _ in range(1500)]

    for backend, share in planned(weights).items():
        assert chosen.count(backend) / 1500 <= share + MARGIN + 2 / 1500 + 0.01


@some
@given(WEIGHTS, st.sampled_from(BACKENDS[:2]), st.integers(0, 9))
def test_a_share_that_grows_by_a_twentieth_moves_that_many_sessions_and_only_there(
    weights: dict[str, float], growing: str, seed: int
) -> None:
    total = sum(weights.values())
    after = {one: weight * 0.95 for one, weight in weights.items()}
    after[growing] += 0.05 * total

    moved = [
        (order(one, weights)[0], order(one, after)[0])
        for one in sessions(2000, seed)
        if order(one, weights)[0] != order(one, after)[0]
    ]

    assert {to for _, to in moved} <= {growing}
    assert len(moved) / 2000 <= 0.05 + 6 * (0.05 * 0.95 / 2000) ** 0.5


@some
@given(WEIGHTS, st.integers(0, 9))
def test_sessions_of_a_backend_that_fails_spread_and_all_others_stay(weights: dict[str, float], seed: int) -> None:
    shares, lost = Shares(weights), next(iter(weights))
    for session in sessions(200, seed):
        home, *others = order(session, weights)

        assert shares.choose(session, [one for one in weights if one != lost]) == (others[0] if home == lost else home)


def test_a_pool_that_was_full_does_not_owe_requests_when_it_has_room_again() -> None:
    shares = Shares({"a": 500.0, "b": 500.0})
    (one,) = [session for session in sessions(8) if order(session, {"a": 1.0, "b": 1.0})[0] == "a"][:1]
    for _ in range(500):
        shares.choose(one, ["b"])

    assert [shares.choose(one, ["a", "b"]) for _ in range(2)] == ["a", "a"]


def test_reserves_are_nobodys_home_and_left_to_the_weights() -> None:
    found = Sessions()

    assert found.choose("chat", b"x", {"a": 1000.0, "r": 1e-6}, ["a", "r"]) == "a"
    assert found.choose("chat", b"x", {"a": 1000.0, "r": 1e-6}, ["r"]) is None
    assert found.choose("chat", b"x", {"r": 1e-6}, ["r"]) is None


def test_a_new_plan_begins_to_count_anew() -> None:
    found = Sessions()
    for _ in range(400):
        found.choose("chat", b"x", {"a": 900.0, "b": 100.0}, ["a", "b"])

    chosen = [found.choose("chat", b"x", {"a": 100.0, "b": 900.0}, ["a", "b"]) for _ in range(400)]

    assert chosen.count("a") / 400 == pytest.approx(0.1, abs=MARGIN + 0.01)


def test_one_session_alternates_by_the_plan() -> None:
    shares = Shares({"a": 700.0, "b": 300.0})

    chosen = [shares.choose(b"the only one", ["a", "b"]) for _ in range(400)]

    assert chosen.count("a") / 400 == pytest.approx(0.7, abs=MARGIN + 0.01)
