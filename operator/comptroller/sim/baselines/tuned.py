"""Parameters that tuning chose. Written by `python -m comptroller.sim.tune`; do not edit.

`CHOSEN` is best over all loads that were tuned for, `BY_LOAD` at each of them. `OVER_BOUND` is what the
chosen ones had: the objective over the hindsight bound at each load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

COMMAND = "python -m comptroller.sim.tune examples/simulate/reference.yaml --stretches 4:8-10 1:8-10 --step 10"
CHOSEN: Mapping[str, Mapping[str, Any]] = {
    "all-hosted": {},
    "all-local": {"headroom": 2.0, "fullness": 1.5},
    "greedy": {"headroom": 1.1, "down_seconds": 600.0, "peaks": True, "minimum": 1, "dedicated": True},
    "hpa-concurrency": {"target": 0.3, "down_seconds": 900.0, "dedicated": True, "ceiling": 2.0, "fullness": 0.0},
    "keda-queue": {
        "threshold": 1.0,
        "down_seconds": 900.0,
        "down_part": 0.05,
        "dedicated": False,
        "ceiling": math.inf,
        "fullness": 1.0,
    },
    "kubeai": {
        "target": 0.3,
        "window_seconds": 300.0,
        "down_seconds": 600.0,
        "dedicated": True,
        "ceiling": 2.0,
        "fullness": 0.0,
    },
    "static": {},
    "wva": {
        "scale_up_threshold": 0.8,
        "scale_down_boundary": 0.5,
        "down_seconds": 240.0,
        "rescale": True,
        "fullness": 0.85,
    },
    "wva-spill": {
        "scale_up_threshold": 0.6,
        "scale_down_boundary": 0.5,
        "down_seconds": 120.0,
        "up_seconds": 0.0,
        "rescale": False,
        "dedicated": True,
        "ceiling": 2.0,
    },
}
BY_LOAD: Mapping[str, Mapping[float, Mapping[str, Any]]] = {}
OVER_BOUND: Mapping[str, Mapping[str, float]] = {
    "all-hosted": {"0.6": 88.1219, "1": 51.9821, "1.5": 17.5756},
    "all-local": {"0.6": 1.7295, "1": 113.2307, "1.5": 48.3456},
    "greedy": {"0.6": 2.0707, "1": 2.6221, "1.5": 1.8075},
    "hpa-concurrency": {"0.6": 1.4551, "1": 2.672, "1.5": 2.9998},
    "keda-queue": {"0.6": 8.5299, "1": 7.5495, "1.5": 3.3045},
    "kubeai": {"0.6": 1.495, "1": 2.599, "1.5": 2.8189},
    "static": {"0.6": 3.4551, "1": 3.4094, "1.5": 2.6529},
    "wva": {"0.6": 1.9614, "1": 35.6103, "1.5": 34.193},
    "wva-spill": {"0.6": 1.3089, "1": 3.0394, "1.5": 2.2934},
}
