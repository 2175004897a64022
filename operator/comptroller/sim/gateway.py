"""The routers between two decisions: what the rendered RouterPlans do to each request.

A request is drawn to a planned backend by weight. A backend that is full, fails or refuses passes it on: first to the
other planned backends, by weight, then to the reserves in their order, all within the same step, as LiteLLM's weighted
failover does within milliseconds. A local pool is full when a router's limit of requests in flight there, for all its
routes together, is reached; a route without a way out may have those that it is assured of even then. Who finds nobody
waits in the queues of its planned engines if the plan says that the route waits, else gets a 429.

A new plan is put into force only if it says more than the old one (`render.router.steady`'s bands). Simplifications:
the processes of a router share their limits as if they were one; a plan is in force from the step in which it is made
(routers follow within about two seconds); cooldown is part of `hosted.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

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


@dataclass(slots=True)
class _PoolLimits:
    """The routers' limits on local pools, one row each: of which pool, for which routes, how many in flight."""

    columns: Ints  # [limit]
    members: npt.NDArray[np.bool_]  # [limit, route]
    most: Floats  # [limit]
    part: Floats  # [limit] of the pool's limits over all routers
    assured: Floats  # [limit, route]
    of: Ints  # [route, local pool] the row of the limit that holds there, -1 for none

    def together(self, pools: int) -> Floats:
        """What all routers together may have in flight, by local pool; endless where there is no limit."""
        found: Floats = np.bincount(self.columns, weights=self.most, minlength=pools).astype(np.float64)
        found[np.bincount(self.columns, minlength=pools) == 0] = ENDLESS
        return found


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
        self.planned: list[tuple[tuple[int, float], ...]] = [()] * routes
        self.waits_at: list[tuple[int, ...]] = [()] * routes  # inside backends, planned ones first; empty: nowhere
        self._routers: dict[str, tuple[RouterPlan, Ints]] = {}
        self._limits = self._pool_limits()
        self._free: Floats = np.zeros(0)  # [limit] what is left of each in this step, in requests at its end

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
        current = {name: plan.replicas for name, (plan, _) in self._routers.items()}
        blind = any(plan.requests_per_second is None for plan in routes.values())
        for key, policy in self.policies.items():
            namespace, name = key.split("/", 1)
            for plan in build_plans(name, namespace, policy, self.pools, states, routes, current):
                self.put(plan, blind=blind)

    def put(self, plan: RouterPlan, *, blind: bool = False) -> None:
        """Puts one router's plan into force, unless it says the same as the one that is."""
        before = self._routers[plan.name][0] if plan.name in self._routers else None
        if before is not None and says_the_same(plan, before, blind=blind):
            plan = replace(before, replicas=plan.replicas)
            if plan == before:
                return
        rows = np.array([self.row[f"{plan.namespace}/{plan.policy}/{one.name}"] for one in plan.routes], dtype=np.int64)
        self._routers[plan.name] = (plan, rows)
        for row, route in zip(rows.tolist(), plan.routes, strict=True):
            self._compile(row, route, plan.replicas)
        self._limits = self._pool_limits()

    def _pool_limits(self) -> _PoolLimits:
        found = [
            (plan, rows, limit)
            for plan, rows in self._routers.values()
            for limit in plan.limits
            if self.column.get(limit.pool, self.local_count) < self.local_count
        ]
        shape = (len(found), len(self.row))
        columns = np.array([self.column[limit.pool] for _, _, limit in found], dtype=np.int64)
        most = np.array([float(limit.max_concurrency * plan.replicas) for plan, _, limit in found])
        made = _PoolLimits(
            columns,
            np.zeros(shape, dtype=np.bool_),
            most,
            most / np.array([sum(most[columns == one]) for one in columns]) if len(columns) else most,
            np.zeros(shape),
            np.full((len(self.row), self.local_count), -1, dtype=np.int64),
        )
        for index, (plan, rows, limit) in enumerate(found):
            made.members[index, rows] = True
            made.of[rows, made.columns[index]] = index
            assured = dict(limit.assured)
            made.assured[index, rows] = [assured.get(route.name, 0) * plan.replicas for route in plan.routes]
        return made

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
        self.planned[row] = tuple(
            (int(one), float(self.weights[row, one])) for one in np.flatnonzero(self.weights[row])
        )
        reserves = sorted((one for one in route.backends if one.weight == 0), key=lambda one: one.order)
        self.reserves[row] = tuple(self.column[one.pool] for one in reserves)
        inside = [self.column[one.pool] for one in sorted(route.backends, key=_first_tried) if one.inside]
        self.waits_at[row] = tuple(inside) if route.waits else ()

    def route(self, arrivals: Ints, engine: Engine, hosted: HostedApis, serving: Ints) -> Routed:
        """Sends the arrivals of one step."""
        refused = np.zeros_like(arrivals)
        todo = arrivals
        if self.shed.any():
            refused = self.random.binomial(arrivals, np.clip(self.shed, 0.0, 1.0))
            todo = arrivals - refused
        sent = self._drawn(todo)
        count = self.local_count
        engine.foresee(sent[:, :count], serving, self._limits.together(count))
        held, places = engine.expected(serving)
        inside = np.where(serving > 0, np.maximum(self.limits[:, :count] - held, 0.0) / engine.stay_new, 0.0)
        room = np.hstack((inside, hosted.room(self.limits[:, count:])))
        fits = np.minimum(sent, np.floor(np.minimum(room, 1e15) + self.random.random(room.shape))).astype(np.int64)
        fits = np.maximum(fits, 0)
        self._share(fits, engine.stay_new, held, places)
        for index in range(fits.shape[1] - count):
            wanted = fits[:, count + index]
            if wanted.any():
                taken = hosted.take(index, wanted, self.processes)
                room[taken < wanted, count + index] = 0.0  # it refused: it cools down
                fits[:, count + index] = taken
        queued = np.zeros_like(arrivals)
        excess = todo - fits.sum(axis=1)
        for row in np.flatnonzero(excess).tolist():
            left = self._pass_on(row, int(excess[row]), fits, room, hosted, engine)
            if left and self.waits_at[row]:
                queued[row] = left
                self._wait(row, left, engine, serving)
            else:
                refused[row] += left
        return Routed(fits[:, :count], fits[:, count:], queued, refused)

    def _share(self, fits: Ints, stay_new: Floats, held: Floats, places: Floats) -> None:
        """Cuts, in place, what does not fit into the routers' limits on the local pools. What a route is assured of
        comes first; of the rest everybody loses the same part.

        Who enters an engine is expected to be there at the end of the step with probability `stay_new`; who comes when
        its places are taken waits and is there for certain.
        """
        limits = self._limits
        if not len(limits.columns):
            return
        mine = held[:, limits.columns].T * limits.members
        cost = stay_new[:, limits.columns].T
        wanted = fits[:, limits.columns].T * limits.members
        certain = np.minimum(wanted, np.maximum(limits.assured - mine, 0.0) / cost)
        free = np.maximum(limits.most - mine.sum(axis=1) - (certain * cost).sum(axis=1), 0.0)
        need = ((wanted - certain) * cost).sum(axis=1)
        enters = np.minimum(free, limits.part * places[limits.columns])
        mean_cost = (wanted * cost).sum(axis=1) / np.maximum(wanted.sum(axis=1), 1.0)
        free = enters + (free - enters) * np.minimum(np.where(mean_cost > 0, mean_cost, 1.0), 1.0)
        for index in np.flatnonzero(need > free).tolist():
            fit = certain[index] + (wanted[index] - certain[index]) * (free[index] / need[index])
            fit = np.minimum(wanted[index], np.floor(fit + self.random.random(len(fit)))).astype(np.int64)
            column, rows = int(limits.columns[index]), limits.members[index]
            fits[rows, column] = fit[rows]
        self._free = np.maximum(free - need, 0.0)

    def _wait(self, row: int, count: int, engine: Engine, serving: Ints) -> None:
        """Puts requests into the queues of the route's engines: by weight where it plans to send something and somebody
        serves, else all to the first that serves, or to the first at all."""
        open_ = [
            (column, weight) for column, weight in self.planned[row] if column < self.local_count and serving[column]
        ]
        if not open_:
            first = next((one for one in self.waits_at[row] if serving[one] > 0), self.waits_at[row][0])
            open_ = [(first, 1.0)]
        total = sum(weight for _, weight in open_)
        parts = self.random.multinomial(count, [weight / total for _, weight in open_]).tolist()
        for (column, _), part in zip(open_, parts, strict=True):
            engine.queue(row, column, part)

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

    def _pass_on(self, row: int, count: int, fits: Ints, room: Floats, hosted: HostedApis, engine: Engine) -> int:
        """Tries the other backends of a route in turn. Returns how many found nobody."""
        open_ = self.planned[row]
        while count and open_:
            open_ = tuple(one for one in open_ if self._space(row, one[0], fits, room, engine) >= 1)
            if len(open_) == 1:
                count -= self._try(row, open_[0][0], count, fits, room, hosted, engine)
                break
            if open_:
                total = sum(weight for _, weight in open_)
                parts = self.random.multinomial(count, [weight / total for _, weight in open_]).tolist()
                for (column, _), part in zip(open_, parts, strict=True):
                    count -= self._try(row, column, part, fits, room, hosted, engine)
        for column in self.reserves[row]:
            if not count:
                break
            count -= self._try(row, column, count, fits, room, hosted, engine)
        return count

    def _space(self, row: int, column: int, fits: Ints, room: Floats, engine: Engine) -> int:
        """How many more of a route a backend takes in this step."""
        free = float(room[row, column]) - float(fits[row, column])
        if column < self.local_count and (limit := int(self._limits.of[row, column])) >= 0:
            free = min(free, float(self._free[limit] / engine.stay_new[row, column]))
        return math.floor(max(0.0, min(free, 1e15)))

    def _try(
        self, row: int, column: int, count: int, fits: Ints, room: Floats, hosted: HostedApis, engine: Engine
    ) -> int:
        taken = min(count, self._space(row, column, fits, room, engine))
        if not taken:
            return 0
        if column >= self.local_count:
            only = np.zeros(len(self.shed), dtype=np.int64)
            only[row] = taken
            answered = int(hosted.take(column - self.local_count, only, self.processes)[row])
            if answered < taken:
                room[row, column] = 0.0
            taken = answered
        elif (limit := int(self._limits.of[row, column])) >= 0:
            self._free[limit] -= taken * engine.stay_new[row, column]
        fits[row, column] += taken
        return taken


def _first_tried(backend: RouterBackend) -> tuple[int, int]:
    return backend.order, -backend.weight


def says_the_same(new: RouterPlan, old: RouterPlan, *, blind: bool = False) -> bool:
    """Whether two plans of a router differ only in small changes: the bands of `render.router.steady`, on plans.
    Limits are not compared while `blind`."""
    if len(new.routes) != len(old.routes) or (new.kind, new.timeout_seconds) != (old.kind, old.timeout_seconds):
        return False
    limits, before = _heights(new), _heights(old)
    return (
        limits.keys() == before.keys()
        and (blind or all(_near(limits[key], before[key]) for key in limits))
        and all(_same_route(one, other, blind) for one, other in zip(new.routes, old.routes, strict=True))
    )


def _heights(plan: RouterPlan) -> dict[tuple[str, str], int]:
    found = {(one.pool, ""): one.max_concurrency for one in plan.limits}
    return found | {(one.pool, route): number for one in plan.limits for route, number in one.assured}


def _same_route(new: RouterRoute, old: RouterRoute, blind: bool) -> bool:
    if (new.name, new.waits) != (old.name, old.waits) or bool(new.shed_ratio) is not bool(old.shed_ratio):
        return False
    if abs(new.shed_ratio - old.shed_ratio) > SHED_BAND or len(new.backends) != len(old.backends):
        return False
    before = {one.pool: one for one in old.backends}
    return all(one.pool in before and _same_backend(one, before[one.pool], blind) for one in new.backends)


def _same_backend(new: RouterBackend, old: RouterBackend, blind: bool) -> bool:
    if bool(new.weight) is not bool(old.weight) or abs(new.weight - old.weight) > WEIGHT_BAND:
        return False
    if not new.weight and new.order != old.order:
        return False
    limit, before = new.max_concurrency, old.max_concurrency
    if limit is None or before is None:
        return limit is before
    return blind or _near(limit, before)


def _near(limit: int, before: int) -> bool:
    return abs(limit - before) <= max(1, LIMIT_BAND * max(limit, before) - 1e-9)
