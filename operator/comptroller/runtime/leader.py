"""Holds or awaits the Lease: the thin edge of `election`, with a login of its own that no crowd of requests delays."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from comptroller.api.settings import LeaderElectionSettings
from comptroller.kube.client import KubeClient, KubeError
from comptroller.kube.resources import LEASE, KubeDict
from comptroller.runtime.clock import lease_seconds, micro_timestamp, now_seconds
from comptroller.runtime.election import (
    NOBODY,
    Record,
    Step,
    Terms,
    View,
    left_seconds,
    next_step,
    record_of,
    seen,
    won,
)

log = logging.getLogger("comptroller.leader")

RELEASE_ATTEMPTS = 3


def process_name() -> str:
    """Of this very process: one that was killed is another's predecessor, also in the same pod."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"


@dataclass(slots=True)
class Elector:
    """One process' part in the election. `on_change` is called when it has begun or ceased to lead, `on_loss` once
    when another process leads after it: what it remembers of deciding is then worth nothing, and it shall end."""

    client: KubeClient
    namespace: str
    me: str
    settings: LeaderElectionSettings
    on_change: Callable[[], None] = lambda: None
    on_loss: Callable[[], None] = lambda: None
    now: Callable[[], float] = lease_seconds
    view: View = field(default_factory=View)
    _certain: bool = False  # whether the last request was answered, so that the view is the server's
    _told: bool = False
    _holder: str | None = None

    @property
    def terms(self) -> Terms:
        """The two durations of the rules."""
        return Terms(float(self.settings.lease_duration_seconds), self.settings.renew_deadline_seconds)

    def left_seconds(self) -> float:
        """For how long this process may still write; zero or less: it may not."""
        return left_seconds(self.view, self.terms, self.now())

    @property
    def holder(self) -> str:
        """Who holds the lease, as far as is known."""
        return NOBODY if self.view.record is None else self.view.record.holder

    async def run(self) -> None:
        """Attempts until cancelled, or until another process leads after this one."""
        while self.view.lost_to is None:
            try:
                await self.attempt()
            except KubeError as error:
                level = logging.DEBUG if error.status == 409 else logging.WARNING
                log.log(level, "The lease cannot be asked for: %s", error.message, extra={"lease": self._lease})
            self._tell()
            await asyncio.sleep(self.settings.retry_period_seconds * random.uniform(0.8, 1.0))  # noqa: S311 - jitter
        log.error("Another process leads now: %s. This one ends, to begin anew", self.view.lost_to or "it let go again")
        self.on_loss()

    async def attempt(self) -> None:
        """One look at the lease, and what follows from it. Raises `KubeError`; then nothing is certain but time."""
        if not self._certain:
            await self._look()
        step = next_step(self.view, self.me, self.terms, self.now())
        self._certain = False
        if step is Step.WAIT or self.view.lost_to is not None:
            return
        left_at = self.now()
        record = await self._write(self.me, step)
        self.view = won(self.view, record, left_at, self.now())
        self._certain = True

    async def release(self) -> None:
        """Lets go, so that another need not wait. Call it when nothing is written any more."""
        for _ in range(RELEASE_ATTEMPTS):
            try:
                await self._look()
                if self.holder == self.me:
                    await self._write(NOBODY, Step.RENEW)
                    log.info("Let go of the lease", extra={"lease": self._lease})
            except KubeError as error:
                if error.status == 409:
                    continue  # a renewal under way came first
                log.warning("The lease cannot be let go of: %s", error.message, extra={"lease": self._lease})
            break

    async def _look(self) -> None:
        lease = await self.client.get(LEASE, self.namespace, self.settings.lease_name)
        self.view = seen(self.view, self.me, record_of(lease), self.now())

    async def _write(self, holder: str, step: Step) -> Record:
        """Writes the lease over the version that was seen, and returns what the server made of it."""
        before = self.view.record
        now = micro_timestamp(now_seconds())  # for people: nobody decides by it
        metadata = {"name": self.settings.lease_name, "namespace": self.namespace}
        lease: KubeDict = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": metadata if before is None else metadata | {"resourceVersion": before.version},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": self.settings.lease_duration_seconds,
                "acquireTime": now if before is None or step is not Step.RENEW else before.acquired or now,
                "renewTime": now,
                "leaseTransitions": (before.transitions if before else 0) + (step is Step.TAKE),
            },
        }
        answer = await (self.client.create(lease) if step is Step.CREATE else self.client.replace(lease))
        record = record_of(answer)
        assert record is not None  # noqa: S101 - an answer is an object
        return record

    def _tell(self) -> None:
        """Says what is new."""
        leading = self.left_seconds() > 0.0
        if leading is not self._told:
            self._told = leading
            log.info("Leads" if leading else "Leads no more", extra={"lease": self._lease, "identity": self.me})
            self.on_change()
        if not leading and self.holder != self._holder:
            log.info("Follows %s", self.holder or "nobody", extra={"lease": self._lease, "identity": self.me})
        self._holder = self.holder

    @property
    def _lease(self) -> str:
        return f"{self.namespace}/{self.settings.lease_name}"
