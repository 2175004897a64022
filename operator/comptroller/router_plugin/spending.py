"""Every budget of the policy: what is spent, what is reserved, and whether a request may be answered.

Everything here is in memory and takes microseconds; `keep.py` writes it to a file and `share.py` shares it, both behind
the answers. What counts is what `comptroller_router_usd_total` counts: the configured prices of hosted answers and the
marginal prices of those from inside.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import metrics
from .budget import Budget, Counter
from .config import Config
from .errors import Refusal

PROCESS, REDIS = "process", "redis"


def dollars(usd: float) -> str:
    """For people.

    >>> dollars(25), dollars(0.000267)
    ('$25.00', '$0.000267')
    """
    return f"${usd:.2f}" if usd >= 0.1 else f"${usd:.3g}"


class Spending:
    """The counters of all budgets of one router process. `process` is its name among those that share them."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.time) -> None:
        self.process = uuid.uuid4().hex
        self.clock = clock
        self.counters: dict[str, Counter] = {}
        self._told: dict[str, tuple[float, ...]] = {}  # what the metrics say of each budget
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Takes over another configuration's budgets. What is spent of those that stay is spent."""
        self.config = config
        self.sharing = REDIS if config.redis else PROCESS
        before, now = self.counters, self.clock()
        self.counters = {}
        for budget in config.budgets:
            counter = before.get(budget.key) or Counter(budget, *budget.bounds(now), alone=True)
            counter.budget = budget
            counter.alone = counter.alone and self.sharing == REDIS  # a new one is until Redis has answered
            self.counters[budget.key] = counter
        metrics.forget_budgets()
        self._told = {}
        self.tick()

    def tick(self) -> None:
        """Ends periods that are over, and tells where the budgets stand."""
        now = self.clock()
        for counter in self.counters.values():
            if counter.turn(now):
                metrics.BUDGET_RESETS.labels(*self._labels(counter.budget)[:3]).inc()
            self._tell(counter)

    def spend(self, tenant: str, pool: str, usd: float) -> None:
        """The one door for money: whatever was paid for a tenant at a pool, answers, judgements and shadows alike."""
        now = self.clock()
        for counter in self.of(tenant):
            counter.turn(now)
            counter.own += usd
            self._tell(counter)

    def of(self, tenant: str) -> list[Counter]:
        """The counters that a tenant's requests count against: its own and the policy's."""
        return [one for one in self.counters.values() if one.budget.tenant in (None, tenant)]

    def exhausted(self, tenant: str, way: str) -> Counter | None:
        """The first spent budget that asks for this: `reject` or `degrade`."""
        now = self.clock()
        for counter in self.of(tenant):
            if counter.budget.on_exhausted == way:
                counter.turn(now)
                if counter.room <= 0:
                    return counter
        return None

    def refusal(self, tenant: str, route: str) -> Refusal | None:
        """Why a request is not answered at all, if it is not."""
        if (spent := self.exhausted(tenant, "reject")) is not None:
            return self._refusal(spent, "Raise the budget, or wait")
        if route in self.config.answered_inside or (spent := self.exhausted(tenant, "degrade")) is None:
            return None
        return self._refusal(spent, f"Route {route} has no backend inside: add a local pool to it, or wait")

    def permitted(self, tenant: str, deployments: Sequence[str]) -> list[str]:
        """Which backends may answer now. None once the budget is spent that rejects; those inside once one is that
        degrades."""
        if self.exhausted(tenant, "reject") is not None:
            return []
        if self.exhausted(tenant, "degrade") is not None:
            return [one for one in deployments if self.config.inside(one)]
        return list(deployments)

    def _refusal(self, counter: Counter, remedy: str) -> Refusal:
        budget = counter.budget
        seconds = max(1, round(counter.end - self.clock() + 0.5))
        whose = "the policy" if budget.tenant is None else f"tenant {budget.tenant}"
        part = f" (this router's part of {dollars(budget.usd)})" if budget.mine < budget.parts else ""
        message = (
            f"the budget of {whose} is spent: {dollars(counter.spent)} of {dollars(budget.limit_usd)}{part} per "
            f"{budget.period}. {remedy}: it begins anew at {budget.local(counter.end)}"
        )
        return Refusal(429, "budget", "insufficient_quota", message, {"retry-after": str(seconds)})

    def _labels(self, budget: Budget) -> tuple[str, str, str, str]:
        return self.config.policy, budget.scope, budget.tenant or "", self.sharing

    def _tell(self, counter: Counter) -> None:
        values = (counter.spent, counter.budget.limit_usd, counter.end, float(counter.room <= 0))
        if self._told.get(counter.budget.key) == values:
            return
        self._told[counter.budget.key] = values
        labels = self._labels(counter.budget)
        gauges = (metrics.BUDGET_SPENT, metrics.BUDGET_LIMIT, metrics.BUDGET_RESET, metrics.BUDGET_EXHAUSTED)
        for gauge, value in zip(gauges, values, strict=True):
            gauge.labels(*labels).set(value)
        metrics.BUDGET_RESETS.labels(*labels[:3])

    def state(self) -> dict[str, Any]:
        """What outlives the container."""
        counters: Iterable[tuple[str, Counter]] = self.counters.items()
        kept = {
            key: {"start": one.start, "own": one.own, "others": one.others} for key, one in counters if one.spent > 0
        }
        return {"policy": self.config.policy, "process": self.process, "counters": kept}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where the container before this one ended. Raises `KeyError`, `TypeError`, `ValueError`."""
        if state["policy"] != self.config.policy:
            return
        read = {
            key: (float(one["start"]), float(one["own"]), {str(k): float(v) for k, v in one["others"].items()})
            for key, one in state["counters"].items()
        }
        self.process = str(state["process"])
        for key, (start, own, others) in read.items():
            if (counter := self.counters.get(key)) is not None and counter.start == start:
                counter.own, counter.others = own, others
                counter.own_at_contact, counter.total_at_contact = own, counter.spent
        self.tick()
