"""Which prefixes are kept where not all fit."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.placement import Candidate, deal, exact, greedy, place

candidates = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 20), st.integers(1, 5)), min_size=0, max_size=7).map(
    lambda rows: [Candidate(f"p{n}", *map(float, row)) for n, row in enumerate(rows)]
)


def value(some: list[Candidate]) -> float:
    return sum(one.value for one in some)


def best(some: list[Candidate], capacity: float) -> float:
    """By trying all."""
    sets = chain.from_iterable(combinations(some, n) for n in range(len(some) + 1))
    return max(value(list(one)) for one in sets if sum(each.size for each in one) <= capacity)


@given(candidates, st.integers(0, 80))
def test_what_is_kept_fits_and_is_worth_the_most(some: list[Candidate], capacity: int) -> None:
    names = place(some, capacity)
    kept = [one for one in some if one.name in names]
    assert sum(one.size for one in kept) <= capacity
    assert value(kept) == pytest.approx(best(some, capacity))


@given(candidates, st.integers(30, 80))
def test_the_quick_way_keeps_at_least_half_of_the_value(some: list[Candidate], capacity: int) -> None:
    quick = greedy(some, capacity)
    assert sum(one.size for one in quick) <= capacity
    assert 2 * value(quick) >= best(some, capacity)
    assert value(exact(some, capacity)) >= value(quick)


@given(candidates, st.integers(0, 80))
def test_what_is_kept_stays_unless_another_set_is_worth_a_tenth_more(some: list[Candidate], capacity: int) -> None:
    names = place(some, capacity)
    assert place(some, capacity, names) == names
    for other in some:
        changed = place(some, capacity, names - {other.name})
        assert sum(one.size for one in some if one.name in changed) <= capacity
        assert 1.1 * value([one for one in some if one.name in changed]) >= best(some, capacity) - 1e-9


def test_the_example_of_the_book() -> None:
    some = [Candidate("a", 16_000, 4, 1), Candidate("b", 12_000, 3, 0.9), Candidate("c", 8_000, 2, 0.9)]
    assert place(some, 20_000) == {"b", "c"}
    assert place(some, 40_000) == {"a", "b", "c"}
    assert place(some, 1_000) == frozenset()


@pytest.mark.parametrize(("slots", "expected"), [(2, [(0,), (1,)]), (5, [(0, 2, 4), (1, 3)]), (1, [(0,), ()])])
def test_slots_are_dealt_out(slots: int, expected: list[tuple[int, ...]]) -> None:
    assert list(deal(["one", "two"], slots).values()) == expected


@given(st.integers(1, 16), st.integers(1, 16))
def test_every_slot_is_dealt_once_and_every_prefix_has_one(prefixes: int, slots: int) -> None:
    dealt = deal([f"p{n}" for n in range(min(prefixes, slots))], slots)
    assert sorted(slot for some in dealt.values() for slot in some) == list(range(slots))
    assert all(dealt.values())
