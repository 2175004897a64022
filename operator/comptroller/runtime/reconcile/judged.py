"""What a route's status says about the judged answers."""

from __future__ import annotations

from typing import Any

from comptroller.allocation.decision import RoutePlan
from comptroller.allocation.snapshot import Sample
from comptroller.observe.measurements import Measurements, find
from comptroller.runtime.judgements import Judgements
from comptroller.runtime.reconcile.numbers import decimal_text, ratio_text, without_none

FEWEST = 0.5  # judged answers, by what their age has left of them


def judged(judgements: Judgements, plan: RoutePlan) -> list[dict[str, Any]] | None:
    """Each pool of which there are verdicts; None where there are none."""
    found = [
        without_none(
            {
                "pool": pool.split("/", 1)[1],
                "answers": decimal_text(round(one.answers, 1)),
                "passed": ratio_text(one.passed / one.answers),
                "passRate": ratio_text(plan.pass_rates.get(pool)),
            }
        )
        for (route, pool), one in sorted(judgements.evidence.items())
        if route == plan.route and one.answers >= FEWEST
    ]
    return found or None


def usd_per_solved_task(measured: Measurements, policy: str, route: str, plan: RoutePlan) -> str | None:
    """All money spent on a route, its judges and shadow included, over the tasks that are solved."""
    if plan.pass_rate <= 0:
        return None
    watching = find(measured.evaluation_usd, (policy, route), "nobody judges")
    answered = find(measured.answered, (policy, route), "no answer yet")
    known = isinstance(watching, Sample) and isinstance(answered, Sample) and answered.value > 0.0
    more = watching.value / answered.value if known else 0.0  # type: ignore[union-attr]
    return decimal_text((plan.usd_per_request + more) / plan.pass_rate)
