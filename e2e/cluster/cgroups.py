"""The control groups of a cluster: one group per cluster, below it one per node, in every hierarchy.

Version 1 has a hierarchy per controller, version 2 has one for all. The kubelet makes the groups of its pods itself.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from e2e.cluster.layout import wait_until

ROOT = Path("/sys/fs/cgroup")
UNIFIED_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")


def hierarchies() -> list[Path]:
    """The roots of all hierarchies with controllers; empty when there is none to use."""
    if (ROOT / "cgroup.controllers").exists():
        available = (ROOT / "cgroup.controllers").read_text().split()
        return [ROOT] if set(UNIFIED_CONTROLLERS) <= set(available) else []
    # Version 1, maybe with a hierarchy of version 2 beside that has no controllers.
    return [
        tree for tree in sorted(ROOT.glob("*"))
        if (tree / "cgroup.procs").exists() and not (tree / "cgroup.controllers").exists()
    ]  # fmt: skip


def create(cluster: str, node: str = "") -> None:
    for tree in hierarchies():
        for group in (tree / cluster, tree / cluster / node):
            _delegate(group.parent)
            group.mkdir(exist_ok=True)
            if tree.name == "cpuset":  # a new group may use no processor until it is told which
                for resource in ("cpuset.cpus", "cpuset.mems"):
                    (group / resource).write_text((group.parent / resource).read_text())


def remove(cluster: str) -> None:
    """Removes the groups, the innermost first; a moment may pass until the kernel has let their processes go."""
    for tree in (ROOT / cluster, *ROOT.glob(f"*/{cluster}")):
        for group, _, _ in os.walk(tree, topdown=False):
            wait_until(partial(_removed, group), f"end of all processes in {group}", 30)


def _delegate(group: Path) -> None:
    """Version 2: lets the groups below have controllers."""
    if (group / "cgroup.subtree_control").exists():
        (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in UNIFIED_CONTROLLERS))


def _removed(group: str) -> bool:
    try:
        Path(group).rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # it still has processes
        return False
    return True
