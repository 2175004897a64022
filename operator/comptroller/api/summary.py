"""The strings that `kubectl get` prints, from the numbers of a status."""

from __future__ import annotations

from decimal import Decimal

from comptroller.api.modelpool import ModelPoolStatus, PoolSummary

NOTHING = "-"
"""What is shown where a number does not apply; an unknown number is left out instead."""


def pool_summary(status: ModelPoolStatus) -> PoolSummary:
    """One line of a pool; what only a local pool has is `-` for a hosted one."""
    economics, replicas = status.economics, status.replicas
    cost = usd(economics.usd_per_million_tokens) if economics else None
    if status.model_class == "hosted":
        return PoolSummary(want=NOTHING, ready=NOTHING, warm=NOTHING, utilisation=NOTHING, usd_per_million_tokens=cost)
    return PoolSummary(
        want=_count(replicas.desired if replicas else None),
        ready=_count(replicas.ready if replicas else None),
        warm=_count(replicas.warm if replicas else None),
        utilisation=percent(economics.utilisation) if economics else None,
        usd_per_million_tokens=cost,
    )


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


def _count(value: int | None) -> str | None:
    return None if value is None else str(value)
