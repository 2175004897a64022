"""Everything on own GPUs, nothing ever leaves: a fixed fleet without a hosted API.

What vLLM's production-stack (vllm-project/production-stack, src/vllm_router) does: its router knows replicas only, and
requests that find no place wait in the engines. Replicas are those of `static_split` with the APIs taken away, so the
GPUs go where an unanswered request is dearest.
"""

from __future__ import annotations

from comptroller.sim.baselines.static_split import StaticSplit, StaticSplitParameters


class AllLocal(StaticSplit):
    """The fixed fleet, alone."""

    name = "all-local"
    spill = False

    def __init__(self, parameters: StaticSplitParameters | None = None) -> None:
        super().__init__(parameters or StaticSplitParameters(headroom=2.0, fullness=2.0))
