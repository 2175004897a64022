"""A budget as configured, and the counter of what is spent of it in the present period.

The counter is a grow-only counter: each process adds to its own number only, the total is the sum of all numbers, and
merging takes the larger of two reports of the same process. So a report that arrives twice, late or out of order counts
once, and processes that were apart agree again without counting anything double.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from .period import PERIODS, Period, bounds, zone

CLOCK_SECONDS = 3600.0
"""A clock that is put back by less than this does not begin the last period again."""
POLICY = "policy"
TENANT = "tenant"
OnExhausted = Literal["degrade", "reject", "alertOnly"]
WAYS: tuple[OnExhausted, ...] = ("degrade", "reject", "alertOnly")


@dataclass(frozen=True)
class Budget:
    """US dollars per calendar period. `parts` and `mine`: this counter has so many of so many equal parts."""

    tenant: str | None  # None: the whole policy
    usd: float
    period: Period
    time_zone: str
    on_exhausted: OnExhausted
    parts: int = 1
    mine: int = 1

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Budget:
        """Raises `ValueError`, `KeyError` and `TypeError` for what is no budget."""
        made = cls(
            content["tenant"], float(content["usd"]), content["period"], str(content["time_zone"]),
            content["on_exhausted"], int(content["parts"]), int(content["mine"]),
        )  # fmt: skip
        zone(made.time_zone)
        if made.period not in PERIODS or made.on_exhausted not in WAYS or not 1 <= made.mine <= made.parts:
            raise ValueError(f"{dict(content)} is no budget")
        return made

    @property
    def limit_usd(self) -> float:
        """What this counter may reach."""
        return self.usd * self.mine / self.parts

    @property
    def key(self) -> str:
        """What makes it the same budget: its sum may change within a period, and what is spent stays spent."""
        return f"{self.tenant or ''}|{self.period}|{self.time_zone}"

    @property
    def scope(self) -> str:
        return POLICY if self.tenant is None else TENANT

    def bounds(self, now_seconds: float) -> tuple[float, float]:
        return bounds(self.period, zone(self.time_zone), now_seconds)

    def local(self, at_seconds: float) -> str:
        """A time as the budget's people read it."""
        return datetime.fromtimestamp(at_seconds, zone(self.time_zone)).isoformat(timespec="minutes")


@dataclass
class Counter:
    """What is spent of one budget since `start`. `reserved` are the requests that are being answered."""

    budget: Budget
    start: float
    end: float
    own: float = 0.0
    others: dict[str, float] = field(default_factory=dict)  # process -> US dollars
    reserved: float = 0.0
    alone: bool = False  # the shared counter is away
    own_at_contact: float = 0.0
    total_at_contact: float = 0.0

    @property
    def spent(self) -> float:
        """All that is known to be spent in this period, in US dollars."""
        return self.own + sum(self.others.values())

    @property
    def room(self) -> float:
        """What may still be spent, in US dollars, less what is reserved; at or below 0 the budget is exhausted.

        While the shared counter is away each process may spend its even part of what was left at the last contact:
        $40 left for 4 processes are $10 for each, so that together they cannot overspend.
        """
        if not self.alone:
            return self.budget.limit_usd - self.spent - self.reserved
        left = (self.budget.limit_usd - self.total_at_contact) / self.budget.mine
        return left - (self.own - self.own_at_contact) - self.reserved

    def merge(self, reports: Mapping[str, float], myself: str) -> dict[str, float]:
        """Takes in what others report. Returns what the shared counter has forgotten of them, to tell it again."""
        for process, usd in reports.items():
            if process == myself:
                self.own = max(self.own, usd)
            else:
                self.others[process] = max(usd, self.others.get(process, 0.0))
        self.alone, self.own_at_contact, self.total_at_contact = False, self.own, self.spent
        return {one: usd for one, usd in self.others.items() if usd > reports.get(one, 0.0)}

    def turn(self, now_seconds: float) -> bool:
        """Begins anew when the period has ended. Requests under way are charged to the period in which they end."""
        if self.start - CLOCK_SECONDS <= now_seconds < self.end:
            return False
        self.start, self.end = self.budget.bounds(now_seconds)
        self.own, self.others = 0.0, {}
        self.own_at_contact = self.total_at_contact = 0.0
        return True
