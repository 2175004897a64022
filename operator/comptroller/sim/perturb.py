"""What goes wrong, and when: the truth between two changes, demand that steps, measurements that stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from comptroller.sim.scenario import Perturbation
from comptroller.sim.world import Floats, GpuGroup, TrueHostedPool, TrueLocalPool, World

SECONDS_PER_HOUR = 3600.0
OF_THE_WORLD = ("profileError", "priceChange", "nodeLost", "hostedOutage", "storm429")


def span_seconds(one: Perturbation) -> tuple[float, float]:
    """From when to when, in seconds after the start of the day."""
    start = one.at_hour * SECONDS_PER_HOUR
    return start, float("inf") if one.for_seconds is None else start + one.for_seconds


def is_on(one: Perturbation, seconds: float) -> bool:
    """Whether it is the case so many seconds after the start of the day. What lasts from hour 0 to the end also holds
    for the warm-up before."""
    start, end = span_seconds(one)
    return (start <= seconds or (start == 0.0 and end == float("inf"))) and seconds < end


def breaks(perturbations: Sequence[Perturbation]) -> tuple[float, ...]:
    """The moments at which the world changes, in seconds after the start of the day."""
    found = {moment for one in perturbations if one.kind in OF_THE_WORLD for moment in span_seconds(one)}
    return tuple(sorted(moment for moment in found if np.isfinite(moment)))


def world_at(world: World, perturbations: Sequence[Perturbation], seconds: float) -> World:
    """The truth so many seconds after the start of the day."""
    for one in perturbations:
        if one.kind in OF_THE_WORLD and is_on(one, seconds):
            world = replace(
                world,
                gpus=tuple(_gpus(group, one) for group in world.gpus),
                local=tuple(_local(pool, one) for pool in world.local),
                hosted=tuple(_hosted(pool, one) for pool in world.hosted),
            )
    return world


def _gpus(group: GpuGroup, one: Perturbation) -> GpuGroup:
    if one.kind == "nodeLost" and one.class_ == group.gpu_class:
        return replace(group, count=max(0, group.count - group.per_node))
    return group


def _about(key: str, one: Perturbation) -> bool:
    return one.pool is None or key.split("/", 1)[1] == one.pool


def _local(pool: TrueLocalPool, one: Perturbation) -> TrueLocalPool:
    if one.kind != "profileError" or not _about(pool.key, one):
        return pool
    speed = pool.profile
    slower = replace(
        speed,
        alpha_ms=speed.alpha_ms * one.factor,
        beta_ms=speed.beta_ms * one.factor,
        gamma_ms=speed.gamma_ms * one.factor,
        root_ms=speed.root_ms * one.factor,
    )
    return replace(pool, profile=slower)


def _hosted(pool: TrueHostedPool, one: Perturbation) -> TrueHostedPool:
    if not _about(pool.key, one):
        return pool
    if one.kind == "hostedOutage":
        return replace(pool, refused_ratio=1.0)
    if one.kind == "storm429":
        return replace(pool, refused_ratio=max(pool.refused_ratio, one.ratio))
    if one.kind == "priceChange":
        return replace(
            pool,
            input_usd_per_million_tokens=pool.input_usd_per_million_tokens * one.factor,
            cached_input_usd_per_million_tokens=pool.cached_input_usd_per_million_tokens * one.factor,
            output_usd_per_million_tokens=pool.output_usd_per_million_tokens * one.factor,
        )
    return pool


def times_as_much(perturbations: Sequence[Perturbation], seconds: Floats) -> Floats | None:
    """By which factor the demand is higher at each moment after the start of the day; None: never."""
    steps = [one for one in perturbations if one.kind == "demandStep"]
    if not steps:
        return None
    found = np.ones(len(seconds))
    for one in steps:
        start, end = span_seconds(one)
        risen = np.clip((seconds - start) / max(one.ramp_seconds, 1e-9), 0.0, 1.0)
        found *= np.where((seconds >= start) & (seconds < end), 1.0 + (one.factor - 1.0) * risen, 1.0)
    return found


def stale_since(perturbations: Sequence[Perturbation], seconds: float) -> float | None:
    """Since when nothing is measured, in seconds after the start of the day; None while measurements come."""
    starts = [span_seconds(one)[0] for one in perturbations if one.kind == "metricsStale" and is_on(one, seconds)]
    return min(starts) if starts else None
