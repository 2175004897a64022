"""Numbers as the status says them."""

from __future__ import annotations

import pytest

from comptroller.runtime.reconcile.numbers import usd_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(14.1, "14.10"), (0.19, "0.19"), (0.1, "0.10"), (0.0999, "0.10"), (0.0021, "0.0021"), (0.0, "0.00")],
)
def test_dollars_have_two_decimals_or_two_digits(value: float, text: str) -> None:
    assert usd_text(value) == text
