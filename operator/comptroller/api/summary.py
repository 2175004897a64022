"""The strings that `kubectl get` prints, from the numbers of a status."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

NOTHING = "-"
"""What is shown where a number does not apply; an unknown number is left out instead."""


def pool_summary(status: Mapping[str, Any]) -> dict[str, str]:
    """`status.summary` of a pool from the rest of its status, both as on the wire.

    What only a local pool has is `-` for a hosted one; what is not known yet is left out.

    >>> pool_summary({"modelClass": "hosted", "economics": {"usdPerMillionTokens": "5.2"}})["usdPerMillionTokens"]
    '5.20'
    """
    economics, replicas = status.get("economics", {}), status.get("replicas", {})
    hosted = status.get("modelClass") == "hosted"
    shown = {
        "want": NOTHING if hosted else replicas.get("desired"),
        "ready": NOTHING if hosted else replicas.get("ready"),
        "warm": NOTHING if hosted else replicas.get("warm"),
        "utilisation": NOTHING if hosted else percent(_number(economics.get("utilisation"))),
        "usdPerMillionTokens": usd(_number(economics.get("usdPerMillionTokens"))),
    }
    return {name: str(value) for name, value in shown.items() if value is not None}


def percent(ratio: Decimal | None) -> str | None:
    """0.7134 is 71%; an unknown ratio stays unknown.

    >>> percent(Decimal("0.7134"))
    '71%'
    """
    return None if ratio is None else f"{ratio * 100:.0f}%"


def usd(amount: Decimal | None) -> str | None:
    """US dollars for people: two decimals from 0.10 upwards, else two significant digits.

    >>> [usd(Decimal(text)) for text in ("14.1", "0.19", "0.0021", "0")]
    ['14.10', '0.19', '0.0021', '0.00']
    """
    if amount is None:
        return None
    return f"{amount:.2f}" if not amount or abs(amount) >= Decimal("0.1") else format(Decimal(f"{amount:.1e}"), "f")


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
