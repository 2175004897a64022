"""GPU classes on one screen: how many GPUs pools want, hold ready, and how many are free; and the last decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from comptroller.report.explain_sentences import entry_text
from comptroller.report.fleet import value_at

Item = Mapping[str, Any]

HEADINGS = ("GPU CLASS", "WANT", "READY", "FREE", "OF")


@dataclass(frozen=True, slots=True)
class Nodes:
    """What the usable nodes of a GPU class offer, and what of it nobody holds."""

    gpus: int
    free: int


def gpu_rows(pools: Sequence[Item], nodes: Mapping[str, Nodes] | None) -> list[dict[str, Any]]:
    """One row per class that a local pool names or a node has, by name. `nodes` None: they cannot be read, so that
    `free` and `gpus` are None: unknown, not zero."""
    rows: dict[str, dict[str, Any]] = {}

    def row(name: str) -> dict[str, Any]:
        there = None if nodes is None else nodes.get(name, Nodes(0, 0))
        known = {"free": None, "gpus": None} if there is None else {"free": there.free, "gpus": there.gpus}
        return rows.setdefault(name, {"class": name, "want": 0, "ready": 0, **known})

    for pool in pools:
        local = (pool.get("spec") or {}).get("local")
        if local is None:
            continue
        accelerator = local.get("accelerator") or {}
        each = int(accelerator.get("count") or 1)
        of_class = row(str(accelerator.get("class")))
        of_class["want"] += each * int(value_at(pool, ".status.allocation.desired") or 0)
        of_class["ready"] += each * int(value_at(pool, ".status.replicas.ready") or 0)
    for name in nodes or ():
        row(name)
    return [rows[name] for name in sorted(rows)]


def gpu_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per class under a line of headings; nothing for no class."""
    if not rows:
        return []
    cells = [
        [str(one["class"]), *("-" if one[key] is None else str(one[key]) for key in ("want", "ready", "free", "gpus"))]
        for one in rows
    ]
    widths = [max(len(line[at]) for line in (HEADINGS, *cells)) for at in range(len(HEADINGS))]
    return [
        "  ".join(
            text.ljust(width) if at == 0 else text.rjust(width)
            for at, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (HEADINGS, *cells)
    ]


def latest_decisions(policies: Sequence[Item], most: int) -> list[Item]:
    """The newest decisions that the policies remember, each once, newest first."""
    found = {
        (str(one.get("at")), str(one.get("id"))): one
        for policy in policies
        for one in (policy.get("status") or {}).get("decisions") or ()
    }
    return [found[key] for key in sorted(found, reverse=True)][:most]


def decision_lines(decisions: Sequence[Item], now: datetime) -> list[str]:
    """`14:02:30 #118 qwen3-32b-h100: 2 -> 4: ...`, one line each."""
    return [entry_text(one, now) for one in decisions]
