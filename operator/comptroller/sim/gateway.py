"""The routers between two decisions: what the rendered RouterPlans do to each request.

A request is drawn to a planned backend by weight. A backend that is full (its limit of requests in flight, over all
processes), fails or refuses passes it on: first to the other planned backends, by weight, then to the reserves in their
order, all within the same step, as LiteLLM's weighted failover does within milliseconds. Who finds nobody waits at the
route's first inside backend if the route queues or no backend outside is permitted to it, else gets a 429.

A new plan is put into force only if it says more than the old one (`render.router.steady`'s bands). Simplifications:
the processes of a router share their limits as if they were one; a plan is in force from the step in which it is made
(routers follow within about two seconds); cooldown is part of `hosted.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from comptroller.allocation.decision import RoutePlan
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.render.router.build import BackendState, TokenPrices, build_plans
from comptroller.render.router.plan import RouterBackend, RouterPlan, RouterRoute
from comptroller.render.router.steady import LIMIT_BAND, SHED_BAND, WEIGHT_BAND
from comptroller.sim.engine import Engine
from comptroller.sim.hosted import HostedApis
from comptroller.sim.world import Floats, Ints, World

ENDLESS = np.inf


@dataclass(slots=True)
class Routed:
    """What became of the arrivals of a step; rows are routes."""

    local: Ints  # [route, local pool] sent to the engines
    hosted: Ints  # [route, hosted pool] answered there
    queued: Ints  # [route] wait inside
    refused: Ints  # [route] shed, or nobody left


@dataclass(frozen=True, slots=True)
class _Shared:
    """A limit of requests in flight on a local pool for all routes of a router; some are assured places of their own."""

    column: int
    rows: Ints
    limit: float
    assured: Mapping[int, float]  # row -> places


@dataclass(slots=True)
class _Space:
    """What is left of such a limit in this step, in requests in flight at its end."""

    free: float


class Gateway:
    """The routers of all policies, compiled into arrays; columns are local pools, then hosted ones."""

    def __init__(
        self,
        world: World,
        policies: Mapping[str, RoutingPolicySpec],
        pools: Mapping[str, ModelPoolSpec],
        random: np.random.Generator,
    ):
        self.policies, self.pools, self.random = policies, pools, random
        self.local_count = len(world.local)
        keys = [pool.key for pool in world.local] + [pool.key for pool in world.hosted]
        self.column = {key: index for index, key in enumerate(keys)}
        self.row = {route.key: index for index, route in enumerate(world.routes)}
        routes, backends = len(world.routes), len(keys)
        self.weights: Floats = np.zeros((routes, backends))
        self.limits: Floats = np.full((routes, backends), ENDLESS)
        self.reserves: list[tuple[int, ...]] = [()] * routes
        self.shed: Floats = np.zeros(routes)
        self.processes: Ints = np.ones(routes, dtype=np.int64)
        self.waits_at: list[int] = [-1] * routes
        self.in_force: dict[str, RouterPlan] = {}
        self._shared: dict[str, list[_Shared]] = {}
        self._outside = [
            any(key in {pool.key for pool in world.hosted} for key in route.permitted) for route in world.routes
        ]
        self._queues = [route.on_overload == "queue" for route in world.routes]

    def plan(
        self, routes: Mapping[str, RoutePlan], serving: Mapping[str, int], max_concurrency: Mapping[str, int]
    ) -> None:
        """Renders the routers as the operator does and puts them into force where they say something new."""
        states = {
            key: BackendState(TokenPrices(), max_concurrency=pool.hosted.limits.max_concurrency)
            if pool.hosted is not None
            else BackendState(TokenPrices(), serving.get(key, 0), max_concurrency.get(key))
            for key, pool in self.pools.items()
        }
        current = {name: plan.replicas for name, plan in self.in_force.items()}
        for key, policy in self.policies.items():
            namespace, name = key.split("/", 1)
            for plan in build_plans(name, namespace, policy, self.pools, states, routes, current):
                self.put(plan)

    def put(self, plan: RouterPlan) -> None:
        """Puts one router's plan into force, unless it says the same as the one that is."""
        before = self.in_force.get(plan.name)
        if before is not None and says_the_same(plan, before):
            self.in_force[plan.name] = replace(before, replicas=plan.replicas)
            plan = self.in_force[plan.name]
        self.in_force[plan.name] = plan
        rows = {route.name: self.row[f"{plan.namespace}/{plan.policy}/{route.name}"] for route in plan.routes}
        for route in plan.routes:
            self._compile(rows[route.name], route, plan.replicas)
        everyone = np.array(list(rows.values()), dtype=np.int64)
        self._shared[plan.name] = [
            _Shared(
                self.column[one.pool],
                everyone,
                float(one.max_concurrency * plan.replicas),
                {rows[name]: float(places * plan.replicas) for name, places in one.assured if name in rows},
            )
            for one in plan.limits
            if one.pool in self.column
        ]

    def _compile(self, row: int, route: RouterRoute, processes: int) -> None:
        self.weights[row] = 0.0
        self.limits[row] = ENDLESS
        self.processes[row] = processes
        self.shed[row] = route.shed_ratio
        for backend in route.backends:
            column = self.column[backend.pool]
            self.weights[row, column] = backend.weight
            if backend.max_concurrency is not None:
                self.limits[row, column] = backend.max_concurrency * processes
        if (total := self.weights[row].sum()) > 0:
            self.weights[row] /= total
        reserves = sorted((one for one in route.backends if one.weight == 0), key=lambda one: one.order)
        self.reserves[row] = tuple(self.column[one.pool] for one in reserves)
        inside = [self.column[one.pool] for one in sorted(route.backends, key=lambda one: one.order) if one.inside]
        waits = self._queues[row] or not self._outside[row]
        self.waits_at[row] = inside[0] if inside and waits else -1

    def route(self, arrivals: Ints, engine: Engine, hosted: HostedApis, serving: Ints) -> Routed:
        """Sends the arrivals of one step."""
        refused = np.zeros_like(arrivals)
        todo = arrivals
        if self.shed.any():
            refused = self.random.binomial(arrivals, np.clip(self.shed, 0.0, 1.0))
            todo = arrivals - refused
        sent = self._drawn(todo)
        count = self.local_count
        room = np.hstack((engine.room(self.limits[:, :count], serving), hosted.room(self.limits[:, count:])))
        fits = np.minimum(sent, np.floor(np.minimum(room, 1e15) + self.random.random(room.shape))).astype(np.int64)
        fits = np.maximum(fits, 0)
        spaces = self._share(fits, engine)
        for index in range(fits.shape[1] - count):
            wanted = fits[:, count + index]
            if wanted.any():
                taken = hosted.take(index, wanted, self.processes)
                room[taken < wanted, count + index] = 0.0  # it refused: it cools down
                fits[:, count + index] = taken
        queued = np.zeros_like(arrivals)
        excess = todo - fits.sum(axis=1)
        for row in np.flatnonzero(excess):
            left = self._pass_on(int(row), int(excess[row]), fits, room, hosted, spaces, engine)
            if left and self.waits_at[row] >= 0:
                queued[row] = left
                engine.queue(int(row), self.waits_at[row], left)
            else:
                refused[row] += left
        return Routed(fits[:, :count], fits[:, count:], queued, refused)

    def _share(self, fits: Ints, engine: Engine) -> dict[tuple[int, int], _Space]:
        """Cuts what does not fit into a pool's limit for all routes of a router: assured routes come first, of the
        others each loses the same part. Returns what is left of each limit, by (route, local pool)."""
        spaces: dict[tuple[int, int], _Space] = {}
        if not self._shared:
            return spaces
        held = engine.in_flight * engine.stay
        if engine.any_waiting:
            held = held + engine.waiting_now()
        for limits in self._shared.values():
            for one in limits:
                free = one.limit - float(held[one.rows, one.column].sum())
                space = _Space(free)
                cost = engine.stay_new[:, one.column]
                for row, places in one.assured.items():
                    certain = min(float(fits[row, one.column]), max(0.0, places - held[row, one.column]) / cost[row])
                    space.free -= certain * cost[row]
                others = one.rows[~np.isin(one.rows, list(one.assured))]
                need = float((fits[others, one.column] * cost[others]).sum())
                for row in one.assured:
                    beyond = max(
                        0.0, fits[row, one.column] - max(0.0, one.assured[row] - held[row, one.column]) / cost[row]
                    )
                    need += beyond * cost[row]
                if need > max(space.free, 0.0):
                    part = max(space.free, 0.0) / need
                    fits[others, one.column] = np.floor(
                        fits[others, one.column] * part + self.random.random(len(others))
                    ).astype(np.int64)
                    space.free = 0.0
                else:
                    space.free -= need
                spaces.update(dict.fromkeys(((int(row), one.column) for row in one.rows), space))
        return spaces

    def _drawn(self, todo: Ints) -> Ints:
        planned = self.weights.sum(axis=1) > 0
        weights = self.weights
        if not planned.all():
            weights = weights.copy()
            weights[~planned, 0] = 1.0
        drawn: Ints = self.random.multinomial(todo, weights)
        if not planned.all():
            drawn[~planned] = 0
        return drawn

    def _pass_on(
        self,
        row: int,
        count: int,
        fits: Ints,
        room: Floats,
        hosted: HostedApis,
        spaces: Mapping[tuple[int, int], _Space],
        engine: Engine,
    ) -> int:
        """Tries the other backends of a route in turn. Returns how many found nobody."""
        free = np.floor(np.minimum(room[row], 1e15)) - fits[row]
        for column in range(self.local_count):
            if (space := spaces.get((row, column))) is not None:
                free[column] = min(free[column], math.floor(max(0.0, space.free) / engine.stay_new[row, column]))
        open_ = (self.weights[row] > 0) & (free >= 1)
        while count and open_.any():
            weights = np.where(open_, self.weights[row], 0.0)
            share = self.random.multinomial(count, weights / weights.sum())
            for chosen in np.flatnonzero(share).tolist():
                count -= self._try(row, chosen, int(share[chosen]), fits, free, hosted, spaces, engine)
            open_ &= free >= 1
        for reserve in self.reserves[row]:
            if not count:
                break
            count -= self._try(row, reserve, count, fits, free, hosted, spaces, engine)
        return count

    def _try(
        self,
        row: int,
        column: int,
        count: int,
        fits: Ints,
        free: Floats,
        hosted: HostedApis,
        spaces: Mapping[tuple[int, int], _Space],
        engine: Engine,
    ) -> int:
        taken = int(min(count, max(0.0, free[column])))
        if taken and column >= self.local_count:
            only = np.zeros(len(self.shed), dtype=np.int64)
            only[row] = taken
            answered = int(hosted.take(column - self.local_count, only, self.processes)[row])
            if answered < taken:
                free[column] = 0.0
            taken = answered
        if taken and (space := spaces.get((row, column))) is not None:
            space.free -= taken * float(engine.stay_new[row, column])
        fits[row, column] += taken
        free[column] -= taken
        return taken


def says_the_same(new: RouterPlan, old: RouterPlan) -> bool:
    """Whether two plans of a router differ only in small changes: the bands of `render.router.steady`, on plans."""
    if len(new.routes) != len(old.routes) or (new.kind, new.timeout_seconds) != (old.kind, old.timeout_seconds):
        return False
    return all(_same_route(one, other) for one, other in zip(new.routes, old.routes, strict=True))


def _same_route(new: RouterRoute, old: RouterRoute) -> bool:
    if new.name != old.name or bool(new.shed_ratio) is not bool(old.shed_ratio):
        return False
    if abs(new.shed_ratio - old.shed_ratio) > SHED_BAND or len(new.backends) != len(old.backends):
        return False
    before = {one.pool: one for one in old.backends}
    return all(one.pool in before and _same_backend(one, before[one.pool]) for one in new.backends)


def _same_backend(new: RouterBackend, old: RouterBackend) -> bool:
    if bool(new.weight) is not bool(old.weight) or abs(new.weight - old.weight) > WEIGHT_BAND:
        return False
    if not new.weight and new.order != old.order:
        return False
    limit, before = new.max_concurrency, old.max_concurrency
    if limit is None or before is None:
        return limit is before
    return abs(limit - before) <= max(1, LIMIT_BAND * max(limit, before))
