"""Replicas: what starts takes its time and its GPUs, what leaves frees them, what is lost is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from comptroller.sim.fleet import Fleet
from comptroller.sim.world import GpuGroup, World
from tests.unit.sim.arena_build import one_pool_world


def world(gpus: int = 8, minimum: int = 0, per_replica: int = 1) -> World:
    one = one_pool_world()
    pool = replace(one.local[0], minimum=minimum, gpus_per_replica=per_replica)
    return replace(one, gpus=(GpuGroup("h100", "", gpus, 4),), local=(pool,))


def test_a_run_begins_with_every_pool_at_its_minimum() -> None:
    assert Fleet.with_minimum(world(minimum=2)).serving.tolist() == [2]


def test_a_replica_serves_after_its_start_up_time() -> None:
    fleet = Fleet.with_minimum(world())
    fleet.order([2], 0.0)
    fleet.advance(0.0)
    fleet.advance(115.0)
    assert (fleet.serving.tolist(), fleet.existing().tolist()) == ([0], [2])
    fleet.advance(120.0)
    assert fleet.serving.tolist() == [2]


def test_a_replica_without_free_gpus_waits_and_draws_no_power() -> None:
    fleet = Fleet.with_minimum(world(gpus=4, minimum=1, per_replica=2))
    fleet.order([3], 0.0)
    fleet.advance(0.0)
    assert fleet.existing().tolist() == [2]
    fleet.advance(500.0)
    assert fleet.serving.tolist() == [2]


def test_fewer_replicas_first_cancel_what_waits_then_what_starts_then_what_serves() -> None:
    fleet = Fleet.with_minimum(world(gpus=3, minimum=2))
    fleet.order([5], 0.0)
    fleet.advance(0.0)
    assert fleet.order([3], 10.0).tolist() == [0]
    assert [one.ready_seconds for one in fleet.coming] == [120.0]
    assert fleet.order([1], 20.0).tolist() == [1]
    assert (fleet.serving.tolist(), fleet.coming) == ([1], [])


def test_a_leaving_replica_holds_its_gpus_for_half_a_minute() -> None:
    fleet = Fleet.with_minimum(world(gpus=2, minimum=2))
    fleet.order([0], 0.0)
    fleet.order([1], 5.0)
    fleet.advance(5.0)
    assert fleet.existing().tolist() == [2]
    fleet.advance(30.0)
    assert fleet.coming[0].ready_seconds == 150.0


def test_a_lost_node_takes_replicas_that_are_ordered_anew_and_wait_for_gpus() -> None:
    full = world(gpus=8, minimum=8)
    fleet = Fleet.with_minimum(full)
    broken = fleet.change(replace(full, gpus=(GpuGroup("h100", "", 4, 4),)), np.random.default_rng(0))
    fleet.advance(0.0)
    assert broken.tolist() == [4]
    assert (fleet.serving.tolist(), len(fleet.coming)) == ([4], 4)
    assert all(one.ready_seconds is None for one in fleet.coming)
    fleet.change(full, np.random.default_rng(0))
    fleet.advance(10.0)
    fleet.advance(130.0)
    assert fleet.serving.tolist() == [8]


def test_a_lost_node_with_free_gpus_takes_only_its_part() -> None:
    half = world(gpus=8, minimum=4)
    fleet = Fleet.with_minimum(half)
    broken = fleet.change(replace(half, gpus=(GpuGroup("h100", "", 4, 4),)), np.random.default_rng(0))
    assert broken.tolist() == [2]
