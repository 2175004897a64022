"""Large fleets: what the first decision costs, what the next ones do, and how much memory the process needs.

Processor seconds of `decide()` in a fresh process; rates drift by up to 5 % from tick to tick, and every decision is
applied. Memory is the most that the process ever held, interpreter and libraries included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from bench.conditions import ROOT
from bench.decision_fleets import drifted, fleet
from bench.decision_timing import TICK_SECONDS, forget, timed
from bench.report import Table
from tests.unit.allocation.build import planned_state

LARGE = {"100x500": 100, "1000x500": 20, "1000x2000 in 100": 20, "1000x5000 in 100": 10}  # -> later ticks
ASKED = {"100x500": 1.0, "1000x500": 2.0, "1000x2000 in 100": 2.0, "1000x5000 in 100": 2.0}  # seconds, p99
ASKED_MIB = 300


def measure_large(sizes: Mapping[str, int] = LARGE, seed: int = 1) -> tuple[Table, dict[str, Any]]:
    """The table, and all that was measured."""
    found = {size: _in_a_fresh_process(size, seed, ticks) for size, ticks in sizes.items()}
    table = Table(
        "Large fleets: decide(), processor seconds",
        ("pools x routes", "first", "ticks", "p50", "p99", "max", "asked p99", "memory MiB", "rungs"),
        tuple(
            (
                size,
                f"{one['first']:.2f}",
                str(len(one["later"])),
                *(f"{quantile(one['later'], part):.2f}" for part in (0.5, 0.99, 1.0)),
                f"{ASKED[size]:g}" if size in ASKED else "–",
                f"{one['mib']:.0f}",
                ", ".join(f"{name} {count}" for name, count in Counter(one["rungs"]).most_common()),
            )
            for size, one in found.items()
        ),
        (
            f"Load 1, seed {seed}, rates up to 5 % off at each tick. Asked of memory: below {ASKED_MIB} MiB.",
            "`in 100`: a hundred policies with pools of their own and some shared ones; nodes that may fail.",
        ),
    )
    return table, found


def quantile(values: list[float], part: float) -> float:
    """The smallest value that so large a part does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _in_a_fresh_process(size: str, seed: int, ticks: int) -> dict[str, Any]:
    command = (sys.executable, "-m", "bench.decision_scale", size, str(seed), str(ticks))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def decisions_in_a_row(size: str, seed: int, ticks: int) -> dict[str, Any]:
    """A first decision and `ticks` later ones, in a process that has made none before."""
    world = fleet(size, seed, 1.0)
    forget()
    decision, first_ms = timed(world)
    rungs, later = [decision.rung], []
    for number in range(ticks):
        ready = planned_state(world, decision, ready=True, after_seconds=TICK_SECONDS)
        world = drifted(ready, seed + number, shapes=False)
        decision, milliseconds = timed(world)
        rungs.append(decision.rung)
        later.append(milliseconds / 1000.0)
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return {"first": first_ms / 1000.0, "later": later, "mib": mib, "rungs": rungs}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=decisions_in_a_row.__doc__)
    parser.add_argument("size")
    parser.add_argument("seed", type=int)
    parser.add_argument("ticks", type=int)
    options = parser.parse_args()
    json.dump(decisions_in_a_row(options.size, options.seed, options.ticks), sys.stdout)
