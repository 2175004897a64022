"""Tells the user: the status when it is news, and an event when the reason of Ready changed."""

from __future__ import annotations

from typing import Any

from comptroller.kube.resources import KubeDict
from comptroller.observe.replicas import condition_of
from comptroller.runtime.reconcile.context import Context


async def tell(context: Context, live: KubeDict, status: dict[str, Any]) -> None:
    """Writes the status unless it says nothing new; posts an event when Ready has another reason than before."""
    seconds, text, micro = context.now()
    before = condition_of(live, "Ready").get("reason")
    if not await context.status.write(live, status, seconds, text):
        return
    ready = condition_of({"status": status}, "Ready")
    if before != ready["reason"]:
        await context.events.post(
            live,
            ready["reason"],
            "Decide",
            ready["message"],
            micro,
            "Normal" if ready["status"] == "True" else "Warning",
        )
