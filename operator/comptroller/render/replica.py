"""One running pod of a local pool, as a warm-up must address it."""

from __future__ import annotations

from dataclasses import dataclass

from comptroller.api.modelpool import EngineName


@dataclass(frozen=True, slots=True)
class Replica:
    """One running pod of a local pool, as a warm-up must address it."""

    pool: str  # name of the ModelPool
    pod: str
    pod_uid: str
    ip: str
    port: int
    engine: EngineName
    model: str  # name that the engine serves
    snapshots: str = ""  # `render.engine.snapshot_key`
    shared_volume: bool = False  # whether saved caches are seen by other pods
    serving: bool = False  # whether users' prompts may be in its cache
