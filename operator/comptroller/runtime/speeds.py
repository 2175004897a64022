"""Learns the speed of every local pool, round by round, and tells the decision which profile to reckon with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from comptroller.allocation.declared import profile_of
from comptroller.allocation.snapshot import Profile
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.settings import Settings
from comptroller.kube.resources import MODEL_POOL
from comptroller.kube.store import ClusterStore
from comptroller.learning.speed import Speed, SpeedSample, begin, learn
from comptroller.observe.measurements import Measurements
from comptroller.observe.speeds import speed_sample
from comptroller.runtime.state import Specs


def speeds_after(
    before: Mapping[str, Speed],
    store: ClusterStore,
    specs: Specs,
    settings: Settings,
    measured: Measurements,
    now_seconds: float,
) -> dict[str, Speed]:
    """What is known of each local pool's speed after this round. A pool that went is forgotten; of one that is stalled
    nothing is learned, since what it runs is not what its spec says."""
    window = float(settings.prometheus.rate_window_seconds)
    known: dict[str, Speed] = {}
    for key, spec in specs.pools.items():
        if spec.local is None:
            continue
        if specs.stalled(MODEL_POOL.kind, key):
            known |= {key: before[key]} if key in before else {}
            continue
        speed = _known(before.get(key), store, key, spec, settings)
        sample = speed_sample(measured, key, now_seconds)
        known[key] = learn(speed, sample, window) if isinstance(sample, SpeedSample) else speed
    return known


def _known(speed: Speed | None, store: ClusterStore, key: str, spec: ModelPoolSpec, settings: Settings) -> Speed:
    """What was known: by this process, else by its predecessor (the status remembers), else what is declared.

    Another model, engine, GPU class or declared profile begins anew: what was learned is true of what ran.
    """
    local = spec.local
    assert local is not None  # noqa: S101 - the caller chose the pool by it
    prior = profile_of(spec, settings.gpu_classes[local.accelerator.class_])
    engine = repr((spec.model, local.engine, local.accelerator, prior))
    if speed is not None:
        return speed if speed.engine == engine else begin(engine, prior)
    namespace, name = key.split("/", 1)
    return begin(engine, prior, remembered_profile(store.get(MODEL_POOL, (namespace, name)) or {}, prior))


def remembered_profile(live: Mapping[str, Any], prior: Profile) -> Profile | None:
    """The learned profile that the status tells of the spec as it is; None where it tells none that can be read."""
    status = live.get("status") or {}
    told = status.get("performance") or {}
    current = (live.get("metadata") or {}).get("generation")
    if told.get("source") != "learned" or status.get("observedGeneration") != current:
        return None
    try:
        return replace(
            prior,
            alpha_ms=float(told["alphaMs"]),
            beta_ms=float(told["betaMs"]),
            gamma_ms=float(told["gammaMs"]),
            root_ms=float(told.get("rootMs") or 0.0),
            source="learned",
            samples=int(told.get("samples") or 0),
            confidence=float(told.get("confidence") or 0.0),
        )
    except (KeyError, TypeError, ValueError):
        return None
