"""From distributions to a few joint scenarios: means are kept, and so is what routes do together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.learning.demand_scenarios import joint_scenarios, slice_means


def test_the_worked_number() -> None:
    two, one = slice_means(np.array([[10.0, 20.0, 30.0]]), np.array([[0.25, 0.5, 0.25]]), 2, 1)

    assert two.tolist() == [[15.0, 25.0]]
    assert one.tolist() == [[20.0]]


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(1e-6, 1.0)), min_size=2, max_size=40),
    st.integers(1, 12),
)
def test_slices_rise_stay_inside_and_keep_the_mean(pairs: list[tuple[float, float]], slices: int) -> None:
    demands = np.sort(np.array([[one for one, _ in pairs]]))
    weight = np.array([[one for _, one in pairs]])
    weight /= weight.sum()

    (found,) = slice_means(demands, weight, slices)

    assert (np.diff(found) >= 0.0).all()
    assert found.min() >= demands.min()
    assert found.max() <= demands.max()
    assert found.mean() == pytest.approx(float((demands * weight).sum()), rel=1e-6, abs=1e-6)


def scenarios(rank: list[list[int]], count: int = 4) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Two routes with the same distribution: 0 to 7 requests/s, all equally likely."""
    demands = np.tile(np.arange(8.0), (2, 1))
    return joint_scenarios(demands, np.full((2, 8), 1 / 8), np.array(rank), np.ones(2), count)


def test_routes_that_rose_together_rise_together() -> None:
    found = scenarios([[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]])

    assert found.tolist() == [[0.5, 2.5, 4.5, 6.5], [0.5, 2.5, 4.5, 6.5]]


def test_routes_of_which_one_fell_when_the_other_rose_make_a_steady_total() -> None:
    found = scenarios([[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0]])

    assert found.sum(axis=0).tolist() == [7.0] * 4
    assert sorted(found[0].tolist()) == [0.5, 2.5, 4.5, 6.5]


def test_as_many_scenarios_as_moments() -> None:
    found = scenarios([[0, 1, 2, 3, 4, 5, 6, 7], [3, 1, 4, 0, 5, 2, 6, 7]], count=8)

    assert sorted(found[1].tolist()) == list(range(8))
