"""The whole process, put together: store, loop, workers, server, and kopf for the watches."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from comptroller.allocation.perimeter import way_stalls
from comptroller.api.conditions import ConditionType, Reason
from comptroller.api.settings import Settings
from comptroller.apply.events import EventRecorder
from comptroller.apply.objects import Applier
from comptroller.apply.status import OWN_CONDITIONS, StatusWriter
from comptroller.kube.client import KubeClient, KubeError, NotLeadingError
from comptroller.kube.resources import (
    BY_KIND,
    CACHE_WARMUP,
    CHILDREN,
    ENDPOINT_SLICE,
    MODEL_POOL,
    NODE,
    OWNED_BY_USERS,
    POD,
    ROUTING_POLICY,
    SERVICE,
    WATCHED,
    KubeDict,
    ObjectKey,
    Resource,
    key_of,
    owner_of,
)
from comptroller.kube.store import ClusterStore
from comptroller.observe.prometheus import PrometheusSource
from comptroller.observe.replicas import pool_of
from comptroller.observe.targets import scrape_targets
from comptroller.observe.warmups import JOB_LABEL
from comptroller.observe.ways import external_ips, ways
from comptroller.runtime.clock import monotonic_seconds, now_seconds
from comptroller.runtime.leader import Elector
from comptroller.runtime.loop import DecisionLoop, WorkKey
from comptroller.runtime.metrics import Metrics
from comptroller.runtime.page import Page
from comptroller.runtime.queue import WorkQueue
from comptroller.runtime.reconcile.conditions import condition
from comptroller.runtime.reconcile.context import Context, NotYetError
from comptroller.runtime.reconcile.policy import reconcile_policy
from comptroller.runtime.reconcile.pool import reconcile_pool
from comptroller.runtime.reconcile.tell import tell
from comptroller.runtime.reconcile.warmup import reconcile_warmup
from comptroller.runtime.server import serve
from comptroller.runtime.state import State

log = logging.getLogger("comptroller")

WORKERS = 8
UNSYNCED_LIMIT_SECONDS = 60.0
LAST_WRITES_SECONDS = 5.0  # how long a process that is told to stop waits for its writes under way
PASSING = frozenset((404, 409, 429))  # refusals that pass by themselves: gone, changed meanwhile, too busy
RECONCILERS = {
    MODEL_POOL.kind: reconcile_pool,
    ROUTING_POLICY.kind: reconcile_policy,
    CACHE_WARMUP.kind: reconcile_warmup,
}


class MissingCrdError(Exception):
    """A custom resource is not served: without this check it would silently never be watched."""


@dataclass(slots=True)
class Operator:
    """The running operator. `observe` takes events in, `start` and `stop` frame its life."""

    client: KubeClient
    settings: Settings
    elector: Elector | None = None  # None: there is no other process
    store: ClusterStore = field(default_factory=ClusterStore)
    metrics: Metrics = field(default_factory=Metrics)
    queue: WorkQueue[WorkKey] = field(default_factory=WorkQueue)
    loop: DecisionLoop = field(init=False)
    context: Context = field(init=False)
    _source: PrometheusSource = field(init=False)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    _election: asyncio.Task[None] | None = None
    _server: web.AppRunner | None = None
    _page: Page | None = None
    _synced_at: float | None = None

    def __post_init__(self) -> None:
        self._source = PrometheusSource(self.settings.prometheus)
        self.context = Context(
            client=self.client,
            store=self.store,
            applier=Applier(self.client, self.store),
            status=StatusWriter(self.client, self.store, quiet_seconds=max(10.0, 2 * self.settings.loop.tick_seconds)),
            events=EventRecorder(self.client),
            settings=self.settings,
            state=State(last_round_seconds=now_seconds()),
            metrics=self.metrics,
            leads=self.leads,
        )
        self.loop = DecisionLoop(self.context, self._source, self.queue)
        self.metrics.leader.set_function(lambda: float(self.leads()))
        if self.elector is not None:
            self.client.fence.left_seconds = self.elector.left_seconds
            self.elector.on_change = self.loop.ask

    def leads(self) -> bool:
        """Whether this process decides and writes."""
        return self.elector is None or self.client.fence.open

    async def start(self) -> None:
        """Lists everything once, so that the first decision sees the whole picture; then begins to work."""
        for resource in WATCHED:
            await self.relist(resource)
        self._synced_at = monotonic_seconds()
        if self.settings.page.enabled:
            self._page = Page(self.context, self.loop.hours, self.loop.ledger)
        self._server = await serve(
            self.settings.listen_port,
            self.metrics.registry,
            self.healthy,
            self.ready,
            lambda: scrape_targets(self.store),
            self.loop.ledger.answer,
            self._page.routes() if self._page is not None else (),
            self._led_by,
        )
        self._tasks = [
            asyncio.create_task(self.loop.run(), name="decide"),
            asyncio.create_task(self.queue.run(self._work, WORKERS), name="reconcile"),
            asyncio.create_task(self._heal(), name="relist"),
        ]
        if self.elector is not None:
            self._election = asyncio.create_task(self.elector.run(), name="elect")
        log.info(
            "Started",
            extra={"objects": {resource.kind: sum(1 for _ in self.store.all(resource)) for resource in WATCHED}},
        )

    async def stop(self) -> None:
        """Ends the work; what is written is written, what was not will be by the next process."""
        await self._resign()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._source.close()
        if self._server is not None:
            await self._server.cleanup()
        if self._page is not None:
            await self._page.close()

    async def _resign(self) -> None:
        """Writes nothing more, and then lets another lead. Where a write has not ended, the lease does so by itself."""
        if self.elector is None or self._election is None:
            return
        self._election.cancel()
        await asyncio.gather(self._election, return_exceptions=True)
        if await self.client.fence.close(LAST_WRITES_SECONDS):
            await self.elector.release()

    def _led_by(self) -> str | None:
        """Who leads instead of this process; None where it does itself."""
        if self.leads() or self.elector is None:
            return None
        return self.elector.holder or "nobody"

    async def relist(self, resource: Resource) -> None:
        """Takes over a full list of one kind; heals what the watch has lost."""
        namespaces: list[str | None] = list(self.settings.watch_namespaces) if resource.namespaced else []
        for namespace in namespaces or [None]:
            marked = self.store.uids(resource)
            try:
                items = [item async for item in self.client.list(resource, namespace)]
            except KubeError as error:
                if error.status == 404 and resource in OWNED_BY_USERS:
                    raise MissingCrdError(
                        f"the API server does not serve {resource.plural}.{resource.group}: apply crds/ first"
                    ) from error
                raise
            for item in self.store.replace(resource, items, namespace, marked):
                self._forget(resource, item)
                self._changed(resource, item)

    def observe(self, resource: Resource, kind: str | None, item: Mapping[str, Any]) -> None:
        """Takes in one event of a watch. It only says which object to look at."""
        if kind == "DELETED":
            removed = self.store.remove(resource, item)
            self._forget(resource, item)
            if removed:
                self._changed(resource, item)
        elif self.store.upsert(resource, item):
            self._changed(resource, item)

    def _forget(self, resource: Resource, item: Mapping[str, Any]) -> None:
        """Drops what is remembered of an object, if it is gone."""
        key = key_of(item)
        if self.store.get(resource, key) is not None:
            return
        if resource in CHILDREN:
            self.context.applier.forget(resource, key)
        elif resource in OWNED_BY_USERS:
            self.context.status.forget(dict(item))
        if resource is ROUTING_POLICY:
            self.context.state.last_good_policies.pop("/".join(key), None)
            self.context.state.history.pop("/".join(key), None)

    def _changed(self, resource: Resource, item: Mapping[str, Any]) -> None:
        key = key_of(item)
        if resource is ENDPOINT_SLICE or (resource is SERVICE and self._leads_elsewhere(key)):
            self.loop.ask()
        if resource in OWNED_BY_USERS:
            self._spec_changed(resource, item)
        elif resource is POD:
            self._pod_changed(dict(item))
        elif resource is NODE:
            return  # the next tick counts its GPUs; heartbeats would make every node a reason to decide
        elif (owner := owner_of(item)) and owner["kind"] in RECONCILERS:
            self.queue.add((owner["kind"], (key[0], owner["name"])), urgent=True)

    def _leads_elsewhere(self, key: ObjectKey) -> bool:
        """Whether it is news where a Service of a pool's name leads, or one that claims addresses."""
        service, picture = self.store.get(SERVICE, key), self.context.state.picture
        if service is not None and external_ips(service):
            return True
        pool = "/".join(key)
        told = picture is not None and bool(picture.specs.stalled(MODEL_POOL.kind, pool))
        return told is not any(way_stalls(way) for way in ways(self.store, [pool]).values())

    def _spec_changed(self, resource: Resource, item: Mapping[str, Any]) -> None:
        key = key_of(item)
        picture = self.context.state.picture
        gone = self.store.get(resource, key) is None
        if news := gone or picture is None or not picture.specs.current(item):
            self.loop.ask()
        self.queue.add((resource.kind, key), urgent=news)

    def _pod_changed(self, pod: KubeDict) -> None:
        labels = pod["metadata"].get("labels") or {}
        namespace = pod["metadata"].get("namespace", "")
        if (pool := pool_of(pod)) is not None:
            self.loop.ask()
            self.queue.add((MODEL_POOL.kind, (namespace, pool.split("/", 1)[1])), urgent=True)
            for item in self.store.all(CACHE_WARMUP):
                if item["metadata"]["namespace"] == namespace:
                    self.queue.add((CACHE_WARMUP.kind, key_of(item)), urgent=True)
        elif JOB_LABEL in labels and (warmup := labels.get("comptroller.dev/warmup")):
            self.queue.add((CACHE_WARMUP.kind, (namespace, warmup)), urgent=True)

    async def _work(self, key: WorkKey) -> None:
        kind, name = key
        if not self.leads():
            return
        try:
            await RECONCILERS[kind](self.context, name)
        except (NotYetError, NotLeadingError):
            return  # the first decision asks for every object
        except KubeError as error:
            delay = self.queue.retry(key, error.retry_after_seconds)
            self.metrics.reconciles.labels(kind, "retry").inc()
            level = logging.DEBUG if error.status == 409 else logging.WARNING
            log.log(
                level,
                "The API server refused: %s",
                error.message,
                extra={"kind": kind, "object": "/".join(name), "retry_seconds": round(delay, 1)},
            )
            if 400 <= error.status < 500 and error.status not in PASSING:
                await self._tell_refused(key, error)
        except Exception:
            delay = self.queue.retry(key)
            self.metrics.reconciles.labels(kind, "error").inc()
            log.exception(
                "Reconciling failed", extra={"kind": kind, "object": "/".join(name), "retry_seconds": round(delay, 1)}
            )
        else:
            self.queue.done(key)
            self.metrics.reconciles.labels(kind, "ok").inc()

    async def _tell_refused(self, key: WorkKey, error: KubeError) -> None:
        """Tells the user of a refusal that will not pass by itself. What the status said besides stays."""
        kind, name = key
        live, picture = self.store.get(BY_KIND[kind], name), self.context.state.picture
        if live is None or live["metadata"].get("deletionTimestamp") or picture is None:
            return
        if not picture.specs.current(live):
            return  # what was refused is not what the user asks for now
        try:
            await tell(self.context, live, refused_status(live, error.message))
        except KubeError as second:
            log.debug("Nor can it be told: %s", second.message, extra={"kind": kind, "object": "/".join(name)})
        except Exception:
            log.exception("A refusal cannot be told", extra={"kind": kind, "object": "/".join(name)})

    async def _heal(self) -> None:
        while True:
            await asyncio.sleep(self.settings.loop.relist_seconds * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            for resource in WATCHED:
                try:
                    await self.relist(resource)
                except KubeError as error:
                    log.warning("The list of %s failed: %s", resource.plural, error.message)
            self._synced_at = monotonic_seconds()

    @property
    def _limit_seconds(self) -> float:
        """How old the last round may be."""
        return 10 * self.settings.loop.tick_seconds + UNSYNCED_LIMIT_SECONDS

    def healthy(self) -> dict[str, Any]:
        """Whether the process works: its tasks live, the loop comes round, and its rounds do not all fail.

        A plan that the auditor refuses is no failure here: a new process would make the same one. Nor is a round that
        fails before the first picture: that is for readiness to tell.
        """
        tasks = [*self._tasks, *([self._election] if self._election is not None else ())]
        ended = [task.get_name() for task in tasks if task.done()]
        now, limit = now_seconds(), self._limit_seconds
        age = now - self.context.state.last_round_seconds
        late = age > limit
        found = {"ended": ended, "roundAgeSeconds": age, "queue": len(self.queue)}
        if self.context.state.picture is not None and self.loop.succeeded_seconds is not None:
            found["successAgeSeconds"] = now - self.loop.succeeded_seconds
            late = late or now - self.loop.succeeded_seconds > limit
        return {"ok": not ended and not late, **found}

    def ready(self) -> dict[str, Any]:
        """Whether it has seen the whole cluster and decided, and not too long ago; a follower only sees."""
        picture, leads = self.context.state.picture, self.leads()
        newest = self.loop.succeeded_seconds if not leads else None if picture is None else picture.at_seconds
        fresh = newest is not None and now_seconds() - newest <= self._limit_seconds
        return {"ok": self._synced_at is not None and fresh, "failing": self.queue.failing, "leads": leads}


def refused_status(live: Mapping[str, Any], message: str) -> dict[str, Any]:
    """The status of an object one of whose children the API server refuses."""
    before, generation = live.get("status") or {}, live["metadata"].get("generation", 0)
    text = f"The API server refused: {message.rstrip('. ')}. Correct the spec, or what refuses it; it is tried again."
    said = [
        condition(ConditionType.READY, False, Reason.REFUSED, text, generation),
        condition(ConditionType.RECONCILING, False, Reason.REFUSED, "It waits for its next attempt.", generation),
        condition(ConditionType.STALLED, True, Reason.REFUSED, text, generation),
    ]
    types = {one["type"] for one in said}
    kept = [one for one in before.get("conditions") or () if one["type"] in OWN_CONDITIONS and one["type"] not in types]
    return {**before, "observedGeneration": generation, "conditions": [*said, *kept]}
