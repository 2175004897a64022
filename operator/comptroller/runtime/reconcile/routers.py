"""The router Deployments of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comptroller.kube.resources import DEPLOYMENT, KubeDict
from comptroller.runtime.reconcile.context import Context


def routers_of(context: Context, live: Mapping[str, Any]) -> list[KubeDict]:
    """Those that are deployed; none for an object that is gone."""
    if not live:
        return []
    return [child for child in context.store.children(live["metadata"]["uid"]) if child["kind"] == DEPLOYMENT.kind]
