"""What a request costs where: caches by life and share, answers that are judged and asked again, replicas kept full."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.decide import decide
from comptroller.allocation.measured import cleaned
from comptroller.allocation.problem import (
    Pair,
    Problem,
    kept_full,
    newsvendor_quantile,
    prepare,
    prompt_usd_per_million_tokens,
    route_capacity,
    sizing_rates,
)
from comptroller.allocation.snapshot import BackendRule, Demand, HostedPool, LocalPool, Memory, Route, Snapshot
from tests.unit.allocation.build import demand, hosted, local, route, snapshot

OWN, API, CHAT = "ai/own", "ai/api", "ai/policy/chat"


def pairs(world: Snapshot, name: str = CHAT) -> dict[str, Pair]:
    clean, _ = cleaned(world)
    return {pair.pool: pair for pair in prepare(clean).pairs[name]}


def prefixed(gap: float | None = 60.0, **changes: float) -> Demand:
    """Prompts of which 80 % are a prefix that comes back every 60 seconds."""
    return replace(demand(1.0), cached_ratio=0.8, prefix_gap_seconds=gap, **changes)  # type: ignore[arg-type]


def caching(ttl: float | None = 300.0, write: float | None = 3.75) -> HostedPool:
    """$3 to read a token, $0.30 from the cache, $3.75 into it."""
    return hosted(cache_ttl_seconds=ttl, cache_write_usd_per_million_tokens=write)


STAYING = [{"perimeters": ("onPremises",)}, {"on_overload": "queue"}, {"on_overload": "reject"}]
WHY = ["it may not go out", "it waits", "it is refused"]


def filled(problem: Problem) -> Problem:
    return kept_full(problem, {})


class TestTheCacheOfAHostedPool:
    def test_the_docstrings_number(self) -> None:
        """Found 1 - exp(-300 x 0.2 / 60) = 0.632: 0.506 of a token at $0.30, 0.294 at $3.75, 0.2 at $3."""
        expected = 0.506 * 0.30 + 0.294 * 3.75 + 0.2 * 3.0
        assert prompt_usd_per_million_tokens(prefixed(), caching(), 0.2) == pytest.approx(expected, abs=0.002)

    def test_all_of_it_there_and_all_of_it_gone(self) -> None:
        assert prompt_usd_per_million_tokens(prefixed(0.01), caching(), 1.0) == pytest.approx(0.8 * 0.30 + 0.2 * 3.0)
        assert prompt_usd_per_million_tokens(prefixed(1e9), caching(), 1.0) == pytest.approx(0.8 * 3.75 + 0.2 * 3.0)

    @pytest.mark.parametrize(
        ("gap", "ttl"), [(None, 300.0), (60.0, None), (None, None)], ids=["no gap", "no life", "neither"]
    )
    def test_without_a_gap_or_a_life_the_ratio_is_what_was_measured(self, gap: float | None, ttl: float | None) -> None:
        assert prompt_usd_per_million_tokens(prefixed(gap), caching(ttl), 0.2) == pytest.approx(0.8 * 0.3 + 0.2 * 3.0)

    def test_writing_costs_what_reading_does_unless_it_is_priced(self) -> None:
        never = prefixed(1e9)
        assert prompt_usd_per_million_tokens(never, caching(write=None), 1.0) == pytest.approx(3.0)
        assert prompt_usd_per_million_tokens(never, caching(write=0.0), 1.0) == pytest.approx(0.2 * 3.0)

    def test_a_pool_with_a_larger_share_of_the_route_finds_more_of_its_prefixes(self) -> None:
        prices = [prompt_usd_per_million_tokens(prefixed(), caching(), share) for share in (0.0, 0.05, 0.2, 0.5, 1.0)]
        assert prices[0] == prices[1]  # who got nothing may get something
        assert all(after < before for before, after in pairwise(prices[1:]))

    def test_a_request_at_such_a_pool_costs_what_its_tokens_do(self) -> None:
        """1000 tokens in and 250 out, all of them here: 0.8 of the prompt found with 0.993."""
        world = snapshot(caching(), route("chat", "api", demand=prefixed()))
        prompt = 0.8 * 0.9933 * 0.30 + 0.8 * 0.0067 * 3.75 + 0.2 * 3.0
        assert pairs(world)[API].usd == pytest.approx((1000 * prompt + 250 * 15) * 3600 / 1e6, rel=1e-4)

    def test_the_share_is_that_of_the_last_plan(self) -> None:
        world = snapshot(local(), caching(), route(demand=prefixed()))
        few = replace(world, memory=Memory(shares={CHAT: {OWN: 0.9, API: 0.1}}))
        assert pairs(few)[API].usd > pairs(world)[API].usd

    @given(
        ratio=st.floats(0, 1), gap=st.floats(1e-6, 1e9), ttl=st.floats(0, 1e9), share=st.floats(0, 1),
        write=st.one_of(st.none(), st.floats(0, 1000)),
    )  # fmt: skip
    def test_the_price_lies_between_the_cheapest_and_the_dearest_token(
        self, ratio: float, gap: float, ttl: float, share: float, write: float | None
    ) -> None:
        asked = Demand(demand(1.0).requests_per_second, 1000.0, 250.0, ratio, prefix_gap_seconds=gap)
        price = prompt_usd_per_million_tokens(asked, caching(ttl, write), share)
        dear = max(3.0, 3.0 if write is None else write)
        assert min(0.3, 3.0 if write is None else write) - 1e-9 <= price <= dear + 1e-9


class TestAnswersThatAreJudged:
    """An own pool that passes 90 % and an API that passes all."""

    def judged(self, ratio: float, *more: LocalPool | HostedPool, **changes: object) -> Snapshot:
        rules = (BackendRule(OWN, 0.9), BackendRule(API, 1.0), BackendRule("ai/cheap", 0.95))
        one = replace(route(rps=5), backends=rules, judged_ratio=ratio, **changes)  # type: ignore[arg-type]
        return snapshot(local(busy_extra_usd_per_replica_hour=7.9077), hosted(), *more, one)

    def test_the_docstrings_number(self) -> None:
        """$1.00/h inside, a tenth asked again at $24.30/h: $3.43/h."""
        assert pairs(self.judged(0.0))[OWN].usd == pytest.approx(1.0, abs=0.001)
        assert pairs(self.judged(1.0))[OWN].usd == pytest.approx(3.43, abs=0.001)

    def test_half_the_answers_judged_costs_half_as_much_more(self) -> None:
        one = pairs(self.judged(0.5))[OWN]
        assert one.usd == pytest.approx(1.0 + 0.5 * 0.1 * 24.3, abs=0.001)
        assert one.pass_rate == pytest.approx(0.95)

    def test_the_best_pool_has_nobody_to_ask(self) -> None:
        assert pairs(self.judged(1.0))[API] == pairs(self.judged(0.0))[API]

    def test_the_cheapest_better_one_is_asked_and_only_if_it_can_answer(self) -> None:
        cheap = hosted("cheap", output_usd_per_million_tokens=0.4, input_usd_per_million_tokens=0.1)
        usd = (1000 * 0.1 + 250 * 0.4) * 3600 / 1e6
        assert pairs(self.judged(1.0, cheap))[OWN].usd == pytest.approx(1.0 + 0.1 * usd, abs=0.001)
        closed = replace(cheap, available=False)
        assert pairs(self.judged(1.0, closed))[OWN].usd == pytest.approx(3.43, abs=0.001)

    def test_a_forbidden_pool_is_never_asked(self) -> None:
        world = self.judged(1.0, perimeters=("onPremises",))
        assert set(pairs(world)) == {OWN}
        assert pairs(world)[OWN].usd == pytest.approx(1.0, abs=0.001)

    def test_what_is_asked_again_takes_time_too(self) -> None:
        world = self.judged(1.0, usd_per_second=1.0)
        alone = pairs(self.judged(0.0))[OWN].latency_seconds
        assert pairs(world)[OWN].regret_usd == pytest.approx((alone + 0.1 * 2.0) * 3600)

    def test_fewer_go_unsolved(self) -> None:
        """Of a tenth that fails all are asked again: none is left unsolved; if half are judged a twentieth is."""
        for ratio, unsolved in ((0.0, 0.1), (0.5, 0.05), (1.0, 0.0)):
            regret = pairs(self.judged(ratio, usd_per_solved_task=1.0))[OWN].regret_usd
            assert regret == pytest.approx(unsolved * 3600, abs=1e-6)

    def test_a_bad_cheap_pool_loses_against_a_good_one_once_its_failures_are_asked_again(self) -> None:
        """Inside for $8 at a pass rate of 0.2, outside for $24.30: judged, 8 + 0.8 x 24.30 = $27.44 is dearer."""
        rules = (BackendRule(OWN, 0.2), BackendRule(API, 1.0))
        pool = local(serving=1, previous=1, idle_usd_per_replica_hour=0.0, busy_extra_usd_per_replica_hour=8 * 7.9077)
        for ratio, answers in ((0.0, {OWN: 1.0}), (1.0, {API: 1.0})):
            one = replace(route(rps=5), backends=rules, judged_ratio=ratio)
            assert decide(snapshot(pool, hosted(), one)).routes[CHAT].shares == pytest.approx(answers)

    @given(passes=st.lists(st.floats(0, 1), min_size=2, max_size=2), ratio=st.floats(0, 1))
    def test_asking_again_never_makes_anything_cheaper_or_worse(self, passes: list[float], ratio: float) -> None:
        rules = tuple(BackendRule(key, one) for key, one in zip((OWN, API), passes, strict=True))
        plain: Route = replace(route(rps=5), backends=rules)
        before = pairs(snapshot(local(), hosted(), plain))
        after = pairs(snapshot(local(), hosted(), replace(plain, judged_ratio=ratio)))
        for key in (OWN, API):
            assert after[key].usd >= before[key].usd
            assert before[key].pass_rate <= after[key].pass_rate <= 1.0


class TestReplicasThatARouterKeepsFull:
    def full(self, *names: str, dispersion: float = 1.0, **changes: Any) -> tuple[Pair, Pair]:
        """The route's pair with its own pool as a queue, and as a pool that is kept full."""
        asked = replace(route("chat", *names, demand=demand(5, dispersion=dispersion)), **changes)
        clean, _ = cleaned(snapshot(local(), hosted(), asked))
        problem = prepare(clean)
        return problem.pairs[CHAT][-1], filled(problem).pairs[CHAT][-1]

    def test_the_docstrings_numbers(self) -> None:
        queue, full = self.full("own", "api")
        assert queue.pool == full.pool == OWN
        assert 1 / queue.replicas == pytest.approx(7.91, abs=0.005)
        assert queue.places == 0.0
        assert 1 / full.replicas == pytest.approx(8.55, abs=0.005)
        assert 1 / full.places == pytest.approx(8.55, abs=0.005)  # 64 of 64 in flight

    def test_a_strict_objective_leaves_places_free(self) -> None:
        """20 ms: 7.59 requests/s have 38.2 of 64 in flight: the places would do for 12.7."""
        _, full = self.full("own", "api", time_per_output_token_ms=20.0)
        assert 1 / full.replicas == pytest.approx(7.59, abs=0.005)
        assert 1 / full.places == pytest.approx(7.5867 * 64 / 38.238, abs=0.005)

    @pytest.mark.parametrize("stays", STAYING, ids=WHY)
    def test_what_cannot_leave_finds_the_room_that_random_arrivals_need(self, stays: dict[str, Any]) -> None:
        """Of time and of places alike: 7.91 instead of 8.55."""
        queue, full = self.full("own", "api", **stays)
        assert full.replicas == pytest.approx(queue.replicas)
        assert full.places == pytest.approx(queue.replicas)

    @pytest.mark.parametrize("stays", STAYING, ids=WHY)
    def test_the_room_grows_with_its_bursts(self, stays: dict[str, Any]) -> None:
        """Of dispersion 4, gaps have a coefficient of variation of 2: 7.33 requests/s, not 7.91."""
        _, full = self.full("own", "api", dispersion=4.0, **stays)
        pool, asked = local(), route("chat", "own", rps=5)
        told = route_capacity(asked, pool, arrival_cv=2.0).requests_per_second
        assert 1 / full.replicas == 1 / full.places == pytest.approx(told)
        assert told == pytest.approx(7.33, abs=0.005)

    def test_what_may_leave_needs_no_room_however_bursty_it_is(self) -> None:
        assert self.full("own", "api", dispersion=50.0)[1] == self.full("own", "api")[1]

    def test_nothing_leaves_while_the_only_way_out_is_closed(self) -> None:
        closed = hosted(available=False)
        clean, _ = cleaned(snapshot(local(), closed, route(rps=5)))
        problem = prepare(clean)
        told = [pair.replicas for pair in problem.pairs[CHAT]]
        assert [pair.replicas for pair in filled(problem).pairs[CHAT]] == pytest.approx(told)

    def test_it_costs_what_it_did_and_every_pool_sees_the_same_pairs(self) -> None:
        clean, _ = cleaned(snapshot(local("a"), local("b"), hosted(), route("chat", "a", "b", "api", rps=5)))
        problem = prepare(clean)
        full = filled(problem)
        for key, found in full.by_pool.items():
            assert found == tuple(pair for pair in full.pairs[CHAT] if pair.pool == key)
        costs = [(pair.usd, pair.regret_usd) for pair in problem.pairs[CHAT]]
        assert [(pair.usd, pair.regret_usd) for pair in full.pairs[CHAT]] == costs

    def test_a_hosted_pool_has_neither_replicas_nor_places(self) -> None:
        clean, _ = cleaned(snapshot(local(), hosted(), route(rps=5)))
        (api,) = filled(prepare(clean)).by_pool[API]
        assert (api.replicas, api.places) == (0.0, 0.0)

    def test_replicas_are_chosen_for_the_queue_and_serving_ones_are_filled(self) -> None:
        """16.5 requests/s: two replicas would carry 15.8 as a queue and 17.1 while full. Three are wanted; while the
        third starts, nothing goes out."""
        world = snapshot(local(serving=2, previous=2), hosted(), route(rps=16.5))
        decision = decide(world)
        assert decision.pools[OWN].replicas == 3
        assert decision.routes[CHAT].shares == {OWN: pytest.approx(1.0)}


class TestPoolsOfMixes:
    """`strict` wants 10 ms per output token, `lax` 30 ms; both may use both pools."""

    STRICT, LAX = "ai/policy/strict", "ai/policy/lax"

    def parts(self, shares: dict[str, dict[str, float]], strict_rps: float = 5.0) -> dict[tuple[str, str], float]:
        names = ("a", "b", "api")
        world = snapshot(
            local("a"), local("b"), hosted(), route("lax", *names, rps=5),
            route("strict", *names, rps=strict_rps, time_per_output_token_ms=10.0),
        )  # fmt: skip
        clean, _ = cleaned(world)
        full = kept_full(prepare(clean), shares)
        return {(p.route, p.pool): 1 / p.replicas for found in full.pairs.values() for p in found if p.inside}

    def test_a_pool_that_answers_nothing_yet_is_reckoned_with_all_that_it_may_answer(self) -> None:
        """The strictest counts: both kinds are equally long, so 4.67 requests/s of either fill a replica."""
        assert list(self.parts({}).values()) == pytest.approx([4.67] * 4, abs=0.005)

    def test_a_pool_that_answered_only_lax_requests_is_reckoned_with_these(self) -> None:
        """From plan to plan pools may specialise: on `b`, lax requests now fill a replica at 8.55."""
        told = self.parts({self.STRICT: {"ai/a": 1.0}, self.LAX: {"ai/b": 1.0}})
        assert told[self.LAX, "ai/b"] == pytest.approx(8.55, abs=0.005)
        assert told[self.STRICT, "ai/a"] == told[self.LAX, "ai/a"] == pytest.approx(4.67, abs=0.005)

    def test_a_route_that_asks_for_nothing_makes_no_pool_strict(self) -> None:
        assert self.parts({}, strict_rps=0.0)[self.LAX, "ai/b"] == pytest.approx(8.55, abs=0.005)


class TestHeadRoom:
    def test_the_docstrings_quantiles(self) -> None:
        """c_api $24.30: own at $0.40 an hour for each request/s gives 0.98, rented at $20 gives 0.18."""
        for usd, quantile in ((0.40, 0.98), (20.0, 0.18)):
            pool = local(idle_usd_per_replica_hour=usd * 7.9077, busy_extra_usd_per_replica_hour=0.0)
            clean, _ = cleaned(snapshot(pool, hosted(), route(rps=5)))
            problem = prepare(clean)
            assert newsvendor_quantile(problem.pairs[CHAT], problem.local) == pytest.approx(quantile, abs=0.005)
            assert sizing_rates(problem, {CHAT: 15.0})[CHAT] == pytest.approx(5 + quantile * 10, abs=0.05)

    def test_where_no_api_may_answer_it_is_the_peak_itself(self) -> None:
        clean, _ = cleaned(snapshot(local(), hosted(), route("chat", "own", rps=5)))
        assert sizing_rates(prepare(clean), {CHAT: 15.0})[CHAT] == 15.0

    @given(st.floats(0, 100), st.floats(0, 100), st.sampled_from([0.0, 0.03, 4.0, 400.0, math.inf]))
    def test_it_lies_between_mean_and_peak(self, mean: float, peak: float, usd: float) -> None:
        clean, _ = cleaned(snapshot(local(idle_usd_per_replica_hour=usd), hosted(), route(rps=mean)))
        assert mean <= sizing_rates(prepare(clean), {CHAT: peak})[CHAT] <= max(mean, peak) + 1e-9
