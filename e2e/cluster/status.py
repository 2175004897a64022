"""What runs, and what it takes."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from e2e.cluster.control import Control


def print_status(control: Control) -> bool:
    """Prints memory (proportional set size) and processor time of each component; returns whether all run."""
    components = control.components()
    # Ids of processes are those of the cluster's own namespace: its own /proc knows them.
    proc = Path(f"/proc/{control.running()}/root/proc")
    for name, component in components.items():
        if component["exit_code"] is not None:
            print(f"{name:32} ended with {component['exit_code']}")
            continue
        with suppress(OSError):  # it may end this moment
            memory, seconds = _usage(proc / str(component["pid"]))
            print(f"{name:32} pid {component['pid']:<7} {memory:7.0f} MiB {seconds:8.1f} s")
    return all(component["exit_code"] is None for component in components.values())


def _usage(process: Path) -> tuple[float, float]:
    ticks = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    found = re.search(r"^Pss: +(\d+)", (process / "smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
