"""Two versions of the policies against the same recorded demand, decided by the same programme: what a change does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comptroller.api.settings import Settings
from comptroller.sim.arena import Options, run_arena
from comptroller.sim.scenario import DemandSettings, Gpus, RouteDemand, Scenario, ScenarioSpec, with_fleet
from comptroller.sim.stage import Stage, build_stage
from comptroller.sim.trace import Trace

Told = Callable[[str, float], None]
"""Is told (side, simulated seconds) whenever a run has come further."""

PROGRAMME = "programme"
LONGEST_WARM_UP_SECONDS = 1800.0
SIDES = ("today", "proposed")


@dataclass(frozen=True, slots=True)
class Side:
    """One version: its objects, as `kubectl apply` takes them."""

    name: str
    objects: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How both versions are replayed. `tick_seconds` between decisions; more seeds make the figures surer."""

    gpus: Sequence[Gpus]
    settings: Settings
    seeds: Sequence[int] = (1, 2, 3)
    tick_seconds: float = 60.0
    step_seconds: float = 5.0


def staged(side: Side, trace: Trace, options: PlanOptions) -> Stage | None:
    """A version with the demand of its routes; None where none of them has any. Raises `ScenarioError`."""
    recorded = {f"{one.trace}/{one.client}": one for one in trace.clients}
    asked = {
        key: RouteDemand(trace=one.trace, client=one.client)
        for key, one in recorded.items()
        if key in routes_of(side.objects)
    }
    if not asked:
        return None
    length = trace.end_seconds - trace.start_seconds
    spec = ScenarioSpec(
        name=side.name,
        objects=[dict(one) for one in side.objects],
        settings=options.settings,
        gpus=list(options.gpus),
        demand=DemandSettings(
            routes=asked,
            load=None,
            days=list(trace.days()),
            history_days=min(3.0, length / 86_400.0),
            warm_up_seconds=min(LONGEST_WARM_UP_SECONDS, length / 4.0),
        ),
        seeds=list(options.seeds),
        tick_seconds=options.tick_seconds,
        step_seconds=options.step_seconds,
    )
    scenario: Scenario = with_fleet(spec, Path())
    return build_stage(scenario, trace)


def routes_of(objects: Sequence[Mapping[str, Any]]) -> set[str]:
    """namespace/policy/route of every route."""
    found = set()
    for one in objects:
        if one.get("kind") == "RoutingPolicy":
            metadata = one["metadata"]
            policy = f"{metadata.get('namespace') or 'default'}/{metadata['name']}"
            found |= {f"{policy}/{route['name']}" for route in (one.get("spec") or {}).get("routes") or ()}
    return found


def replayed(stage: Stage, told: Told | None = None) -> dict[str, Any]:
    """What one version does: its figures per day with intervals over seeds, its pools and its routes."""
    spec = stage.scenario.spec

    def on_progress(_: str, __: int, ___: int, seconds: float) -> None:
        if told is not None:
            told(spec.name, seconds)

    options = Options(scenario=Path(spec.name), policies=(PROGRAMME,), with_bound=False)
    found = run_arena(options, on_progress, stage)["policies"][PROGRAMME]
    days = found["hours"] / 24.0
    spread = found["confidence95"]
    return {
        "usdPerDay": found["costUsd"] / days,
        "usdPerDayPlusMinus": _per_day(spread.get("costUsd"), days),
        "hostedUsdPerDay": found["hostedUsd"] / days,
        "powerUsdPerDay": found["powerUsd"] / days,
        "insideRatio": found["insideRatio"],
        "sloAttainment": found["sloAttainment"],
        "sloPlusMinus": spread.get("sloAttainment"),
        "unansweredRatio": found["blockedRatio"],
        "sovereigntyViolations": found["sovereigntyViolations"],
        "requestsPerDay": found["requests"] / days,
        "pools": _pools(found["runs"]),
        "routes": _routes(found["runs"], days * len(spec.seeds)),
    }


def _per_day(value: float | None, days: float) -> float | None:
    return None if value is None else value / days


def _pools(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Fewest, mean and most serving replicas of each local pool, over all runs."""
    counts: dict[str, list[int]] = {}
    for run in runs:
        series = run["series"]
        for moment in series["replicas"]:
            for pool, count in zip(series["pools"], moment, strict=True):
                counts.setdefault(pool, []).append(count)
    return {
        pool: {"fewest": min(found), "mean": sum(found) / len(found), "most": max(found)}
        for pool, found in sorted(counts.items())
    }


def _routes(runs: Sequence[Mapping[str, Any]], days: float) -> dict[str, dict[str, float | None]]:
    """Of each route: requests and hosted dollars per day, and which share was inside, in time and unanswered."""
    sums: dict[str, dict[str, float]] = {}
    for run in runs:
        for name, one in run["routes"].items():
            total = sums.setdefault(name, {})
            for key, value in one.items():
                total[key] = total.get(key, 0.0) + value
    found: dict[str, dict[str, float | None]] = {}
    for name, one in sorted(sums.items()):
        answered = one["inside"] + one["hosted"]
        found[name] = {
            "requestsPerDay": one["requests"] / days,
            "hostedUsdPerDay": one["hostedUsd"] / days,
            "insideRatio": one["inside"] / answered if answered else None,
            "sloAttainment": one["within"] / answered if answered else None,
            "unansweredRatio": one["blocked"] / one["requests"] if one["requests"] else None,
        }
    return found
