"""A fleet as `/page.json` tells it: a pool that grows, one that spills, budgets, nodes of two classes."""

from __future__ import annotations

from typing import Any

from comptroller.report.explain import explain_pool
from tests.unit.report import fleet
from tests.unit.report.test_explain import NOW

AT = 1_795_356_150.0  # 2026-11-22T14:02:30Z


def hours(points: int = 300) -> list[list[float | None]]:
    """Five hours with a burst that spills, and a quarter of an hour of which nobody knows."""
    rows: list[list[float | None]] = []
    for minute in range(points):
        at = AT - 60.0 * (points - minute)
        asked = 18.0 + 8.0 * (1 + (minute % 60) / 60) + (14.0 if 180 <= minute < 230 else 0.0)
        inside = min(asked, 28.0)
        known = not 100 <= minute < 115
        rows.append([at, inside, asked - inside, 0.0, 9.0 + asked - inside] if known else [at, None, None, None, 9.0])
    return rows


def node(name: str, pools: dict[str, int], others: int = 0, gpus: int = 8, usable: bool = True) -> dict[str, Any]:
    free = gpus - others - sum(pools.values())
    return {"name": name, "usable": usable, "gpus": gpus, "pools": pools, "others": others, "free": free}


def pool(item: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = explain_pool(item, [fleet.policy()], [fleet.local_pool(), fleet.hosted_pool()], NOW)
    sentences = [{"label": one.label, "text": one.text} for one in found.lines if one.label != "Last"]
    name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
    return {
        "name": name, "class": item["status"]["modelClass"], "hosted": "hosted" in item["spec"], "want": None,
        "ready": None, "starting": None, "requestsPerSecond": None, "utilisation": None, "usdPerHour": None,
        "reason": item["status"]["allocation"]["reason"], "title": found.title, "sentences": sentences, **more,
    }  # fmt: skip


def books(spent: float, baseline: float) -> dict[str, Any]:
    return {
        "spentUsd": spent, "baselineUsd": baseline, "savedUsd": baseline - spent, "savedRatio": 1 - spent / baseline,
        "answers": 1000.0, "insideRatio": 0.88, "restricted": 54.0, "restrictedLeft": 0.0, "unknown": [],
    }  # fmt: skip


def budget(tenant: str, spent: float | None, limit: float, state: str | None) -> dict[str, Any]:
    return {
        "policy": "inference/research", "tenant": tenant, "spentUsd": spent, "budgetUsd": limit,
        "resetsAt": "2026-11-23T00:00:00Z" if state else None, "state": state,
    }  # fmt: skip


def data(**changes: Any) -> dict[str, Any]:
    own, api = "inference/qwen3-32b-h100", "inference/claude-sonnet"
    return {
        "version": "0.1.0",
        "at": "2026-11-22T14:02:30Z",
        "atSeconds": AT,
        "decision": {"number": 128, "rung": "milp", "ageSeconds": 4.2},
        "usdPerHour": 14.1,
        "problems": ["newest sample of the router is 250 s old (limit 90 s)"],
        "gpus": [
            {
                "class": "h100", "available": 14.0, "held": 6, "wanted": 8, "worthUsdPerHour": 3.1, "moreNodes": 0,
                "nodes": [node("gpu-a1", {own: 4}, others=2), node("gpu-a2", {own: 2, "inference/qwen3-8b": 1})],
            },
            {
                "class": "rtx4090", "available": 4.0, "held": 3, "wanted": 3, "worthUsdPerHour": 0.0, "moreNodes": 0,
                "nodes": [
                    node("rack-07", {"inference/qwen3-8b": 3}, gpus=4), node("rack-08", {}, gpus=4, usable=False),
                ],
            },
        ],
        "hours": hours(),
        "routes": [
            {
                "policy": "inference/research", "route": "extraction", "requestsPerSecond": 31.4, "spillRatio": 0.29,
                "unansweredRatio": 0.0,
                "message": "31.4 rps: 71% on qwen3-32b-h100, 29% on claude-sonnet, $11.20/h; the spill ends when the "
                "starting replicas are ready.",
            },
            {
                "policy": "inference/research", "route": "deal-review", "requestsPerSecond": None, "spillRatio": 0.0,
                "unansweredRatio": 0.0, "message": "Its demand is unknown; the last shares hold.",
            },
        ],
        "pools": [
            pool(
                fleet.local_pool(), want=4, ready=2, starting=2, requestsPerSecond=22.3, utilisation=0.93,
                usdPerHour=2.9,
            ),
            pool(fleet.hosted_pool(), requestsPerSecond=9.1, usdPerHour=11.2),
        ],
        "morePools": 0,
        "money": {
            "atSeconds": AT, "today": books(104.2, 512.0), "month": books(2210.0, 12_400.0),
            "baseline": f"the price of {api} ($3.00 and $15.00 per million tokens, test)",
        },
        "budgets": [
            budget("", 179.2, 500.0, "Within"), budget("red", 41.0, 100.0, "Within"),
            budget("blue", 88.0, 100.0, "Near"), budget("green", 50.2, 50.0, "Exhausted"),
            budget("grey", None, 20.0, None),
        ],
        "decisions": [
            {
                "number": 128, "at": "2026-11-22T14:02:30Z", "rung": "milp", "usdPerHour": 14.1,
                "realisedUsdPerHour": 14.6,
                "words": ["2 -> 4: 31.4 rps of extraction and planning need 3.4 replicas; 2 of 4 are ready."],
            },
            {
                "number": 97, "at": "2026-11-22T12:10:00Z", "rung": "hold", "usdPerHour": 9.0,
                "realisedUsdPerHour": None, "words": ["Decided by hold instead of milp."],
            },
        ],
        **changes,
    }  # fmt: skip
