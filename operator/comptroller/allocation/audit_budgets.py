"""The independent auditor of the budgets that a router holds: those of the policy, each in its own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from comptroller.allocation.audit import Violation
from comptroller.api.routingpolicy import RoutingPolicySpec

_BUDGET = frozenset(("tenant", "usd", "period", "time_zone", "on_exhausted", "parts", "mine"))
_MOST_PARTS = 2000
"""Processes of an open and a restricted router together."""


def own_budgets(rendered: Any, policy: RoutingPolicySpec) -> Iterator[Violation]:
    """What the budgets of a configuration break: one that is missing, or says another sum, lets money go."""
    asked = [(None, policy.budget), *((one.name, one.budget) for one in policy.tenants)]
    wanted = {
        (tenant, str(one.usd), one.period, one.time_zone, one.on_exhausted) for tenant, one in asked if one is not None
    }
    entries = [one for one in rendered if isinstance(one, Mapping)] if isinstance(rendered, list) else []
    if not isinstance(rendered, list) or len(entries) < len(rendered) or any({*one} != _BUDGET for one in entries):
        yield Violation("x_comptroller.budgets", "cannot be read")
        return
    said = [(one["tenant"], one["usd"], one["period"], one["time_zone"], one["on_exhausted"]) for one in entries]
    if sorted(said, key=repr) != sorted(wanted, key=repr):
        yield Violation("x_comptroller.budgets", "are not the budgets of the policy and of its tenants")
    for one in entries:
        if not _is_part(one["mine"], one["parts"]):
            yield Violation(
                "x_comptroller.budgets", f"{one['mine']!r} of {one['parts']!r} parts is no part of a budget"
            )


def _is_part(mine: Any, parts: Any) -> bool:
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in (mine, parts))
    return whole and 1 <= mine <= parts <= _MOST_PARTS
