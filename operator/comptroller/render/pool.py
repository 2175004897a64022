"""All children of one ModelPool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.settings import Settings


def pool_children(
    name: str,
    namespace: str,
    spec: ModelPoolSpec,
    owner: Mapping[str, Any],
    settings: Settings,
    *,
    replicas: int,
    gated: bool,
) -> list[dict[str, Any]]:
    """Every object that a pool owns, in the order in which they are applied; none for a hosted pool.

    `owner` is `render.owner.owner_reference(live_object)`. `replicas` is what the decision wants. `gated` adds the
    readiness gate `comptroller.dev/cache-warm`, which a CacheWarmup with an enabled gate asks for.
    Raises `RenderError` with the field path.
    """
    raise NotImplementedError
