"""Numbers as the API and people read them."""

from __future__ import annotations

from typing import Any


def decimal_text(value: float) -> str:
    """Three significant digits and never scientific notation, as the API's decimal strings ask: 0.00012345 -> 0.000123."""
    text = format(float(f"{max(0.0, value):.3g}"), ".12f").rstrip("0").rstrip(".")
    return text or "0"


def ratio_text(value: float | None) -> str | None:
    """A share between 0 and 1."""
    return None if value is None else decimal_text(min(1.0, max(0.0, value)))


def percent(value: float) -> str:
    """A share as people read it: 88%."""
    return f"{100 * value:.0f}%"


def without_none(value: dict[str, Any]) -> dict[str, Any]:
    """A status says nothing about what is not known."""
    return {key: one for key, one in value.items() if one is not None}
