"""Tuning: which draws there are, which days it refuses, what it chooses and what it writes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from comptroller.sim.baselines.registry import BASELINES
from comptroller.sim.tune import Trial, draws, finalists, module, stretch_of
from tests.unit.sim.arena_build import stage


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_has_the_same_number_of_draws_unless_its_space_is_smaller(name: str) -> None:
    space = BASELINES[name].space
    found = draws(space, 12, seed=1)
    sets = math.prod(len(set(values)) for values in space.values())
    assert len(found) == min(12, sets + 1)
    assert found[0] == {}
    assert all(one not in found[:index] for index, one in enumerate(found))
    assert draws(space, 12, seed=1) == found


def test_days_of_published_figures_are_refused() -> None:
    with pytest.raises(ValueError, match="tune on earlier ones"):
        stretch_of(stage(1.0), "7:0-24")
    span = stretch_of(stage(1.0), "1:8-10")
    assert (span.end_seconds - span.start_seconds, span.start_seconds % 86400) == (7200.0, 28800.0)


def test_finalists_are_the_best_over_all_and_at_each_load() -> None:
    steady, low, high, bad = (
        Trial({"a": number}, {0.6: [(light, 1.0)], 1.5: [(heavy, 1.0)]})
        for number, (light, heavy) in enumerate(((2.0, 2.0), (1.0, 9.0), (9.0, 1.5), (8.0, 8.0)))
    )
    assert finalists([bad, high, low, steady], [0.6, 1.5]) == [high, low, steady]
    assert steady.overall() == pytest.approx(2.0)


def test_what_is_written_is_a_module_with_the_same_values() -> None:
    chosen = {"hpa": {"ceiling": math.inf, "dedicated": True}, "all": {}}
    text = module("tune it", chosen, {"hpa": {0.6: chosen["hpa"], 1.5: {}}}, {"hpa": {"0.6": 1.25}})
    found: dict[str, Any] = {}
    exec(compile(text, "tuned", "exec"), found)
    assert found["CHOSEN"] == chosen
    assert found["BY_LOAD"]["hpa"][0.6] == chosen["hpa"]
    assert (found["COMMAND"], found["OVER_BOUND"]["hpa"]["0.6"]) == ("tune it", 1.25)
