"""Kubernetes events, posted when something changed; what goes on is said again after a while, not each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from comptroller.kube.client import KubeClient, KubeError

LONGEST_NOTE = 1000
REPEAT_SECONDS = 600.0  # what happens again this much later is news: the cluster forgets events after an hour
REMEMBERED = 10_000  # notes; then all are forgotten, which at worst repeats one event per object


@dataclass(slots=True)
class EventRecorder:
    """Posts events to objects; remembers the last note per object and reason, and when it was posted."""

    client: KubeClient
    instance: str = "comptroller"
    _last: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)

    async def post(
        self,
        regarding: Mapping[str, Any],
        reason: str,
        action: str,
        note: str,
        now_text: str,
        kind: Literal["Normal", "Warning"] = "Normal",
    ) -> None:
        """Posts an event unless the last one of this reason said the same just now. A refused event is no failure."""
        metadata = regarding["metadata"]
        identity = (metadata["uid"], reason)
        now = datetime.fromisoformat(now_text).timestamp()
        last, posted_at = self._last.get(identity, (None, now))
        if last == note and now - posted_at < REPEAT_SECONDS:
            return
        if len(self._last) >= REMEMBERED:
            self._last.clear()
        self._last[identity] = note, now
        reference = {
            "apiVersion": regarding["apiVersion"], "kind": regarding["kind"], "name": metadata["name"],
            "namespace": metadata["namespace"], "uid": metadata["uid"],
        }  # fmt: skip
        try:
            await self.client.create(
                {
                    "apiVersion": "events.k8s.io/v1",
                    "kind": "Event",
                    "metadata": {"generateName": f"{metadata['name']}-", "namespace": metadata["namespace"]},
                    "eventTime": now_text,
                    "reportingController": "comptroller.dev/operator",
                    "reportingInstance": self.instance,
                    "regarding": reference,
                    "reason": reason,
                    "action": action,
                    "note": note[:LONGEST_NOTE],
                    "type": kind,
                }
            )
        except KubeError:
            self._last.pop(identity, None)
