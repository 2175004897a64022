"""Numbers as the API and people read them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def decimal_text(value: float) -> str:
    """Three significant digits without an exponent, as the API's decimal strings ask: 0.00012345 -> 0.000123."""
    text = format(float(f"{max(0.0, value):.3g}"), ".12f").rstrip("0").rstrip(".")
    return text or "0"


def signed_text(value: float) -> str:
    """The same of a number that may be below zero."""
    text = decimal_text(abs(value))
    return f"-{text}" if value < 0.0 and text != "0" else text


def exact_decimal(value: float) -> Decimal:
    """The number as its shortest text says it."""
    return Decimal(str(value))


def ratio_text(value: float | None) -> str | None:
    """A share between 0 and 1."""
    return None if value is None else decimal_text(min(1.0, max(0.0, value)))


def usd_text(value: float) -> str:
    """US dollars as people read them, without the sign: two decimals from 0.10 upwards, else two significant digits.

    >>> [usd_text(value) for value in (14.1, 0.19, 0.0021, 0.0)]
    ['14.10', '0.19', '0.0021', '0.00']
    """
    amount = Decimal(decimal_text(value))
    return f"{amount:.2f}" if not amount or amount >= Decimal("0.1") else format(Decimal(f"{amount:.1e}"), "f")


def percent(value: float) -> str:
    """A share as people read it: 88%."""
    return f"{100 * value:.0f}%"


def without_none(value: dict[str, Any]) -> dict[str, Any]:
    """A status says nothing about what is not known."""
    return {key: one for key, one in value.items() if one is not None}
