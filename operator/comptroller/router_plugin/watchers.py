"""Who watches a route, in the mounted configuration: its judge, and its shadow.

Both are models of LiteLLM under names that are no routes (`judge:ROUTE`, `shadow:ROUTE`), so that no client can ask for
them; only this process does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

JUDGE, SHADOW = "judge", "shadow"
EVALUATOR_TENANT, SHADOW_TENANT = "operator:evaluator", "operator:shadow"
"""Who pays, in the books: no tenant's name has a colon."""


@dataclass(frozen=True)
class Evaluator:
    """Who judges a sample of a route's answers."""

    pool: str
    sample_ratio: float
    rubric: str
    escalate_on_fail: bool
    structured: bool  # whether the judge's API keeps to a JSON schema
    ascending: tuple[str, ...]  # the route's pools, least pass rate first


@dataclass(frozen=True)
class Shadow:
    """Who answers a copy of some requests."""

    pool: str
    sample_ratio: float


def evaluator_of(section: Mapping[str, Any]) -> Evaluator | None:
    """The judge in a route's section. Raises KeyError, TypeError and ValueError."""
    one = section.get("evaluator")
    if one is None:
        return None
    return Evaluator(
        str(one["pool"]),
        float(one["sample_ratio"]),
        str(one["rubric"]),
        one["escalate_on_fail"] is True,
        one["structured"] is True,
        tuple(str(pool) for pool in one["ascending"]),
    )


def shadow_of(section: Mapping[str, Any]) -> Shadow | None:
    """The shadow in a route's section. Raises KeyError, TypeError and ValueError."""
    one = section.get("shadow")
    return None if one is None else Shadow(str(one["pool"]), float(one["sample_ratio"]))


def model_of(role: str, route: str) -> str:
    """LiteLLM's name of who watches a route.

    >>> model_of(JUDGE, "chat")
    'judge:chat'
    """
    return f"{role}:{route}"


def role_and_route(model: str) -> tuple[str, str]:
    """The reverse; the role of a route itself is empty.

    >>> role_and_route("judge:chat"), role_and_route("chat")
    (('judge', 'chat'), ('', 'chat'))
    """
    role, _, route = model.rpartition(":")
    return role, route
