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
    "all-local": {},
    "greedy": {"headroom": 1.1, "down_seconds": 120.0, "peaks": True, "minimum": 1, "dedicated": False},
    "hpa-concurrency": {"target": 0.6, "down_seconds": 600.0, "dedicated": False, "ceiling": 1.25, "fullness": 0.0},
    "keda-queue": {
        "threshold": 1.0,
        "down_seconds": 900.0,
        "down_part": 0.05,
        "dedicated": False,
        "ceiling": math.inf,
        "fullness": 1.0,
    },
    "kubeai": {
        "target": 0.6,
        "window_seconds": 300.0,
        "down_seconds": 600.0,
        "dedicated": False,
        "ceiling": math.inf,
        "fullness": 0.0,
    },
    "static": {"headroom": 2.0, "fullness": 0.85},
    "wva": {
        "scale_up_threshold": 0.8,
        "scale_down_boundary": 0.5,
        "down_seconds": 240.0,
        "rescale": True,
        "fullness": 0.85,
    },
    "wva-spill": {
        "scale_up_threshold": 0.85,
        "scale_down_boundary": 0.4,
        "down_seconds": 120.0,
        "up_seconds": 240.0,
        "rescale": True,
        "dedicated": False,
        "ceiling": 2.0,
    },
}
BY_LOAD: Mapping[str, Mapping[float, Mapping[str, Any]]] = {}
OVER_BOUND: Mapping[str, Mapping[str, float]] = {
    "all-hosted": {"0.6": 88.1219, "1": 51.9821, "1.5": 17.5756},
    "all-local": {"0.6": 1.4897, "1": 110.3967, "1.5": 47.5268},
    "greedy": {"0.6": 2.1412, "1": 2.8311, "1.5": 1.8945},
    "hpa-concurrency": {"0.6": 2.9207, "1": 2.7605, "1.5": 2.0761},
    "keda-queue": {"0.6": 13.624, "1": 6.8868, "1.5": 3.5551},
    "kubeai": {"0.6": 2.4032, "1": 2.8885, "1.5": 2.6546},
    "static": {"0.6": 1.6084, "1": 5.9551, "1.5": 2.8155},
    "wva": {"0.6": 1.9123, "1": 33.9016, "1.5": 34.532},
    "wva-spill": {"0.6": 1.6824, "1": 2.8513, "1.5": 2.5363},
}
