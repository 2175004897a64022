"""kopf for process, login and watches, and nothing else: every event goes to the operator's own store.

kopf's higher handlers patch each object twice, keep annotations on users' objects and lose deletions in watch gaps;
`on.event` does none of that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import kopf

from comptroller.api.settings import Settings
from comptroller.kube.client import KubeClient
from comptroller.kube.login import own_namespace
from comptroller.kube.resources import WATCHED, Resource
from comptroller.runtime.leader import Elector, process_name
from comptroller.runtime.operator import MissingCrdError, Operator

IDENTITY: Any = "comptroller"
"""Else kopf asks for the name of the user, and a container's user may have none."""


def build_registry(operator: Operator) -> kopf.OperatorRegistry:
    """A registry with one thin handler per kind."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)
        try:
            await operator.start()
        except MissingCrdError as error:  # kopf would try anything else again and again
            raise kopf.PermanentError(str(error)) from error

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_: Any) -> None:
        await operator.stop()

    @kopf.on.login(registry=registry)
    def login(**arguments: Any) -> Any:
        return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)

    for resource in WATCHED:
        _watch(registry, operator, resource)
    return registry


def _watch(registry: kopf.OperatorRegistry, operator: Operator, resource: Resource) -> None:
    @kopf.on.event(resource.group, resource.version, resource.plural, id=f"watch-{resource.plural}", registry=registry)
    async def watch(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        operator.observe(resource, type, dict(body))


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf's own settings: quiet, patient with shutdown, server-side selectors for the children."""
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.queueing.exit_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = (1, 1, 2, 3, 5, 5, 5, 5, 5, 5)
    settings.watching.connect_timeout = 5
    settings.watching.server_timeout = 600
    settings.watching.chunk_size = 500
    for resource in WATCHED:
        if resource.selector:
            settings.watching.label_selectors[resource.group, resource.version, resource.plural] = resource.selector


class LeadershipLostError(Exception):
    """Another process leads after this one did. Its decisions are another's now: it begins anew, as a follower."""

    def __init__(self, leader: str) -> None:
        super().__init__(f"{leader or 'another process'} leads now: start this one again, and it follows")


@asynccontextmanager
async def _elector(settings: Settings, name: str, stop: asyncio.Event) -> AsyncIterator[Elector | None]:
    """The part in the election, with a login of its own; None where there is no other process."""
    election = settings.leader_election
    namespace = election.namespace or own_namespace()
    if not election.enabled or namespace is None:
        yield None
        return
    async with await KubeClient.connect(f"{name} lease", election.renew_deadline_seconds / 2) as client:
        yield Elector(client, namespace, name, election, on_loss=stop.set)


async def run(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Runs the operator until it is told to stop. Raises `MissingCrdError` when our kinds are not served, `LoginError`
    when there is no way to log in, `LeadershipLostError` when another process leads after this one did."""
    stop, name = stop or asyncio.Event(), process_name()
    async with await KubeClient.connect(name) as client, _elector(settings, name, stop) as elector:
        operator = Operator(client, settings, elector)
        logging.getLogger("comptroller").debug("Starting")
        try:
            await kopf.operator(
                registry=build_registry(operator),
                clusterwide=not settings.watch_namespaces,
                namespaces=settings.watch_namespaces,
                standalone=True,
                identity=IDENTITY,
                stop_flag=stop,
            )
        except Exception as error:
            if (missing := _missing(error)) is not None:
                await operator.stop()  # kopf cleans up only what has started
                raise missing from None
            raise
    if elector is not None and elector.view.lost_to is not None:
        raise LeadershipLostError(elector.view.lost_to)


def _missing(error: BaseException | None) -> MissingCrdError | None:
    """What ended the start, beneath what kopf wraps around it."""
    while error is not None and not isinstance(error, MissingCrdError):
        error = error.__cause__
    return error
