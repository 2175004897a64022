"""The decision loop: gather, decide, audit, publish; every few seconds, and at once when a spec or replica changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from comptroller.allocation.audit import Beside, audit_plan
from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import Snapshot, Unknown
from comptroller.kube.resources import CACHE_WARMUP, MODEL_POOL, OWNED_BY_USERS, ROUTING_POLICY, ObjectKey, key_of
from comptroller.learning.demand import DemandLearner
from comptroller.learning.outlook import foreseen
from comptroller.observe.measurements import Measurements, measure
from comptroller.observe.prometheus import PrometheusSource
from comptroller.observe.replicas import PoolReplicas, replicas_by_pool
from comptroller.observe.warmups import without_warmups
from comptroller.runtime.accounts import Accounts
from comptroller.runtime.clock import micro_timestamp, monotonic_seconds, now_datetime, now_seconds
from comptroller.runtime.gather import gather, policies_in_force
from comptroller.runtime.hours import Hours
from comptroller.runtime.judgements import judgements_after
from comptroller.runtime.ledger import Ledger
from comptroller.runtime.object_metrics import ObjectMetrics
from comptroller.runtime.past import Past
from comptroller.runtime.prompt_caches import choices_after, with_caches
from comptroller.runtime.queue import WorkQueue
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.remember import last_number, remember_entry, remembered, remembered_decisions
from comptroller.runtime.specs import read_specs
from comptroller.runtime.speeds import speeds_after
from comptroller.runtime.startups import starts_after
from comptroller.runtime.state import Picture, Specs

log = logging.getLogger("comptroller.loop")

WorkKey = tuple[str, ObjectKey]
"""Kind and key of an object to reconcile."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one round saw."""

    at_seconds: float
    specs: Specs
    measured: Measurements
    replicas: Mapping[str, PoolReplicas]
    snapshot: Snapshot


@dataclass(slots=True)
class DecisionLoop:
    """Makes pictures and asks for the reconciling of what they speak of."""

    context: Context
    source: PrometheusSource
    queue: WorkQueue[WorkKey]
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    succeeded_seconds: float | None = None  # when a round last ended with a picture, a new one or the one in force
    ledger: Ledger = field(init=False)
    accounts: Accounts = field(init=False)
    past: Past = field(init=False)
    objects: ObjectMetrics = field(init=False)
    hours: Hours = field(default_factory=Hours)
    _number: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.context.metrics)
        self.accounts = Accounts(self.context.metrics, self.context.settings)
        self.past = Past(self.source, self.context.settings.prometheus)
        self.objects = ObjectMetrics(self.context.metrics.registry)

    def ask(self) -> None:
        """Asks for a decision soon: something that matters has changed. A follower has none to make."""
        if self.context.leads():
            self._asked.set()

    async def run(self) -> None:
        """Decides until cancelled. A round that fails is logged and the next one tries again."""
        reading = asyncio.create_task(self.past.read(self._policies(), now_seconds()), name="past")
        try:
            await self._rounds()
        finally:
            reading.cancel()

    def _policies(self) -> dict[str, int]:
        """All policies, with how many routes each has."""
        return {
            "/".join(key_of(item)): len((item.get("spec") or {}).get("routes") or ())
            for item in self.context.store.all(ROUTING_POLICY)
        }

    async def _rounds(self) -> None:
        settings = self.context.settings.loop
        while True:
            try:
                await (self.once() if self.context.leads() else self.follow())
            except Exception:
                log.exception("The decision failed; the last one stays in force")
            else:
                self.succeeded_seconds = now_seconds()
            self.context.state.last_round_seconds = now_seconds()
            try:
                async with asyncio.timeout(settings.tick_seconds):
                    await self._asked.wait()
                await asyncio.sleep(settings.batch_window_seconds)
            except TimeoutError:
                pass
            self._asked.clear()

    async def once(self) -> Picture:
        """One round of the process that leads."""
        context, state = self.context, self.context.state
        began = monotonic_seconds()
        seen = await self._look()
        specs, measured, now = seen.specs, seen.measured, seen.at_seconds
        # 3. Decide on it.
        snapshot, decision = await asyncio.to_thread(_decide, state.demand, seen.snapshot)
        # 4. Have it audited by code that shares nothing with the code that made it.
        if violations := audit_plan(
            {**specs.policies, **policies_in_force(specs, context.state)}, specs.pools, decision, _beside(context)
        ):
            context.metrics.audit_refusals.inc()
            log.error(
                "The auditor refused the plan; the last one stays in force",
                extra={"violations": [str(one) for one in violations]},
            )
            if context.state.picture is not None:
                return context.state.picture
            raise RuntimeError(f"the auditor refused the first plan: {violations[0]}")
        # 5. Publish it and have every object reconciled with it.
        self._number = max(self._number, last_number(context.state.history)) + 1
        number, forecasts, caches = self._number, state.demand.skills(), state.caches
        picture = Picture(now, specs, measured, seen.replicas, snapshot, decision, number, caches, forecasts)
        await self._publish(picture)
        context.metrics.show(snapshot, measured, decision, now)
        context.metrics.show_forecasts(snapshot, forecasts)
        context.metrics.warmups.show(
            (*key_of(item), item.get("status") or {}) for item in context.store.all(CACHE_WARMUP)
        )
        context.metrics.show_budgets(snapshot)
        self.objects.show(context.store, picture)
        context.metrics.decision_seconds.observe(monotonic_seconds() - began)
        context.metrics.api_writes.set(context.client.writes)
        context.metrics.queue_depth.set(len(self.queue))
        for resource in OWNED_BY_USERS:
            for item in context.store.all(resource):
                self.queue.add((resource.kind, key_of(item)))
        return picture

    async def follow(self) -> None:
        """One round of a process that follows: it sees and learns what the leader does, and decides nothing."""
        seen = await self._look()
        await asyncio.to_thread(_learn, self.context.state.demand, seen.snapshot)

    async def _look(self) -> Seen:
        context = self.context
        # 1. Read the specs and sort out what cannot be acted upon.
        specs = read_specs(context.store, context.settings, now_datetime())
        # 2. Measure; what does not answer is unknown.
        measured = await measure(self.source, context.settings.prometheus)
        now = now_seconds()
        measured = without_warmups(measured, context.store, now, context.settings.prometheus.rate_window_seconds)
        seen = not isinstance(measured.router_age_seconds, Unknown) and len(measured.router_age_seconds) > 0
        if seen and context.state.first_data_seconds is None:
            context.state.first_data_seconds = now
        state = context.state
        if state.picture is None:  # whoever decided before has told of it in the status
            state.memory = remembered(context.store)
            state.history = remembered_decisions(context.store)
        state.speeds = speeds_after(state.speeds, context.store, specs, context.settings, measured, now)
        window = float(context.settings.prometheus.rate_window_seconds)
        in_force = policies_in_force(specs, state)
        state.judgements = judgements_after(state.judgements, context.store, in_force, measured, window, now)
        # Freeze a snapshot.
        replicas = replicas_by_pool(context.store)
        state.starts = starts_after(state.starts, specs.pools, replicas)
        policies = policies_in_force(specs, state)
        state.caches = choices_after(state.caches, context.store, specs, policies, measured, state.memory.shares)
        snapshot = gather(context.store, specs, context.state, context.settings, measured, replicas, now)
        snapshot = with_caches(snapshot, specs, state.caches, measured)
        self.past.give(state.demand, now)
        return Seen(now, specs, measured, replicas, snapshot)

    async def _publish(self, picture: Picture) -> None:
        state, before = self.context.state, self.context.state.picture
        state.memory = picture.decision.memory
        changed = _changes(None if before is None else before.decision, picture.decision)
        for pool in changed:
            state.desired_since_seconds[pool] = picture.at_seconds
            state.desired_before[pool] = _last_count(
                None if before is None else before.decision, picture.decision, pool
            )
        state.picture = picture
        self._record(picture)
        if changed and before is not None:
            await self._tell_scaled(picture, changed)

    def _record(self, picture: Picture) -> None:
        """Keeps the books. What cannot be told must not keep a decision from being carried out."""
        try:
            self.hours.record(picture)
            self.accounts.record(picture)
            for entry in self.ledger.record(picture):
                remember_entry(self.context.state, self.context.store, picture, entry)
        except Exception:
            log.exception("The ledger cannot take the decision in; it stands all the same")

    async def _tell_scaled(self, picture: Picture, changed: Iterable[str]) -> None:
        """Events on the pools whose wanted count is new."""
        context = self.context
        for pool in changed:
            namespace, name = pool.split("/", 1)
            item = context.store.get(MODEL_POOL, (namespace, name))
            if item is not None:
                note = f"Wanted {picture.decision.pools[pool].message}"
                await context.events.post(item, "Scaled", "Decide", note, micro_timestamp(picture.at_seconds))


def _beside(context: Context) -> Beside:
    """What binds a plan beside the specs, read anew for the auditor and not taken from the snapshot."""
    annotations = {
        "/".join(key_of(item)): item["metadata"].get("annotations") or {} for item in context.store.all(MODEL_POOL)
    }
    picture = context.state.picture
    applied = {} if picture is None else {key: one.replicas for key, one in picture.decision.pools.items()}
    return Beside(annotations, applied, context.settings.loop.maximum_step_up)


def _decide(demand: DemandLearner, snapshot: Snapshot) -> tuple[Snapshot, Decision]:
    """Learns the demand of now, looks ahead and decides."""
    snapshot = _learn(demand, snapshot)
    return snapshot, decide(snapshot)


def _learn(demand: DemandLearner, snapshot: Snapshot) -> Snapshot:
    """Learns the demand of now, and looks ahead by it."""
    demand.record(snapshot.at_seconds, {route.key: route.demand.requests_per_second for route in snapshot.routes})
    return foreseen(demand, snapshot)


def _changes(before: Decision | None, after: Decision) -> list[str]:
    """Pools whose wanted count is new."""
    return [key for key, one in after.pools.items() if _last_count(before, after, key) != one.replicas]


def _last_count(before: Decision | None, after: Decision, pool: str) -> int:
    """What was wanted last, by this process or by its predecessor."""
    known = before.pools.get(pool) if before is not None else None
    return after.pools[pool].previous if known is None else known.replicas
