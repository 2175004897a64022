"""The decision loop: gather, decide, audit, publish; every few seconds, and at once when a spec or replica changes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from comptroller.allocation.audit import Beside, audit_plan
from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import Unknown
from comptroller.kube.resources import MODEL_POOL, OWNED_BY_USERS, ROUTING_POLICY, ObjectKey, key_of
from comptroller.observe.measurements import measure
from comptroller.observe.prometheus import PrometheusSource
from comptroller.observe.replicas import replicas_by_pool
from comptroller.runtime.clock import micro_timestamp, monotonic_seconds, now_datetime, now_seconds, timestamp
from comptroller.runtime.gather import gather, policies_in_force
from comptroller.runtime.queue import WorkQueue
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.specs import read_specs
from comptroller.runtime.speeds import speeds_after
from comptroller.runtime.state import Picture

log = logging.getLogger("comptroller.loop")

WorkKey = tuple[str, ObjectKey]
"""Kind and key of an object to reconcile."""


@dataclass(slots=True)
class DecisionLoop:
    """Makes pictures and asks for the reconciling of what they speak of."""

    context: Context
    source: PrometheusSource
    queue: WorkQueue[WorkKey]
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    succeeded_seconds: float | None = None  # when a round last ended with a picture, a new one or the one in force
    _number: int = 0

    def ask(self) -> None:
        """Asks for a decision soon: something that matters has changed."""
        self._asked.set()

    async def run(self) -> None:
        """Decides until cancelled. A round that fails is logged and the next one tries again."""
        settings = self.context.settings.loop
        while True:
            try:
                await self.once()
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
        """One round."""
        context = self.context
        began = monotonic_seconds()
        # 1. Read the specs and sort out what cannot be acted upon.
        specs = read_specs(context.store, context.settings, now_datetime())
        # 2. Measure; what does not answer is unknown.
        measured = await measure(self.source, context.settings.prometheus)
        now = now_seconds()
        seen = not isinstance(measured.router_age_seconds, Unknown) and len(measured.router_age_seconds) > 0
        if seen and context.state.first_data_seconds is None:
            context.state.first_data_seconds = now
        state = context.state
        state.speeds = speeds_after(state.speeds, context.store, specs, context.settings, measured, now)
        # 3. Freeze a snapshot and decide on it.
        replicas = replicas_by_pool(context.store)
        snapshot = gather(context.store, specs, context.state, context.settings, measured, replicas, now)
        decision = await asyncio.to_thread(decide, snapshot)
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
        self._number += 1
        picture = Picture(now, specs, measured, replicas, snapshot, decision, self._number)
        await self._publish(picture)
        context.metrics.show(snapshot, measured, decision, now)
        context.metrics.decision_seconds.observe(monotonic_seconds() - began)
        context.metrics.api_writes.set(context.client.writes)
        context.metrics.queue_depth.set(len(self.queue))
        for resource in OWNED_BY_USERS:
            for item in context.store.all(resource):
                self.queue.add((resource.kind, key_of(item)))
        return picture

    async def _publish(self, picture: Picture) -> None:
        state, before = self.context.state, self.context.state.picture
        state.memory = picture.decision.memory
        changed = _changes(None if before is None else before.decision, picture.decision)
        for pool, (old, new) in changed.items():
            state.desired_since_seconds[pool] = picture.at_seconds
            target = picture.decision.pools[pool]
            facts = {"decision": picture.number, "rung": picture.decision.rung}
            why = {"reason": target.reason.value, "why": target.message}
            log.info("Wanted %s -> %s replicas of %s", old, new, pool, extra={**facts, **why})
        state.picture = picture
        if changed and before is not None:
            await self._remember(picture, changed)

    async def _remember(self, picture: Picture, changed: dict[str, tuple[int, int]]) -> None:
        """Events on the pools, and the decision in the history of every policy that uses one of them."""
        context = self.context
        for pool in changed:
            namespace, name = pool.split("/", 1)
            item = context.store.get(MODEL_POOL, (namespace, name))
            if item is not None:
                note = f"Wanted {picture.decision.pools[pool].message}"
                await context.events.post(item, "Scaled", "Decide", note, micro_timestamp(picture.at_seconds))
        for policy, spec in picture.specs.policies.items():
            namespace, name = policy.split("/", 1)
            if context.store.get(ROUTING_POLICY, (namespace, name)) is None:
                continue  # it went while this was decided
            used = {f"{namespace}/{backend.pool}" for route in spec.routes for backend in route.backends}
            if words := [
                f"{pool.split('/', 1)[1]}: {picture.decision.pools[pool].message}" for pool in changed if pool in used
            ]:
                entry = {
                    "id": str(picture.number),
                    "at": timestamp(picture.at_seconds),
                    "message": " ".join(words)[:1024],
                }
                context.state.history[policy] = [entry, *context.state.history.get(policy, [])][:10]


def _beside(context: Context) -> Beside:
    """What binds a plan beside the specs, read anew for the auditor and not taken from the snapshot."""
    annotations = {
        "/".join(key_of(item)): item["metadata"].get("annotations") or {} for item in context.store.all(MODEL_POOL)
    }
    picture = context.state.picture
    applied = {} if picture is None else {key: one.replicas for key, one in picture.decision.pools.items()}
    return Beside(annotations, applied, context.settings.loop.maximum_step_up)


def _changes(before: Decision | None, after: Decision) -> dict[str, tuple[int, int]]:
    """Pools whose wanted count is new: pool -> (old, new)."""
    result = {}
    for pool, target in after.pools.items():
        known = before.pools.get(pool) if before is not None else None
        old = known.replicas if known is not None else target.previous
        if old != target.replicas:
            result[pool] = (old, target.replicas)
    return result
