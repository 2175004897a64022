"""What every reconciler works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from comptroller.api.settings import Settings
from comptroller.apply.events import EventRecorder
from comptroller.apply.objects import Applier
from comptroller.apply.status import StatusWriter
from comptroller.kube.client import KubeClient
from comptroller.kube.store import ClusterStore
from comptroller.runtime.clock import micro_timestamp, now_seconds, timestamp
from comptroller.runtime.metrics import Metrics
from comptroller.runtime.state import Picture, State


@dataclass(frozen=True, slots=True)
class Context:
    """The process, as a reconciler sees it."""

    client: KubeClient
    store: ClusterStore
    applier: Applier
    status: StatusWriter
    events: EventRecorder
    settings: Settings
    state: State
    metrics: Metrics
    leads: Callable[[], bool] = lambda: True  # False: another process decides and writes

    def picture(self) -> Picture:
        """The newest round of the loop. Raises `NotYetError` before the first."""
        if self.state.picture is None:
            raise NotYetError
        return self.state.picture

    def now(self) -> tuple[float, str, str]:
        """Seconds, the timestamp for conditions, and the one for events."""
        seconds = now_seconds()
        return seconds, timestamp(seconds), micro_timestamp(seconds)


class NotYetError(Exception):
    """Nothing has been decided yet: the object comes again with the first decision."""
