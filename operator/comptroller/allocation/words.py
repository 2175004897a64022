"""How numbers and lists are said: three significant digits, money with its basis, short names."""

from __future__ import annotations

import math
from collections.abc import Sequence

SMALLEST = 1e-9  # below, a number is rounding dust


def number(value: float) -> str:
    """Three significant digits, never an exponent: 31.4, 0.125, 4,240."""
    if not math.isfinite(value):
        return "unknown"
    if abs(value) < SMALLEST:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    if digits <= 0 or rounded == round(rounded):
        return f"{rounded:,.0f}"
    return f"{rounded:,.{min(digits, 9)}f}".rstrip("0")


def usd(value: float) -> str:
    """Dollars as people write them: $29.60, $212, $0.0021."""
    if abs(value) >= 100.0:
        return f"${number(value)}"
    if abs(value) >= 1.0 or value == 0.0:
        return f"${value:.2f}"
    return f"${number(value)}"


def percent(ratio: float) -> str:
    """A share in percent; a tenth where it is small: 71%, 0.4%."""
    value = 100.0 * ratio
    return f"{value:.1f}%" if 0.0 < abs(value) < 1.0 else f"{value:.0f}%"


def short(key: str) -> str:
    """The last part of a namespaced key."""
    return key.rsplit("/", 1)[-1]


def listed(names: Sequence[str], most: int = 3) -> str:
    """`a`, `a and b`, `a, b and 4 more`."""
    shown = list(names[:most]) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part) if shown else "no route"


def replicas(count: float) -> str:
    """`1 replica`, `3.4 replicas`."""
    return f"{number(count)} replica{'' if number(count) == '1' else 's'}"
