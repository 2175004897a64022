"""What was counted in a stretch of time: answers, tokens and dollars, as routers and operator told Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

Counts = Mapping[tuple[str, ...], float]
"""Label values -> increase of a counter."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """Increases between two times (seconds since 1970). Pools and policies are namespace/name.

    `unknown` says what could not be read; then the counts are those of the rest, and a report must say so.
    """

    start_seconds: float
    end_seconds: float
    arrivals: Counts = field(default_factory=dict)  # (policy, route, tenant, workflow, step)
    answers: Counts = field(default_factory=dict)  # (policy, route, tenant, pool, outcome)
    tokens: Counts = field(default_factory=dict)  # (policy, route, pool, kind)
    usd: Counts = field(default_factory=dict)  # (policy, route, tenant, pool): by the configured prices of tokens
    pool_usd: Counts = field(default_factory=dict)  # (namespace, pool, basis): replicas of local pools
    gpu_hours: Counts = field(default_factory=dict)  # (namespace, pool, GPU class)
    unknown: tuple[str, ...] = ()

    @property
    def hours(self) -> float:
        """Length of the stretch."""
        return (self.end_seconds - self.start_seconds) / 3600.0


COUNTED = tuple(one.name for one in fields(Accounts) if one.name not in ("start_seconds", "end_seconds", "unknown"))


def added(parts: Iterable[Accounts]) -> Accounts:
    """The sum of stretches that follow each other, such as the days of a week. Raises `ValueError` for none."""
    stretches = list(parts)
    if not stretches:
        raise ValueError("no stretch of time to add up")
    sums: dict[str, Counts] = {}
    for name in COUNTED:
        total: dict[tuple[str, ...], float] = {}
        for one in stretches:
            for key, value in getattr(one, name).items():
                total[key] = total.get(key, 0.0) + value
        sums[name] = total
    return Accounts(
        min(one.start_seconds for one in stretches),
        max(one.end_seconds for one in stretches),
        unknown=tuple(dict.fromkeys(text for one in stretches for text in one.unknown)),
        **sums,
    )


def increase(samples: Iterable[tuple[float, float]], start_seconds: float) -> float:
    """How much a counter grew, from its samples (seconds, value), oldest first.

    Unlike PromQL's `increase` nothing is extrapolated, so that dollars come out as they were counted. A counter that
    fell was restarted and has counted its new value since; one that appears after the start began at zero.

    >>> increase([(0, 5.0), (60, 8.0), (120, 1.0), (180, 2.0)], 0)
    5.0
    >>> increase([(120, 3.0), (180, 4.0)], 0)
    4.0
    """
    total, before = 0.0, None
    for at, value in samples:
        if before is None:
            total += value if at > start_seconds else 0.0
        else:
            total += value - before if value >= before else value
        before = value
    return total
