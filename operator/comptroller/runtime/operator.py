"""The whole process, put together: store, loop, workers, server, and kopf for the watches."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from comptroller.api.settings import Settings
from comptroller.apply.events import EventRecorder
from comptroller.apply.objects import Applier
from comptroller.apply.status import StatusWriter
from comptroller.kube.client import KubeClient, KubeError
from comptroller.kube.resources import (
    CACHE_WARMUP,
    MODEL_POOL,
    NODE,
    OWNED_BY_USERS,
    POD,
    ROUTING_POLICY,
    WATCHED,
    KubeDict,
    Resource,
    key_of,
    owner_of,
)
from comptroller.kube.store import ClusterStore
from comptroller.observe.prometheus import PrometheusSource
from comptroller.observe.replicas import pool_of
from comptroller.observe.targets import scrape_targets
from comptroller.observe.warmups import JOB_LABEL
from comptroller.runtime.clock import monotonic_seconds, now_seconds
from comptroller.runtime.loop import DecisionLoop, WorkKey
from comptroller.runtime.metrics import Metrics
from comptroller.runtime.queue import WorkQueue
from comptroller.runtime.reconcile.context import Context, NotYetError
from comptroller.runtime.reconcile.policy import reconcile_policy
from comptroller.runtime.reconcile.pool import reconcile_pool
from comptroller.runtime.reconcile.warmup import reconcile_warmup
from comptroller.runtime.remember import remembered, remembered_decisions
from comptroller.runtime.server import serve
from comptroller.runtime.state import State

log = logging.getLogger("comptroller")

WORKERS = 8
UNSYNCED_LIMIT_SECONDS = 60.0
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
    store: ClusterStore = field(default_factory=ClusterStore)
    metrics: Metrics = field(default_factory=Metrics)
    queue: WorkQueue[WorkKey] = field(default_factory=WorkQueue)
    loop: DecisionLoop = field(init=False)
    context: Context = field(init=False)
    _source: PrometheusSource = field(init=False)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    _server: web.AppRunner | None = None
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
        )
        self.loop = DecisionLoop(self.context, self._source, self.queue)

    async def start(self) -> None:
        """Lists everything once, so that the first decision sees the whole picture; then begins to work."""
        for resource in WATCHED:
            await self.relist(resource)
        self.context.state.memory = remembered(self.store)
        self.context.state.history = remembered_decisions(self.store)
        self._synced_at = monotonic_seconds()
        self._server = await serve(
            self.settings.listen_port,
            self.metrics.registry,
            self.healthy,
            self.ready,
            lambda: scrape_targets(self.store),
        )
        self._tasks = [
            asyncio.create_task(self.loop.run(), name="decide"),
            asyncio.create_task(self.queue.run(self._work, WORKERS), name="reconcile"),
            asyncio.create_task(self._heal(), name="relist"),
        ]
        log.info(
            "Started",
            extra={"objects": {resource.kind: sum(1 for _ in self.store.all(resource)) for resource in WATCHED}},
        )

    async def stop(self) -> None:
        """Ends the work; what is written is written, what was not will be by the next process."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._source.close()
        if self._server is not None:
            await self._server.cleanup()

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
                self._changed(resource, item)

    def observe(self, resource: Resource, kind: str | None, item: Mapping[str, Any]) -> None:
        """Takes in one event of a watch. It only says which object to look at."""
        if kind == "DELETED":
            if self.store.remove(resource, item):
                self._changed(resource, item)
        elif self.store.upsert(resource, item):
            self._changed(resource, item)

    def _changed(self, resource: Resource, item: Mapping[str, Any]) -> None:
        key = key_of(item)
        if resource in OWNED_BY_USERS:
            self._spec_changed(resource, item)
        elif resource is POD:
            self._pod_changed(dict(item))
        elif resource is NODE:
            return  # the next tick counts its GPUs; heartbeats would make every node a reason to decide
        elif (owner := owner_of(item)) and owner["kind"] in RECONCILERS:
            self.queue.add((owner["kind"], (key[0], owner["name"])))

    def _spec_changed(self, resource: Resource, item: Mapping[str, Any]) -> None:
        key = key_of(item)
        picture = self.context.state.picture
        gone = self.store.get(resource, key) is None
        if gone or picture is None or not picture.specs.current(item):
            self.loop.ask()
        self.queue.add((resource.kind, key))

    def _pod_changed(self, pod: KubeDict) -> None:
        labels = pod["metadata"].get("labels") or {}
        namespace = pod["metadata"].get("namespace", "")
        if (pool := pool_of(pod)) is not None:
            self.loop.ask()
            self.queue.add((MODEL_POOL.kind, (namespace, pool.split("/", 1)[1])))
            for item in self.store.all(CACHE_WARMUP):
                if item["metadata"]["namespace"] == namespace:
                    self.queue.add((CACHE_WARMUP.kind, key_of(item)))
        elif JOB_LABEL in labels and (warmup := labels.get("comptroller.dev/warmup")):
            self.queue.add((CACHE_WARMUP.kind, (namespace, warmup)))

    async def _work(self, key: WorkKey) -> None:
        kind, name = key
        try:
            await RECONCILERS[kind](self.context, name)
        except NotYetError:
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
        except Exception:
            delay = self.queue.retry(key)
            self.metrics.reconciles.labels(kind, "error").inc()
            log.exception(
                "Reconciling failed", extra={"kind": kind, "object": "/".join(name), "retry_seconds": round(delay, 1)}
            )
        else:
            self.queue.done(key)
            self.metrics.reconciles.labels(kind, "ok").inc()

    async def _heal(self) -> None:
        while True:
            await asyncio.sleep(self.settings.loop.relist_seconds * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            for resource in WATCHED:
                try:
                    await self.relist(resource)
                except KubeError as error:
                    log.warning("The list of %s failed: %s", resource.plural, error.message)
            self._synced_at = monotonic_seconds()

    def healthy(self) -> dict[str, Any]:
        """Whether the process works: its tasks live and it decides."""
        ended = [task.get_name() for task in self._tasks if task.done()]
        age = now_seconds() - self.context.state.last_round_seconds
        late = age > 10 * self.settings.loop.tick_seconds + UNSYNCED_LIMIT_SECONDS
        return {"ok": not ended and not late, "ended": ended, "roundAgeSeconds": age, "queue": len(self.queue)}

    def ready(self) -> dict[str, Any]:
        """Whether it has seen the whole cluster and decided once."""
        picture = self.context.state.picture
        return {"ok": self._synced_at is not None and picture is not None, "failing": self.queue.failing}
