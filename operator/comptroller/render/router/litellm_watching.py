"""Who judges and shadows a route, in LiteLLM's configuration: models that no client can ask for."""

from __future__ import annotations

from typing import Any

from comptroller.render.router.plan import RouterBackend, RouterRoute

JUDGE, SHADOW = "judge:", "shadow:"
"""Before the name of a route: the model name of who judges or shadows it. No route's name has a colon."""


def watching_models(route: RouterRoute) -> list[tuple[str, RouterBackend]]:
    """Model name and pool of each."""
    judge = [(f"{JUDGE}{route.name}", route.evaluator.judge)] if route.evaluator is not None else []
    return judge + ([(f"{SHADOW}{route.name}", route.shadow.backend)] if route.shadow is not None else [])


def watching_section(route: RouterRoute) -> dict[str, Any]:
    """What the plugin must know of them, in its section of the route."""
    section: dict[str, Any] = {}
    if (evaluator := route.evaluator) is not None:
        section["evaluator"] = {
            "pool": evaluator.judge.pool,
            "sample_ratio": evaluator.sample_ratio,
            "rubric": evaluator.rubric,
            "escalate_on_fail": evaluator.escalate_on_fail,
            "structured": evaluator.structured,
            "ascending": list(evaluator.ascending),
        }
    if route.shadow is not None:
        section["shadow"] = {"pool": route.shadow.backend.pool, "sample_ratio": route.shadow.sample_ratio}
    return section
