"""The whole fleet in tables: the columns of `kubectl get`, and what everything costs together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from comptroller.allocation.words import number, usd
from comptroller.api.kinds import KINDS, Column
from comptroller.report.explain_sentences import figure

Item = Mapping[str, Any]

UNKNOWN = "-"
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]|\[\?\(@\.(\w+)==\"([^\"]+)\"\)\]")


def table(kind: str, items: Sequence[Item], now: datetime, *, namespaces: bool = False) -> list[str]:
    """One line per object under a line of headings, as `kubectl get` prints them; nothing for no objects."""
    if not items:
        return []
    columns = [one for one in KINDS[kind].columns if not one.wide]
    head = [*(["NAMESPACE"] if namespaces else []), "NAME", *(one.name.upper() for one in columns)]
    rows = [
        [
            *([str(item["metadata"].get("namespace", ""))] if namespaces else []),
            f"{KINDS[kind].singular}/{item['metadata']['name']}",
            *(cell(item, one, now) for one in columns),
        ]
        for item in sorted(items, key=lambda one: (one["metadata"].get("namespace", ""), one["metadata"]["name"]))
    ]
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]


def cell(item: Item, column: Column, now: datetime) -> str:
    """What a column shows of an object."""
    value = value_at(item, column.path)
    if value is None or value == "":
        return UNKNOWN
    return age(str(value), now) if column.type == "date" else str(value)


def value_at(item: Item, path: str) -> Any:
    """The value at a column's path, such as `.status.conditions[?(@.type=="Ready")].status`; None where there is none.

    >>> value_at({"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
    ...          '.status.conditions[?(@.type=="Ready")].status')
    'True'
    """
    value: Any = item
    for name, index, key, wanted in _STEP.findall(path):
        if name:
            value = value.get(name) if isinstance(value, Mapping) else None
        elif not isinstance(value, list):
            return None
        elif index:
            value = value[int(index)] if int(index) < len(value) else None
        else:
            value = next((one for one in value if isinstance(one, Mapping) and one.get(key) == wanted), None)
    return value


def age(text: str, now: datetime) -> str:
    """How long ago a moment was, in kubectl's short words: 45s, 12m, 5h, 2d."""
    try:
        seconds = max(0.0, (now - datetime.fromisoformat(text.replace("Z", "+00:00"))).total_seconds())
    except ValueError:
        return UNKNOWN
    for unit, length, most in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds // 86400:.0f}d"


def totals(pools: Sequence[Item]) -> dict[str, Any]:
    """What all pools cost together, from their status; pools that say nothing are counted apart."""
    known: dict[str, float] = {"inside": 0.0, "hosted": 0.0}
    unknown = []
    for pool in pools:
        money = figure(value_at(pool, ".status.economics.usdPerHour"))
        if money is None:
            unknown.append(str(pool["metadata"]["name"]))
            continue
        known["hosted" if "hosted" in (pool.get("spec") or {}) else "inside"] += money
    return {
        "basis": "USD per hour, marginal: power, rent and tokens",
        "insideUsdPerHour": known["inside"],
        "hostedUsdPerHour": known["hosted"],
        "usdPerHour": known["inside"] + known["hosted"],
        "unknown": unknown,
    }


def totals_text(found: Mapping[str, Any]) -> str:
    """`$14.10/h: $2.90 inside, $11.20 at hosted APIs (marginal basis: power, rent and tokens).`"""
    text = (
        f"{usd(found['usdPerHour'])}/h: {usd(found['insideUsdPerHour'])} inside, {usd(found['hostedUsdPerHour'])} at "
        "hosted APIs (marginal basis: power, rent and tokens)"
    )
    missing = len(found["unknown"])
    many = "pool says" if missing == 1 else "pools say"
    return f"{text}; {number(missing)} {many} nothing yet." if missing else f"{text}."
