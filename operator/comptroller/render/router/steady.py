"""Whether a new router configuration is worth a reload.

Measured rates are never still: of two equal minutes one has 12.0 requests/s and the other 12.1, and with them every
share, and every limit that follows from shares, moves by a hair. Each write would make every router read its
configuration anew. So one that says the same but for a few thousandths is not written; what is compared is always the
configuration in force, so that many small steps add up to one that counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

WEIGHT_BAND = 50
"""Thousandths of a route's requests that may go elsewhere than planned."""
LIMIT_BAND = 0.1
"""Of a concurrency limit: what stays in force too high for a while overfills its pool by no more than this."""
SHED_BAND = 0.02


def says_the_same(new: str, in_force: str, *, blind: bool = False) -> bool:
    """Whether two configurations differ in nothing but small changes of weights, limits and shed ratios.

    A planned backend that becomes a reserve, or the other way round, is no small change. Limits are not
    compared while `blind`: they divide a pool by loads that are not known.
    """
    try:
        one, other = yaml.safe_load(new), yaml.safe_load(in_force)
        first, second = _by_id(one), _by_id(other)
        shed, shed_before = _shed(one), _shed(other)
        limits, limits_before = _limits(one), _limits(other)
        rest, rest_before = _rest(one), _rest(other)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        return False
    return (
        rest == rest_before
        and first.keys() == second.keys()
        and shed.keys() == shed_before.keys()
        and limits.keys() == limits_before.keys()
        and all(_near_limit(limits[key], limits_before[key], blind) for key in limits)
        and all(_near_entry(first[key], second[key], blind) for key in first)
        and all(
            abs(shed[key] - shed_before[key]) <= SHED_BAND and bool(shed[key]) is bool(shed_before[key]) for key in shed
        )
    )


def _by_id(config: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(one["model_name"], one["model_info"]["id"]): one for one in config["model_list"]}


def _shed(config: Mapping[str, Any]) -> dict[str, float]:
    return {one["name"]: float(one["shed_ratio"]) for one in config["x_comptroller"]["routes"]}


def _limits(config: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """(pool, "") -> its limit, (pool, route) -> what the route is assured of."""
    limits = config["x_comptroller"]["limits"]
    whole = {(one["pool"], ""): int(one["max_concurrency"]) for one in limits}
    return whole | {(one["pool"], route): int(number) for one in limits for route, number in one["assured"].items()}


def _rest(config: Mapping[str, Any]) -> dict[str, Any]:
    section = dict(config["x_comptroller"])
    section["limits"] = None
    section["routes"] = [{**one, "shed_ratio": None} for one in section["routes"]]
    return {**config, "model_list": len(config["model_list"]), "x_comptroller": section}


def _near_entry(one: Mapping[str, Any], other: Mapping[str, Any], blind: bool) -> bool:
    params, before = dict(one["litellm_params"]), dict(other["litellm_params"])
    weight, weight_before = float(params.pop("weight")), float(before.pop("weight"))
    limit, limit_before = params.pop("max_parallel_requests", None), before.pop("max_parallel_requests", None)
    return (
        params == before
        and {**one, "litellm_params": None} == {**other, "litellm_params": None}
        and _near_weight(weight, weight_before)
        and _near_limit(limit, limit_before, blind)
    )


def _near_weight(weight: float, before: float) -> bool:
    if weight < 1 or before < 1:  # a reserve
        return weight == before
    return abs(weight - before) <= WEIGHT_BAND


def _near_limit(limit: int | None, before: int | None, blind: bool) -> bool:
    if limit is None or before is None:
        return limit is before
    return blind or abs(limit - before) <= max(1, LIMIT_BAND * max(limit, before) - 1e-9)
