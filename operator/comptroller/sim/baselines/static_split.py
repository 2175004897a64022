"""A fixed fleet, local first, the API on errors: what gateways do today.

LiteLLM (BerriAI/litellm, litellm/router.py, `litellm/router_utils/cooldown_handlers.py`) and Envoy AI Gateway know
replicas as a list: they send to the first model group, to the next one when a deployment is over its
`max_parallel_requests`, fails or cools down. Nobody changes the number of replicas; somebody has sized it once from the
mean demand of the last days. That sizing is as good as it gets: the operator's own programme for `headroom` times the
mean, with the prices of the APIs.
"""

from __future__ import annotations

from dataclasses import dataclass

from comptroller.sim.baselines.mean_demand import History, MeanDemand, replicas_for
from comptroller.sim.baselines.routing import local_first, problem_of
from comptroller.sim.policy import Orders, View


@dataclass(frozen=True, slots=True)
class StaticSplitParameters:
    """`headroom`: replicas are sized for so many times the mean demand. `fullness`: the gateway's limit of requests in
    flight per replica, in times what a replica has at its capacity."""

    headroom: float = 1.2
    fullness: float = 1.0


class StaticSplit:
    """Replicas of the first decision for ever."""

    name = "static"
    spill = True

    def __init__(self, parameters: StaticSplitParameters | None = None) -> None:
        self.parameters = parameters or StaticSplitParameters()
        self._mean = MeanDemand()
        self._replicas: dict[str, int] | None = None

    def observe_history(self, history: History) -> None:
        """What the sizing is based on."""
        self._mean.observe_history(history)

    def decide(self, view: View) -> Orders:
        """The same replicas as ever; the list of the gateway."""
        if self._replicas is None:
            rates = self._mean.rates(view.snapshot)
            sized = {key: self.parameters.headroom * rate for key, rate in rates.items()}
            self._replicas = replicas_for(view.snapshot, sized, outside=self.spill)
        routed = local_first(
            problem_of(view.snapshot), self._replicas, spill=self.spill, fullness=self.parameters.fullness
        )
        return Orders(self._replicas, routed.routes, routed.max_concurrency)
