"""Parameters that tuning chose. Written by `python -m comptroller.sim.tune`; do not edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMMAND = ""
CHOSEN: Mapping[str, Mapping[str, Any]] = {}
BY_LOAD: Mapping[str, Mapping[float, Mapping[str, Any]]] = {}
OVER_BOUND: Mapping[str, Mapping[str, float]] = {}
