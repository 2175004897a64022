"""What alerts stand on: conditions, GPUs, objectives and forbidden pools, as the registry shows them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry

from comptroller.allocation.snapshot import Sample
from comptroller.observe.measurements import Measurements
from comptroller.runtime.object_metrics import ObjectMetrics
from comptroller.runtime.state import Picture
from tests.unit.kube import build
from tests.unit.runtime.test_loop import World


async def picture_of(world: World) -> Picture:
    return await world.round(1.0)


def value(registry: CollectorRegistry, metric: str, /, **labels: str) -> float | None:
    return registry.get_sample_value(metric, labels)


def with_condition(item: dict[str, Any], status: str, reason: str, version: str) -> dict[str, Any]:
    metadata = {**item["metadata"], "resourceVersion": version}
    said = [{"type": "Ready", "status": status, "reason": reason}, {"type": "Paused", "status": "False", "reason": "x"}]
    return {**item, "metadata": metadata, "status": {"conditions": said}}


async def test_only_the_present_state_of_a_condition_is_told() -> None:
    world, metrics = World(), ObjectMetrics(CollectorRegistry())
    picture = await picture_of(world)
    labels = {"kind": "ModelPool", "namespace": "ai", "name": "big", "type": "Ready"}
    world.api.put(with_condition(build.pool(), "False", "ScalingUp", "900"))
    metrics.show(world.api.store, picture)
    assert value(metrics.registry, "comptroller_condition", **labels, status="False", reason="ScalingUp") == 1
    world.api.put(with_condition(build.pool(), "True", "DemandServed", "901"))
    metrics.show(world.api.store, picture)
    assert value(metrics.registry, "comptroller_condition", **labels, status="True", reason="DemandServed") == 1
    assert value(metrics.registry, "comptroller_condition", **labels, status="False", reason="ScalingUp") is None
    told = {
        sample.labels["type"] for one in metrics.registry.collect() for sample in one.samples if "type" in sample.labels
    }
    assert told == {"Ready"}


async def test_gpus_are_told_of_classes_that_are_there() -> None:
    world, metrics = World(), ObjectMetrics(CollectorRegistry())
    for number in range(3):
        world.api.put(build.engine_pod(f"big-{number}"))
    metrics.show(world.api.store, await picture_of(world))
    states = {
        state: value(metrics.registry, "comptroller_gpus", gpu_class="h100", site="", state=state)
        for state in ("available", "held")
    }
    assert states == {"available": 8, "held": 3}
    assert value(metrics.registry, "comptroller_gpus", gpu_class="b200", site="", state="available") is None


async def test_what_a_route_may_not_reach_is_told_and_nothing_else() -> None:
    world, metrics = World(), ObjectMetrics(CollectorRegistry())
    metrics.show(world.api.store, await picture_of(world))
    labels = {"policy": "ai/research", "route": "chat"}
    assert value(metrics.registry, "comptroller_route_forbidden_pool", **labels, pool="ai/api") is None
    picture = await picture_of(world)
    (route,) = picture.snapshot.routes
    closed = replace(picture.snapshot, routes=(replace(route, perimeters=("onPremises",)),))
    metrics.show(world.api.store, replace(picture, snapshot=closed))
    assert value(metrics.registry, "comptroller_route_forbidden_pool", **labels, pool="ai/api") == 1
    assert value(metrics.registry, "comptroller_route_forbidden_pool", **labels, pool="ai/big") is None


async def test_the_share_within_the_objective_is_absent_until_something_is_streamed() -> None:
    world, metrics = World(), ObjectMetrics(CollectorRegistry())
    picture = await picture_of(world)
    labels = {"policy": "ai/research", "route": "chat"}
    metrics.show(world.api.store, picture)
    assert value(metrics.registry, "comptroller_route_first_token_ratio", **labels) is None
    (route,) = picture.snapshot.routes
    assert value(metrics.registry, "comptroller_route_first_token_objective_ratio", **labels) == route.percentile
    limit = route.time_to_first_token_ms / 1000
    buckets = {
        ("ai/research", "chat", f"{limit:g}"): Sample(3.0),
        ("ai/research", "chat", "640"): Sample(4.0),
        ("ai/research", "chat", "+Inf"): Sample(4.0),
    }
    metrics.show(world.api.store, replace(picture, measured=Measurements(first_token_buckets=buckets)))
    assert value(metrics.registry, "comptroller_route_first_token_ratio", **labels) == 0.75
