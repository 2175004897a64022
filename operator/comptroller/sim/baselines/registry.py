"""All baselines by name, with what may be tuned of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from comptroller.sim.baselines.all_hosted import AllHosted, AllHostedParameters
from comptroller.sim.baselines.all_local import AllLocal
from comptroller.sim.baselines.greedy import Greedy, GreedyParameters
from comptroller.sim.baselines.hpa_concurrency import HpaConcurrency, HpaConcurrencyParameters
from comptroller.sim.baselines.keda_queue import KedaQueue, KedaQueueParameters
from comptroller.sim.baselines.kubeai import KubeAi, KubeAiParameters
from comptroller.sim.baselines.static_split import StaticSplit, StaticSplitParameters
from comptroller.sim.baselines.tuned import BY_LOAD, CHOSEN
from comptroller.sim.baselines.wva import Wva, WvaParameters, WvaWithoutSpill
from comptroller.sim.policy import Policy

Values = Mapping[str, Any]
Space = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Baseline:
    """How a baseline is made, which parameters it has when nobody tunes them, and which values tuning may try."""

    make: Callable[[Any], Policy]
    default: Any  # its frozen dataclass of parameters
    space: Space

    def policy(self, values: Values | None = None) -> Policy:
        """A new instance for one run, with these values in place of the default ones."""
        return self.make(replace(self.default, **(values or {})))


CEILINGS = (inf, 2.0, 1.5, 1.25)
DELAYS = (120.0, 300.0, 600.0, 900.0)
LIMITS = (0.5, 0.7, 0.85, 1.0, 1.25)

BASELINES: Mapping[str, Baseline] = {
    "all-hosted": Baseline(AllHosted, AllHostedParameters(), {"fullness": (0.7, 1.0, 1.5, 2.0)}),
    "all-local": Baseline(
        AllLocal,
        StaticSplitParameters(headroom=2.0, fullness=2.0),
        {"headroom": (1.0, 1.3, 1.6, 2.0, 2.5, 3.0), "fullness": (0.85, 1.0, 1.5, 2.0, 20.0)},
    ),
    "static": Baseline(
        StaticSplit,
        StaticSplitParameters(),
        {"headroom": (0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0), "fullness": LIMITS},
    ),
    "hpa-concurrency": Baseline(
        HpaConcurrency,
        HpaConcurrencyParameters(),
        {
            "target": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
            "down_seconds": DELAYS,
            "dedicated": (True, False),
            "ceiling": CEILINGS,
            "fullness": (0.0, 0.0, 0.85, 1.0),
        },
    ),
    "keda-queue": Baseline(
        KedaQueue,
        KedaQueueParameters(),
        {
            "threshold": (0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
            "down_seconds": (300.0, 360.0, 900.0, 1800.0),
            "down_part": (1.0, 0.5, 0.1, 0.05),
            "dedicated": (True, False),
            "ceiling": CEILINGS,
            "fullness": (1.0, 1.5, 2.0, 3.0),
        },
    ),
    "kubeai": Baseline(
        KubeAi,
        KubeAiParameters(),
        {
            "target": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
            "window_seconds": (120.0, 300.0, 600.0),
            "down_seconds": (30.0, 120.0, 300.0, 600.0),
            "dedicated": (True, False),
            "ceiling": CEILINGS,
            "fullness": (0.0, 0.0, 0.85, 1.0),
        },
    ),
    "wva": Baseline(
        WvaWithoutSpill,
        WvaParameters(fullness=2.0),
        {
            "scale_up_threshold": (0.6, 0.7, 0.8, 0.85, 0.95),
            "scale_down_boundary": (0.4, 0.5, 0.6),
            "down_seconds": (120.0, 240.0, 600.0),
            "rescale": (True, False),
            "fullness": (0.85, 1.0, 1.5, 2.0, 20.0),
        },
    ),
    "wva-spill": Baseline(
        Wva,
        WvaParameters(),
        {
            "scale_up_threshold": (0.6, 0.7, 0.8, 0.85, 0.95),
            "scale_down_boundary": (0.4, 0.5, 0.6, 0.7),
            "down_seconds": (120.0, 240.0, 600.0),
            "up_seconds": (0.0, 0.0, 240.0),
            "rescale": (True, False),
            "dedicated": (True, False),
            "ceiling": CEILINGS,
        },
    ),
    "greedy": Baseline(
        Greedy,
        GreedyParameters(),
        {
            "headroom": (0.9, 1.0, 1.1, 1.25, 1.5),
            "down_seconds": DELAYS,
            "peaks": (False, True),
            "minimum": (0, 1),
            "dedicated": (True, False),
        },
    ),
}


def baseline(name: str, load: float | None = None) -> Policy:
    """A new instance with its tuned parameters.

    With `load` those that were best at the nearest load tuned for, else those that were best over all of them. KeyError
    for a name that is none.
    """
    values: Values = CHOSEN.get(name, {})
    by_load = BY_LOAD.get(name)
    if load is not None and by_load:
        values = by_load[min(by_load, key=lambda tuned: (abs(tuned - load), tuned))]
    return BASELINES[name].policy(values)
