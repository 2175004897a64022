"""A policy's route, as the allocator reads it."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.allocation.declared import objective_of, pass_rate_of, route_of
from comptroller.allocation.snapshot import BackendRule, Demand, Unknown
from comptroller.api.routingpolicy import Backend, Route
from comptroller.api.settings import DefaultsSettings

NOBODY = Demand(Unknown("not measured yet"), 1000.0, 250.0)
DEFAULTS = DefaultsSettings()


def declared(**fields: Any) -> Route:
    return Route.model_validate({"name": "chat", "backends": [{"pool": "own"}], **fields})


@pytest.mark.parametrize(("told", "means"), [(None, 1.0), ("1", 1.0), ("0.97", 0.97), ("0", 0.0)])
def test_a_pass_rate_of_zero_is_none_solved_and_one_that_is_absent_all(told: str | None, means: float) -> None:
    assert pass_rate_of(Backend.model_validate({"pool": "own", "passRate": told})) == means


@pytest.mark.parametrize(
    ("slo", "means"),
    [
        (None, (2000.0, 100.0, 0.95)),
        ({"timeToFirstTokenMs": 800}, (800.0, 100.0, 0.95)),
        ({"timePerOutputTokenMs": 40, "percentile": 99}, (2000.0, 40.0, 0.99)),
    ],
)
def test_what_an_objective_leaves_open_is_the_settings(slo: Any, means: tuple[float, float, float]) -> None:
    assert objective_of(declared(slo=slo), DEFAULTS) == means


def test_a_route_has_its_policys_namespace_and_all_of_its_rules() -> None:
    full = declared(
        backends=[{"pool": "own", "passRate": "0.9"}, {"pool": "us"}],
        quality={"minimumPassRate": "0.8"},
        value={"usdPerSolvedTask": "0", "usdPerSecond": "0.001"},
        data={"jurisdictions": ["EU"], "perimeters": ["onPremises"]},
        priority=7,
        onOverload="queue",
    )
    route = route_of("ai/desk", full, DEFAULTS, NOBODY)
    assert (route.key, route.name, route.policy) == ("ai/desk/chat", "chat", "ai/desk")
    assert route.backends == (BackendRule("ai/own", 0.9), BackendRule("ai/us", 1.0))
    assert (route.minimum_pass_rate, route.usd_per_solved_task, route.usd_per_second) == (0.8, 0.0, 0.001)
    assert (route.jurisdictions, route.perimeters) == (("EU",), ("onPremises",))
    assert (route.priority, route.on_overload, route.demand) == (7, "queue", NOBODY)


def test_a_silent_route_asks_for_nothing_and_allows_everything() -> None:
    route = route_of("ai/desk", declared(), DEFAULTS, NOBODY)
    assert (route.minimum_pass_rate, route.usd_per_solved_task, route.usd_per_second) == (0.0, None, 0.0)
    assert (route.jurisdictions, route.perimeters) == ((), ())
