"""What replicas are chosen for: the minutes of a start, what demand may become, a node that fails."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist, correlation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.cases import FEWEST_SCENARIOS, MOST_COLUMNS, Case, sizing_cases
from comptroller.allocation.decide import decide
from comptroller.allocation.limits import Bounds
from comptroller.allocation.measured import cleaned
from comptroller.allocation.problem import peak_rates, prepare, sizing_rates
from comptroller.allocation.snapshot import LocalPool, Outlook, Route, Rules, Snapshot, Unknown
from tests.unit.allocation.build import demand, hosted, local, outlook, planned_state, route, snapshot

OWN, CHAT = "ai/own", "ai/policy/chat"
AT_ONCE = Rules(scale_down_delay_seconds=0.0, transfer_delay_seconds=0.0)


def cases_of(world: Snapshot) -> tuple[Case, ...]:
    clean, _ = cleaned(world)
    problem = prepare(clean)
    bounds = {key: Bounds(pool.minimum, pool.maximum, pool.existing) for key, pool in problem.local.items()}
    return sizing_cases(clean, problem, sizing_rates(problem, peak_rates(problem)), bounds)


def counts(world: Snapshot) -> dict[str, int]:
    return {key: target.replicas for key, target in decide(world).pools.items()}


class TestWeights:
    def test_those_of_the_docstring(self) -> None:
        world = snapshot(local(), hosted(), route(rps=5, peak=8.0), gpus=8, gpus_per_node={("h100", ""): 2.0})
        starting, calm, loss = cases_of(world)
        assert starting.weight == pytest.approx(0.2)
        assert starting.starting
        assert loss.weight == pytest.approx(0.8 * 4 * 2 * 900 / (365 * 86400))
        assert loss.left == {("h100", ""): 0.75}
        assert calm.weight == pytest.approx(1.0 - starting.weight - loss.weight)
        assert starting.rates == {CHAT: 5.0}
        assert calm.rates == loss.rates == {CHAT: pytest.approx(8.0, abs=0.01)}

    @given(
        startup=st.floats(0, 1e5),
        horizon=st.floats(1, 1e5),
        parts=st.lists(st.integers(1, 9), max_size=8),
        classes=st.integers(1, 14),
        losses=st.floats(0, 1e7),
        per_node=st.floats(0.01, 100),
    )
    def test_they_sum_to_one_and_none_is_negative(
        self, startup: float, horizon: float, parts: list[int], classes: int, losses: float, per_node: float
    ) -> None:
        pools = [local(f"p{i}", gpu_class=f"class{i}", startup_seconds=startup) for i in range(classes)]
        scenarios = [{"chat": float(i)} for i in range(len(parts))]
        world = snapshot(
            *pools, hosted(), route("chat", "p0", "api", rps=5),
            rules=Rules(horizon_seconds=horizon, node_losses_per_year=losses),
            gpus_per_node={(pool.gpu_class, ""): per_node for pool in pools},
            outlook=outlook(*scenarios, probabilities=tuple(part / sum(parts) for part in parts)),
        )  # fmt: skip
        weights = [case.weight for case in cases_of(world)]
        assert sum(weights) == pytest.approx(1.0)
        assert min(weights) >= 0.0

    def test_nothing_starts_where_every_pool_is_pinned(self) -> None:
        clean, _ = cleaned(snapshot(local(), hosted(), route(rps=5)))
        problem = prepare(clean)
        (only,) = sizing_cases(clean, problem, {CHAT: 5.0}, {OWN: Bounds(2, 2, 2)})
        assert (only.weight, only.starting) == (1.0, False)


class TestWhileReplicasStart:
    """One GPU, which answers 7.91 requests/s of `a`. Given to `b`, it answers nobody for 180 of 900 s: a fifth of the
    time is lost, so `b` has to be worth more than a fifth of what the GPU can do: 1.58 requests/s more than `a`."""

    def contended(self, more: float, horizon_seconds: float = 900.0) -> Snapshot:
        return snapshot(
            local("a", serving=1, previous=1), local("b"), hosted(), route("old", "a", "api", rps=7.9 - more),
            route("new", "b", "api", rps=7.9), gpus=1, rules=replace(AT_ONCE, horizon_seconds=horizon_seconds),
        )  # fmt: skip

    def test_a_small_gain_does_not_move_a_replica(self) -> None:
        assert counts(self.contended(1.5)) == {"ai/a": 1, "ai/b": 0}

    def test_a_large_gain_does(self) -> None:
        assert counts(self.contended(1.7)) == {"ai/a": 0, "ai/b": 1}

    def test_a_gain_that_lasts_for_minutes_only_does_not_move_a_replica(self) -> None:
        assert counts(self.contended(4.0, horizon_seconds=300.0)) == {"ai/a": 1, "ai/b": 0}

    def test_the_same_gain_for_an_hour_does(self) -> None:
        assert counts(self.contended(4.0, horizon_seconds=3600.0)) == {"ai/a": 0, "ai/b": 1}

    def test_free_gpus_are_taken_for_any_gain(self) -> None:
        assert counts(replace(self.contended(0.1), gpus=snapshot(local(), gpus=2).gpus)) == {"ai/a": 1, "ai/b": 1}

    def test_a_rented_replica_has_to_earn_its_rent_in_the_time_in_which_it_serves(self) -> None:
        """$150/h for 900 s, of which it serves 720 s: it has to save $187.50/h, which is 7.72 requests/s outside."""
        rented = local(idle_usd_per_replica_hour=150.0, busy_extra_usd_per_replica_hour=0.0)
        rules = replace(AT_ONCE, improvement_threshold=0.0)
        assert counts(snapshot(rented, hosted(), route(rps=7.6), rules=rules)) == {OWN: 0}
        assert counts(snapshot(rented, hosted(), route(rps=7.8), rules=rules)) == {OWN: 1}


class TestWhatDemandMayBecome:
    """5 requests/s now, for which one replica suffices. With one chance in twenty they become 10: 2.09 requests/s more
    than one replica answers, $50.82/h outside, expected 0.8 x 0.05 x 50.82 = $2.03/h."""

    def world(self, idle_usd: float, chance: float = 0.05) -> Snapshot:
        return snapshot(
            local(serving=2, previous=2, idle_usd_per_replica_hour=idle_usd), hosted(), route(rps=5), rules=AT_ONCE,
            outlook=outlook({"chat": 5}, {"chat": 10}, probabilities=(1 - chance, chance)),
        )  # fmt: skip

    def test_an_owned_replica_that_idles_for_cents_is_kept(self) -> None:
        assert counts(self.world(0.03)) == {OWN: 2}

    def test_a_rented_one_at_four_dollars_is_not(self) -> None:
        assert counts(self.world(4.0)) == {OWN: 1}

    def test_nor_an_owned_one_where_nothing_more_can_come(self) -> None:
        assert counts(self.world(0.03, chance=0.0)) == {OWN: 1}
        assert counts(replace(self.world(0.03), outlook=Outlook())) == {OWN: 1}

    def test_the_rented_one_is_kept_where_more_is_likely(self) -> None:
        assert counts(self.world(4.0, chance=0.2)) == {OWN: 2}

    def test_scenarios_are_joint_two_peaks_that_never_meet_need_one_spare_replica(self) -> None:
        def asked(*scenarios: dict[str, float]) -> Snapshot:
            pools = (local(serving=2, previous=2, idle_usd_per_replica_hour=4.0), hosted())
            return snapshot(*pools, route("a", rps=5), route("b", rps=5), rules=AT_ONCE, outlook=outlook(*scenarios))

        apart = asked({"a": 10, "b": 5}, {"a": 5, "b": 10}, {"a": 5, "b": 5})
        together = asked({"a": 10, "b": 10}, {"a": 5, "b": 5}, {"a": 5, "b": 5})
        assert counts(apart) == {OWN: 2}
        assert counts(together) == {OWN: 3}

    def test_a_route_without_an_outlook_counts_with_its_mean_and_its_peak(self) -> None:
        world = snapshot(
            local(), hosted(), route("chat", rps=5), route("other", rps=3, peak=6.0), gpus=8,
            outlook=outlook({"chat": 4}, {"chat": 9}),
        )  # fmt: skip
        told = [case for case in cases_of(world) if not case.starting]
        assert len(told) >= 2
        assert sum(case.weight * case.rates[CHAT] for case in told) == pytest.approx(0.8 * 6.5, abs=0.8)
        assert all(case.rates["ai/policy/other"] == pytest.approx(6.0, abs=0.01) for case in told)

    def test_a_held_route_is_in_no_case(self) -> None:
        world = snapshot(
            local(),
            hosted(),
            route(rps=Unknown("stale")),
            route("other", rps=3),
            outlook=outlook({"chat": 4}, {"chat": 9}),
        )
        assert all(set(case.rates) == {"ai/policy/other"} for case in cases_of(world))

    def test_a_fleet_that_is_too_large_gets_no_scenarios(self) -> None:
        def fleet(size: int) -> Snapshot:
            pools: list[LocalPool] = [local(f"p{i}") for i in range(9)]
            routes: list[Route] = [route(f"r{i}", *(f"p{n}" for n in range(9)), "api", rps=1) for i in range(size)]
            scenarios = [{one.name: float(k) for one in routes} for k in range(8)]
            return snapshot(*pools, hosted(), *routes, outlook=outlook(*scenarios))

        fits = MOST_COLUMNS // (8 * 10)
        assert len(cases_of(fleet(fits))) == 1 + 8
        assert len(cases_of(fleet(fits + 1))) == 1 + 1

    def test_the_plan_of_a_planned_state_is_empty_with_the_outlook_held(self) -> None:
        world = self.world(0.03, chance=0.3)
        first = decide(world)
        assert counts(planned_state(world, first, ready=True)) == {OWN: first.pools[OWN].replicas}


class TestBursts:
    """In the seconds that a request stays, what comes is not the mean: lambda + z sqrt(lambda (D + 1) / (2 S))."""

    STEADY = outlook({"chat": 20.0, "other": 20.0}, {"chat": 20.0, "other": 20.0})
    QUANTILES = tuple(NormalDist().inv_cdf((n + 0.5) / FEWEST_SCENARIOS) for n in range(FEWEST_SCENARIOS))

    def rates(
        self, dispersion: float = 3.0, stay_seconds: float = 2.0, name: str = "chat", told: Outlook = STEADY
    ) -> list[float]:
        """The route's rate in each case of what may come, in their order."""
        bursty = route(name, demand=demand(20, dispersion=dispersion))
        clean, _ = cleaned(snapshot(local(), hosted(), bursty, outlook=told))
        problem = prepare(clean)
        key = bursty.key
        pairs = {key: tuple(replace(one, latency_seconds=stay_seconds) for one in problem.pairs[key])}
        bounds = {OWN: Bounds(0, 8, 0)}
        found = sizing_cases(clean, replace(problem, pairs=pairs), {key: 20.0}, bounds)
        return [case.rates[key] for case in found if not case.starting]

    def test_the_docstrings_number(self) -> None:
        """20 requests/s of dispersion 3 that stay 2 s: a standard deviation of 4.5, at as many quantiles as cases."""
        assert sorted(self.rates()) == pytest.approx([20.0 + z * math.sqrt(20.0) for z in self.QUANTILES])
        assert math.sqrt(20.0 * (3 + 1) / (2 * 2)) == pytest.approx(4.5, abs=0.05)

    @pytest.mark.parametrize(
        ("dispersion", "stay", "deviation"), [(1.0, 5.0, 2.0), (1.0, 20.0, 1.0), (9.0, 25.0, 2.0), (1.0, 0.0, 6.32)]
    )
    def test_poisson_arrivals_and_long_stays_burst_less(self, dispersion: float, stay: float, deviation: float) -> None:
        """Nobody stays less than half a second: sqrt(20 / 0.5) = 6.32."""
        most = max(self.rates(dispersion, stay))
        assert most == pytest.approx(20.0 + self.QUANTILES[-1] * deviation, abs=0.01)

    def test_each_future_is_told_in_several_bursts_of_equal_weight(self) -> None:
        told = outlook({"chat": 5.0}, {"chat": 50.0}, probabilities=(0.75, 0.25))
        world = snapshot(local(startup_seconds=0.0), hosted(), route(rps=5), outlook=told)
        weights = [case.weight for case in cases_of(world) if not case.starting]
        each = FEWEST_SCENARIOS // 2
        assert sorted(weights) == pytest.approx([0.25 / each] * each + [0.75 / each] * each)

    def test_more_futures_have_fewer_bursts_each(self) -> None:
        futures = outlook(*({"chat": float(number)} for number in range(8)))
        assert len(self.rates(told=futures)) == FEWEST_SCENARIOS
        many = outlook(*({"chat": float(number)} for number in range(FEWEST_SCENARIOS + 4)))
        assert len(self.rates(told=many)) == FEWEST_SCENARIOS + 4

    def test_they_are_the_same_each_time(self) -> None:
        assert self.rates() == self.rates()

    def test_routes_burst_independently(self) -> None:
        """The same quantiles, in an order of each route's own."""
        one, other = self.rates(), self.rates(name="other")
        assert sorted(one) == pytest.approx(sorted(other))
        assert abs(correlation(one, other)) < 0.8

    def test_over_many_routes_their_bursts_cancel(self) -> None:
        """Of 64 routes a case asks for the mean within 3 standard deviations of the mean of 64: 3 x 4.47 / 8."""
        found = [self.rates(name=f"r{n}", told=outlook(*({f"r{n}": 20.0} for _ in range(2)))) for n in range(64)]
        means = [sum(case) / 64 for case in zip(*found, strict=True)]
        assert all(abs(mean - 20.0) < 3 * math.sqrt(20.0) / 8 for mean in means)

    @given(rate=st.floats(0, 1e5), dispersion=st.floats(1, 1000), stay=st.floats(0, 1e4))
    def test_no_rate_is_negative_and_silence_stays_silence(self, rate: float, dispersion: float, stay: float) -> None:
        assert min(self.rates(dispersion, stay, told=outlook({"chat": rate}, {"chat": rate / 2}))) >= 0.0
        assert set(self.rates(dispersion, stay, told=outlook({"chat": 0.0}, {"chat": 0.0}))) == {0.0}

    def test_bursty_demand_keeps_more_replicas_of_a_mean_that_is_the_same(self) -> None:
        def kept(dispersion: float) -> int:
            asked = route(demand=demand(14, dispersion=dispersion))
            told = outlook({"chat": 14}, {"chat": 14})
            return counts(snapshot(local(), hosted(), asked, outlook=told))[OWN]

        assert kept(1.0) < kept(100.0) < kept(400.0)


class TestANodeThatFails:
    """Eight GPUs in four nodes: with one fails a quarter of the replicas. One replica of `secret` leaves 5.93
    requests/s of 7.5, and nobody else may answer. What that is worth is told by the dearest API of the fleet."""

    def world(self, *, losses: float = 2.0, per_node: float = 2.0, gpus: float = 8, idle_usd: float = 0.03) -> Snapshot:
        return snapshot(
            local(serving=1, previous=1, idle_usd_per_replica_hour=idle_usd), hosted(),
            route("secret", "own", "api", rps=7.5, perimeters=("onPremises",)), route("open", "api", rps=1),
            gpus=gpus, gpus_per_node={("h100", ""): per_node}, rules=replace(AT_ONCE, node_losses_per_year=losses),
        )  # fmt: skip

    def test_a_restricted_route_keeps_a_spare_where_gpus_idle(self) -> None:
        assert counts(self.world()) == {OWN: 2}

    def test_no_spare_where_no_node_ever_fails(self) -> None:
        assert counts(self.world(losses=0.0)) == {OWN: 1}

    def test_no_spare_where_nodes_are_not_known(self) -> None:
        assert counts(replace(self.world(), gpus_per_node={})) == {OWN: 1}

    def test_no_spare_without_a_gpu(self) -> None:
        assert counts(self.world(gpus=1, per_node=1.0)) == {OWN: 1}

    def test_a_route_that_may_go_out_spills_in_that_hour_and_needs_no_rented_spare(self) -> None:
        world = self.world(idle_usd=4.0)
        assert counts(replace(world, routes=(route("chat", rps=7.5),))) == {OWN: 1}

    def test_the_spare_is_kept_from_decision_to_decision(self) -> None:
        world = self.world()
        for _ in range(3):
            world = planned_state(world, decide(world), ready=True, after_seconds=400)
            assert counts(world) == {OWN: 2}
