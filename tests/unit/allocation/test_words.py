"""Numbers as people say them."""

from __future__ import annotations

import pytest

from comptroller.allocation.words import listed, number, percent, replicas, usd


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (31.42, "31.4"),
        (3.4, "3.4"),
        (4237.0, "4,240"),
        (0.12345, "0.123"),
        (100.0, "100"),
        (0.00214, "0.00214"),
        (2.999, "3"),
        (99.96, "100"),
        (-3.456, "-3.46"),
        (float("nan"), "unknown"),
        (1e-12, "0"),
    ],
)
def test_three_significant_digits(value: float, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(29.6, "$29.60"), (212.3, "$212"), (0.0021, "$0.0021"), (0, "$0.00"), (11.2, "$11.20")]
)
def test_money(value: float, said: str) -> None:
    assert usd(value) == said


@pytest.mark.parametrize(("value", "said"), [(0.712, "71%"), (0.004, "0.4%"), (0.0, "0%"), (1.0, "100%")])
def test_shares(value: float, said: str) -> None:
    assert percent(value) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d"], "a, b and 2 more"),
        ([], "no route"),
    ],
)
def test_lists(names: list[str], said: str) -> None:
    assert listed(names) == said


def test_one_replica_is_not_many() -> None:
    assert (replicas(1), replicas(3.4)) == ("1 replica", "3.4 replicas")
