"""Everything at hosted APIs: what a team without GPUs does, and the reference of most savings claims.

Gateways do this when their list names APIs only: LiteLLM (BerriAI/litellm, litellm/router.py) tries the deployments of
a model group and, on errors and 429s, the next ones (`litellm/router_utils/fallback_event_handlers.py`). Each request
goes to the cheapest API that its data rules permit, then to the next cheapest. What may not leave stays on the pools'
minimum of replicas, since nobody else may answer it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from comptroller.sim.baselines.mean_demand import History
from comptroller.sim.baselines.routing import local_first, problem_of
from comptroller.sim.policy import Orders, View


@dataclass(frozen=True, slots=True)
class AllHostedParameters:
    """`fullness`: requests in flight of a replica that stays, in times what it has at its capacity."""

    fullness: float = 1.0


class AllHosted:
    """No replica beyond the pools' minimum."""

    name = "all-hosted"

    def __init__(self, parameters: AllHostedParameters | None = None) -> None:
        self.parameters = parameters or AllHostedParameters()

    def observe_history(self, history: History) -> None:
        """Needs none."""

    def decide(self, view: View) -> Orders:
        """Minimum replicas, and only the routes that may not leave see them."""
        snapshot = view.snapshot
        replicas: Mapping[str, int] = {pool.key: pool.minimum for pool in snapshot.local_pools}
        routed = local_first(problem_of(snapshot), replicas, fullness=self.parameters.fullness)
        hosted = {pool.key for pool in snapshot.hosted_pools}
        plans = {}
        for key, plan in routed.routes.items():
            outside = tuple(pool for pool in plan.spill_order if pool in hosted)
            plans[key] = (
                replace(plan, shares={outside[0]: 1.0}, spill_order=outside, shed_ratio=0.0, spill_ratio=1.0)
                if outside
                else plan
            )
        return Orders(replicas, plans, routed.max_concurrency)
