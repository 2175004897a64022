"""The bound by hand on tiny worlds, and what must hold of any bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from comptroller.allocation.snapshot import Profile
from comptroller.sim.bound import hindsight_bound, integral_bound, startup_bound
from comptroller.sim.fluid import fluid_limit
from comptroller.sim.world import Epoch, GpuGroup, TrueHostedPool, TrueLocalPool, TrueRoute, Windows, World

H100 = Profile(alpha_ms=5.5, beta_ms=0.04, gamma_ms=0.00016, max_concurrency=64)
API_USD = 0.00675  # a request of 1000 tokens in at $3, 250 out at $15 per million


def route(name: str = "chat", **changes: Any) -> TrueRoute:
    one = TrueRoute(
        key=f"ai/policy/{name}", name=name, policy="ai/policy", tier="one", permitted=("ai/own", "ai/api"),
        pass_rates={}, input_tokens=1000.0, output_tokens=250.0, time_to_first_token_ms=800.0,
        time_per_output_token_ms=30.0, percentile=0.95,
        blocked_usd=10 * API_USD, missed_usd=API_USD,
    )  # fmt: skip
    return replace(one, **changes)


def local(name: str = "own", **changes: Any) -> TrueLocalPool:
    pool = TrueLocalPool(
        key=f"ai/{name}", model=name, gpu_class="h100", site="", gpus_per_replica=1, jurisdiction="EU",
        perimeter="onPremises", minimum=0, maximum=64, profile=H100, startup_seconds=180.0,
        idle_usd_per_replica_hour=1.0, busy_extra_usd_per_replica_hour=2.0,
    )  # fmt: skip
    return replace(pool, **changes)


API = TrueHostedPool("ai/api", "api", "US", "external", 3.0, 0.3, 15.0)


def epoch(routes: list[TrueRoute], rates: list[list[float]], pools: list[TrueLocalPool], gpus: int = 1) -> Epoch:
    world = World((GpuGroup("h100", "", gpus, 8),), tuple(pools), (API,), tuple(routes))
    demand = np.array(rates, dtype=np.float64)
    return Epoch(0.0, world, Windows(np.full(demand.shape[1], 3600.0), demand))


def fluid(one: TrueRoute, pool: TrueLocalPool) -> float:
    limit = fluid_limit(
        pool.profile, one.input_tokens, one.output_tokens, one.time_to_first_token_ms, one.time_per_output_token_ms
    )
    return limit.requests_per_second


def test_below_capacity_it_is_the_power_of_the_replicas_that_the_demand_needs() -> None:
    chat, own = route(), local()
    found = hindsight_bound([epoch([chat], [[4.0]], [own])])
    assert found.usd == pytest.approx(4.0 / fluid(chat, own) * (1.0 + 2.0), rel=0.01)
    assert found.parts_usd["otherwise"] == pytest.approx(0.0, abs=1e-9)


def test_above_capacity_the_rest_is_bought_outside() -> None:
    chat, own = route(), local()
    found = hindsight_bound([epoch([chat], [[20.0]], [own])])
    outside = (20.0 - fluid(chat, own)) * 3600 * API_USD
    assert found.usd == pytest.approx(3.0 + outside, rel=0.01)
    assert found.usd <= 3.0 + outside


def test_it_sends_out_what_is_cheap_outside() -> None:
    dear, cheap = route("dear"), route("cheap", input_tokens=1000.0, output_tokens=25.0)
    both = hindsight_bound([epoch([dear, cheap], [[8.0], [8.0]], [local()])])
    price = (1000 * 3.0 + 25 * 15.0) / 1e6
    per_replica = {one.name: fluid(one, local()) for one in (dear, cheap)}
    best = min(
        max(0.0, 8.0 - share * per_replica["dear"]) * 3600 * API_USD
        + max(0.0, 8.0 - (1 - share) * per_replica["cheap"]) * 3600 * price
        for share in np.linspace(0, 1, 1001)
    )
    assert both.usd == pytest.approx(best + 3.0, rel=0.02)


def test_where_nobody_outside_is_permitted_a_late_answer_is_the_least_that_can_happen() -> None:
    kept = route(permitted=("ai/own",), missed_usd=0.5, blocked_usd=5.0)
    found = hindsight_bound([epoch([kept], [[20.0]], [local()])])
    assert found.parts_usd["otherwise"] == pytest.approx((20.0 - fluid(kept, local())) * 3600 * 0.5, rel=0.01)


def test_a_curve_with_a_root_is_no_faster_than_its_fluid_limit() -> None:
    chat, own = route(), local(profile=replace(H100, root_ms=1.0))
    found = hindsight_bound([epoch([chat], [[4.0]], [own])])
    least = 4.0 / fluid(chat, own) * 3.0
    assert 0.9 * least <= found.usd <= 1.001 * least


def test_an_objective_that_no_replica_reaches_makes_every_answer_inside_a_late_one() -> None:
    found = hindsight_bound([epoch([route(time_per_output_token_ms=1.0)], [[1.0]], [local()])])
    assert found.usd == pytest.approx(3600 * API_USD)


def test_pools_share_the_gpus_of_their_class() -> None:
    first, second = route("a", permitted=("ai/own", "ai/api")), route("b", permitted=("ai/other", "ai/api"))
    rates = [[100.0], [100.0]]
    alone = hindsight_bound([epoch([first], [[100.0]], [local()], gpus=2)])
    shared = hindsight_bound([epoch([first, second], rates, [local(), local("other")], gpus=2)])
    assert shared.usd == pytest.approx(alone.usd + 100.0 * 3600 * API_USD, rel=1e-3)


def test_a_mix_that_places_and_speed_limit_together_is_not_taken_for_more_than_it_can() -> None:
    """Short answers fill the places, long prompts the iteration; half of each does better than either rule says."""
    short, long = route("short", input_tokens=20.0, output_tokens=200.0), route("long", input_tokens=4000.0)
    pool = local(profile=replace(H100, max_concurrency=32))
    mixed = hindsight_bound([epoch([short, long], [[3.0], [1.0]], [pool])])
    needed = 3.0 / fluid(short, pool) + 1.0 / fluid(long, pool)
    assert needed > 0.3
    assert mixed.parts_usd["idle power"] <= needed * 1.0
    assert mixed.parts_usd["idle power"] >= needed * 0.6


@pytest.mark.parametrize("seed", range(5))
def test_it_never_falls_with_more_demand_and_never_rises_with_more_gpus(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rates = generator.uniform(0.0, 30.0, (2, 6))
    routes = [route("a"), route("b", input_tokens=300.0)]
    base = hindsight_bound([epoch(routes, rates.tolist(), [local()], gpus=3)]).usd
    assert hindsight_bound([epoch(routes, (rates * 1.1).tolist(), [local()], gpus=3)]).usd >= base - 1e-6
    assert hindsight_bound([epoch(routes, rates.tolist(), [local()], gpus=4)]).usd <= base + 1e-6


def test_whole_replicas_cost_more_than_fractions_of_them() -> None:
    asked = [epoch([route()], [[4.0, 9.0, 13.0]], [local()], gpus=2)]
    assert integral_bound(asked).usd > hindsight_bound(asked).usd


def test_work_that_is_in_flight_at_the_end_of_a_window_may_be_finished_in_the_next() -> None:
    chat, own = route(), local()
    peak = 2 * fluid(chat, own)
    linked = hindsight_bound([epoch([chat], [[peak, 0.0]], [own])]).usd
    alone = sum(hindsight_bound([epoch([chat], [[rate]], [own])]).usd for rate in (peak, 0.0))
    assert linked <= alone + 1e-6


def test_epochs_add_up() -> None:
    one = epoch([route()], [[4.0]], [local()])
    assert hindsight_bound([one, one]).usd == pytest.approx(2 * hindsight_bound([one]).usd)


def minutes(rates: list[list[float]], pools: list[TrueLocalPool], gpus: int) -> Epoch:
    """Two routes, each with a pool and the API, in windows of a minute."""
    routes = [route("a"), route("b", permitted=("ai/other", "ai/api"))]
    world = World((GpuGroup("h100", "", gpus, 8),), tuple(pools), (API,), tuple(routes))
    demand = np.array(rates, dtype=np.float64)
    return Epoch(0.0, world, Windows(np.full(demand.shape[1], 60.0), demand))


def test_a_gpu_that_changes_hands_answers_nobody_while_its_replica_starts() -> None:
    """One GPU, ten minutes of one model and ten of the other: the change costs three minutes of one of them."""
    low = fluid(route(), local())
    asked = minutes([[low] * 10 + [0.0] * 10, [0.0] * 10 + [low] * 10], [local(), local("other")], 1)
    free, known = hindsight_bound([asked]).usd, startup_bound([asked]).usd
    assert known - free == pytest.approx(180.0 * low * API_USD, rel=0.1)


def test_what_never_moves_never_starts() -> None:
    low = fluid(route(), local())
    asked = minutes([[low] * 20, [low] * 20], [local(), local("other")], 2)
    assert startup_bound([asked]).usd == pytest.approx(hindsight_bound([asked]).usd, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_start_up_never_makes_it_cheaper(seed: int) -> None:
    rates = np.random.default_rng(seed).uniform(0.0, 30.0, (2, 12)).tolist()
    asked = minutes(rates, [local(), local("other")], 3)
    assert startup_bound([asked]).usd >= hindsight_bound([asked]).usd - 1e-6
    alone = startup_bound([minutes(rates, [local(startup_seconds=0.0), local("other", startup_seconds=0.0)], 3)])
    assert alone.usd <= startup_bound([asked]).usd + 1e-6
