"""Builders for the arena's tests: one small fleet, and demand that is written down instead of recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from comptroller.allocation.decision import RoutePlan
from comptroller.allocation.snapshot import Profile, Sample
from comptroller.api.conditions import Reason
from comptroller.sim.policy import Orders, View
from comptroller.sim.replay import Demand, Replay, draw, span_of
from comptroller.sim.scenario import Scenario, parse_scenario
from comptroller.sim.score import Score
from comptroller.sim.stage import Stage, build_stage, pseudo_clients
from comptroller.sim.trace import ClientTrace, Trace
from comptroller.sim.world import GpuGroup, TrueLocalPool, TrueRoute, World

H100 = Profile(alpha_ms=5.5, beta_ms=0.04, gamma_ms=0.00016, max_concurrency=64)

FLEET = """
name: small
gpus: [{class: h100, count: 8, perNode: 4}]
objects:
- apiVersion: comptroller.dev/v1alpha1
  kind: ModelPool
  metadata: {name: own, namespace: ai}
  spec:
    model: {name: m, source: hf://a/m, parametersBillions: "8"}
    location: {jurisdiction: EU, perimeter: onPremises}
    local:
      engine: {name: vllm}
      accelerator: {class: h100, count: 1}
      replicas: {min: 1, max: 8}
      performance: {alphaMs: "5.5", betaMs: "0.04", gammaMs: "0.00016", maxConcurrency: 64}
      startupSeconds: 120
- apiVersion: comptroller.dev/v1alpha1
  kind: ModelPool
  metadata: {name: us, namespace: ai}
  spec:
    model: {name: m}
    location: {jurisdiction: US, perimeter: external}
    hosted:
      provider: openaiCompatible
      baseUrl: https://us.example.com/v1
      prices: {inputUsdPerMillionTokens: "0.5", outputUsdPerMillionTokens: "1"}
      LIMITS
- apiVersion: comptroller.dev/v1alpha1
  kind: ModelPool
  metadata: {name: eu, namespace: ai}
  spec:
    model: {name: m}
    location: {jurisdiction: EU, perimeter: external}
    hosted:
      provider: openaiCompatible
      baseUrl: https://eu.example.com/v1
      prices: {inputUsdPerMillionTokens: "0.75", outputUsdPerMillionTokens: "1.5"}
- apiVersion: comptroller.dev/v1alpha1
  kind: RoutingPolicy
  metadata: {name: p, namespace: ai}
  spec:
    router: {replicas: {min: 1, max: 20}}
    routes:
    - name: chat
      backends: [{pool: own}, {pool: us}, {pool: eu}]
      slo: {timeToFirstTokenMs: 800, timePerOutputTokenMs: 30, percentile: 95}
demand:
  load: null
  tiers: [{trace: t, template: chat, clients: 4, shareOfLoad: 1.0}]
  dataRules: RULES
  historyDays: 0
  warmUpSeconds: 600
perturbations: PERTURBATIONS
"""


def scenario(perturbations: str = "[]", rules: str = "{}", limits: str = "") -> Scenario:
    """One pool of up to eight H100, an API in the US and one in the EU, one template route."""
    text = FLEET.replace("PERTURBATIONS", perturbations).replace("RULES", rules).replace("LIMITS", limits)
    return parse_scenario(text, Path())


def trace(*rates: float, hours: int = 3, cv: float = 1.0, tokens: tuple[float, float] = (1000.0, 250.0)) -> Trace:
    """Clients with steady rates, in windows of ten minutes."""
    windows = hours * 6
    clients = tuple(
        ClientTrace(
            "t",
            str(number),
            np.full(windows, rate),
            np.full(windows, cv),
            np.zeros(windows, dtype=np.int8),
            *tokens,
        )
        for number, rate in enumerate(rates)
    )
    return Trace("made", 0.0, 600.0, windows, clients, {})


def stage(*rates: float, hours: int = 3, **changes: str) -> Stage:
    """The small fleet with steady clients."""
    found = scenario(**changes)
    assert pseudo_clients(found) == 4
    return build_stage(found, trace(*rates, hours=hours))


def demand(of: Stage, hours: float = 1.0, seed: int = 1) -> Demand:
    """What is asked in the first hours."""
    return draw(of, span_of(of, 0, hours), seed, of.scenario.spec.step_seconds)


class Fixed:
    """A policy that always orders the same: so many replicas, and these shares for every route, as far as they are
    permitted to it."""

    name = "fixed"

    def __init__(self, replicas: int, shares: Mapping[str, float], limit: int | None = 64, spill: bool = True) -> None:
        self.replicas, self.shares, self.limit, self.spill = replicas, shares, limit, spill
        self.views: list[View] = []

    def observe_history(self, history: Mapping[str, tuple[tuple[float, float], ...]]) -> None:
        """It does not care."""

    def decide(self, view: View) -> Orders:
        self.views.append(view)
        routes = {route.key: self.plan(route.key, route.demand.requests_per_second) for route in view.snapshot.routes}
        limits = {} if self.limit is None else {"ai/own": self.limit}
        return Orders({"ai/own": self.replicas}, routes, limits)

    def plan(self, route: str, rate: Any) -> RoutePlan:
        """The plan of a route; the rendering leaves out what its data rules forbid."""
        return RoutePlan(
            route=route,
            shares=dict(self.shares),
            spill_order=("ai/own", "ai/us", "ai/eu") if self.spill else (),
            shed_ratio=0.0,
            spill_ratio=0.0,
            requests_per_second=rate.value if isinstance(rate, Sample) else None,
            pass_rate=1.0,
            usd_per_request=0.0,
            reason=Reason.DEMAND_SERVED,
            message="",
        )


def run(of: Stage, policy: Any, hours: float = 1.0, seed: int = 1, tick_seconds: float = 60.0) -> Score:
    """One run of the first hours."""
    return Replay(of, demand(of, hours, seed), policy, tick_seconds).run()


def one_pool_world(
    profile: Profile = H100,
    tokens: tuple[float, float] = (1000.0, 250.0),
    objective_ms: tuple[float, float] = (800.0, 30.0),
) -> World:
    """One pool and one route that may only go there."""
    pool = TrueLocalPool(
        "ai/own", "m", "h100", "", 1, "EU", "onPremises", 0, 99, profile, 120.0, 0.03, 0.13
    )  # fmt: skip
    route = TrueRoute(
        "ai/p/chat", "chat", "ai/p", "chat", ("ai/own",), {}, *tokens, *objective_ms, 0.95, "spill", 1.0, 1.0
    )
    return World((GpuGroup("h100", "", 8, 4),), (pool,), (), (route,))
