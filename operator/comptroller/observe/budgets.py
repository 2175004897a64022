"""What the routers count of a budget: spent in the present period, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass

from comptroller.allocation.snapshot import Measurement, Sample, Unknown
from comptroller.observe.measurements import Measurements, find


@dataclass(frozen=True, slots=True)
class Spent:
    """One budget as its routers count it."""

    usd: Measurement
    resets_at_seconds: Measurement


def spent_of(measured: Measurements, policy: str, tenant: str | None, routers: int, now_seconds: float) -> Spent:
    """What is spent of the budget of a tenant, or of the policy (None). `routers` is how many ready processes count
    for themselves, at least: one that is not scraped hides what it has spent."""
    key = (policy, "policy" if tenant is None else "tenant", tenant or "")
    nobody = "no router has told yet what is spent"
    resets = find(measured.budget_resets, key, nobody)
    if isinstance(resets, Sample) and resets.value <= now_seconds:
        resets = Unknown("the period has ended, and no router has told of the new one yet")
    if isinstance(resets, Unknown):
        return Spent(resets, resets)
    apart, together = (find(one, key, nobody) for one in (measured.spent_apart, measured.spent_together))
    counted = find(measured.counted_apart, key, nobody)
    if routers and (isinstance(counted, Unknown) or counted.value < routers):
        seen = 0 if isinstance(counted, Unknown) else int(counted.value)
        return Spent(Unknown(f"{seen} of {routers} routers tell what they have spent"), resets)
    known = [one.value for one in (apart, together) if isinstance(one, Sample)]
    return Spent(Sample(sum(known)) if known else apart, resets)


def part_of(measured: Measurements, policy: str, route: str, tenant: str, tenants: int) -> float:
    """The part of a route's requests that a tenant asks; an even part of its tenants before the first request."""
    if isinstance(measured.asked_by_tenant, Unknown):
        return 1.0 / max(1, tenants)
    rates = {
        key[2]: one.value
        for key, one in measured.asked_by_tenant.items()
        if key[:2] == (policy, route) and isinstance(one, Sample)
    }
    total = sum(rates.values())
    return rates.get(tenant, 0.0) / total if total > 0.0 else 1.0 / max(1, tenants)
