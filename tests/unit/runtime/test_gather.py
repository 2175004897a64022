"""One frozen picture out of raw objects and measurements."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from comptroller.allocation.decision import Decision, PoolTarget
from comptroller.allocation.snapshot import Memory, Sample, Snapshot, Unknown
from comptroller.api.conditions import Reason
from comptroller.api.settings import Settings
from comptroller.kube.resources import BY_KIND, KubeDict
from comptroller.kube.store import ClusterStore
from comptroller.observe.measurements import Measurements
from comptroller.observe.replicas import replicas_by_pool
from comptroller.runtime.gather import gather, policies_in_force
from comptroller.runtime.specs import read_specs
from comptroller.runtime.startups import starts_after
from comptroller.runtime.state import Picture, Specs, State
from tests.unit.kube import build

NOW = build.BORN_SECONDS + 200
CHAT = ("ai/research", "chat")


class World:
    """Raw objects, what the process knows, and what was measured."""

    def __init__(self, *items: KubeDict, state: State | None = None, settings: Settings | None = None) -> None:
        self.store, self.settings = ClusterStore(), settings or Settings()
        self.state = state or State(last_round_seconds=0.0, first_data_seconds=0.0)
        self.put(*items)

    def put(self, *items: KubeDict) -> None:
        for item in items:
            self.store.upsert(BY_KIND[item["kind"]], item)

    def specs(self) -> Specs:
        return read_specs(self.store, self.settings, datetime(2026, 11, 22, tzinfo=UTC))

    def gather(self, **series: Any) -> Snapshot:
        fresh: dict[str, Any] = {"router_age_seconds": {CHAT: Sample(2.0)}, "arrivals": {}}
        found = replicas_by_pool(self.store)
        measured = Measurements(**fresh | series)
        return gather(self.store, self.specs(), self.state, self.settings, measured, found, NOW)


def decided(replicas: int) -> State:
    """What a process knows that wanted so many replicas of `big` a moment ago."""
    target = PoolTarget("ai/big", replicas, 0, Reason.DEMAND_SERVED, "", 0.0, None, 0.0, 0.0, 1)
    decision = Decision({"ai/big": target}, {}, {}, 0.0, "milp", Memory())
    snapshot = Snapshot(0.0, (), (), (), {})
    return State(0.0, Picture(0.0, Specs(), Measurements(), {}, snapshot, decision))


def test_pods_become_serving_and_starting_replicas() -> None:
    world = World(
        build.pool(), build.engine_pod("a"), build.engine_pod("b", ready=False, born=150),
        build.engine_pod("c", ready=False, born=0), build.engine_pod("d", deletionTimestamp=build.at(1)),
    )  # fmt: skip
    one = world.gather().local_pools[0]
    assert (one.serving, one.startup_seconds) == (1, 120.0)  # measured on `a`, not the declared 180
    assert [round(replica.expected_ready_in_seconds) for replica in one.starting] == [1, 70]


@pytest.mark.parametrize(
    ("status", "seconds"), [({"startupSeconds": 95}, 95.0), ({}, 180.0), (None, 180.0)], ids=["told", "declared", "new"]
)
def test_before_a_start_was_measured_the_status_remembers_and_else_the_spec_says(
    status: dict[str, Any] | None, seconds: float
) -> None:
    assert World(build.pool(status=status)).gather().local_pools[0].startup_seconds == seconds


def test_a_pool_without_replicas_still_knows_how_long_its_last_ones_took() -> None:
    world = World(build.pool(status={"startupSeconds": 95}), build.engine_pod("a", ready_at=150))
    found = replicas_by_pool(world.store)
    world.state.starts = starts_after({}, world.specs().pools, found)
    world.store = ClusterStore()
    world.put(build.pool(status={"startupSeconds": 95}))
    assert world.gather().local_pools[0].startup_seconds == 150.0
    assert starts_after(world.state.starts, [], found) == {}


DEPLOYED = build.item("Deployment", "big", labels=build.MANAGED, spec={"replicas": 7})
REMEMBERED = {"allocation": {"desired": 3}}


@pytest.mark.parametrize(
    ("state", "status", "deployed", "previous"),
    [
        pytest.param(decided(5), REMEMBERED, True, 5, id="this process knows"),
        pytest.param(None, REMEMBERED, True, 3, id="the status remembers"),
        pytest.param(None, {"allocation": {"desired": 0}}, True, 0, id="none is a count"),
        pytest.param(None, {}, True, 7, id="else what is deployed"),
        pytest.param(None, {}, False, None, id="nothing is known"),
    ],
)
def test_what_was_wanted_last(
    state: State | None, status: dict[str, Any], deployed: bool, previous: int | None
) -> None:
    world = World(build.pool(status=status), state=state)
    if deployed:
        world.put(DEPLOYED)
    assert world.gather().local_pools[0].previous == previous


@pytest.mark.parametrize(
    ("annotations", "paused", "held"),
    [
        ({}, False, None),
        ({"comptroller.dev/paused": "true"}, True, None),
        ({"comptroller.dev/paused": "yes"}, False, None),
        ({"comptroller.dev/hold-replicas": "4"}, False, 4),
        ({"comptroller.dev/hold-replicas": "0"}, False, 0),
        ({"comptroller.dev/hold-replicas": "four"}, False, None),
        ({"comptroller.dev/hold-replicas": "-1"}, False, None),
        ({"comptroller.dev/hold-replicas": "³"}, False, None),
        ({"comptroller.dev/hold-replicas": ""}, False, None),
        ({"comptroller.dev/hold-replicas": "٤"}, False, None),
        ({"comptroller.dev/hold-replicas": "4\n"}, False, None),
        ({"comptroller.dev/hold-replicas": " 4"}, False, None),
        ({"comptroller.dev/hold-replicas": "0004"}, False, 4),
        ({"comptroller.dev/hold-replicas": "9"}, False, 8),
        ({"comptroller.dev/hold-replicas": "9999"}, False, 8),
        ({"comptroller.dev/hold-replicas": "10000"}, False, None),
        ({"comptroller.dev/hold-replicas": "9" * 5000}, False, None),
    ],
)
def test_annotations_pause_and_hold(annotations: dict[str, str], paused: bool, held: int | None) -> None:
    one = World(build.pool(annotations=annotations)).gather().local_pools[0]
    assert (one.paused, one.held_at) == (paused, held)


def test_a_hosted_pool_can_be_paused_too() -> None:
    world = World(build.hosted_pool(annotations={"comptroller.dev/paused": "true"}))
    assert world.gather().hosted_pools[0].paused


@pytest.mark.parametrize(
    ("billions", "count", "factor"), [("8", 1, 1.0), ("32.8", 2, 2.05), ("0.6", 8, 0.1), (None, 1, 1.0)]
)
def test_the_default_profile_grows_with_the_parameters_per_gpu(billions: str | None, count: int, factor: float) -> None:
    pool = build.pool(count=count)
    pool["spec"]["model"] |= {"parametersBillions": billions} if billions else {}
    if billions is None:
        del pool["spec"]["model"]["parametersBillions"]
    profile = World(pool).gather().local_pools[0].profile
    assert profile.source == "default"
    assert profile.alpha_ms == pytest.approx(5.5 * factor)
    assert profile.gamma_ms == pytest.approx(0.00016 * factor)


def test_a_declared_profile_is_taken_as_it_is() -> None:
    performance = {"alphaMs": "6.1", "betaMs": "0.05", "gammaMs": "0.0004", "maxConcurrency": 128}
    profile = World(build.pool(local={"performance": performance})).gather().local_pools[0].profile
    assert (profile.alpha_ms, profile.max_concurrency, profile.source) == (6.1, 128, "declared")


def test_an_owned_gpu_costs_its_power_and_a_rented_one_its_rent_too() -> None:
    owned = World(build.pool(count=2)).gather().local_pools[0]
    rented = World(build.pool(count=2, local={"ownership": "rented"})).gather().local_pools[0]
    assert owned.idle_usd_per_replica_hour == pytest.approx(0.0572)
    assert rented.idle_usd_per_replica_hour == pytest.approx(8.0572)
    assert rented.gpus_per_replica == 2


def test_a_class_without_gpus_holds_none() -> None:
    one = World(build.pool(gpu_class="cpu", count=0)).gather().local_pools[0]
    assert one.gpus_per_replica == 0


def test_a_hosted_pool_has_its_prices_limits_and_measured_latency() -> None:
    one = World(build.hosted_pool()).gather(hosted_latency_seconds={("ai/api",): Sample(4.5)}).hosted_pools[0]
    assert (one.input_usd_per_million_tokens, one.cached_input_usd_per_million_tokens) == (3.0, 3.0)
    assert (one.requests_per_minute, one.mean_latency_seconds) == (1000, 4.5)
    assert World(build.hosted_pool()).gather().hosted_pools[0].mean_latency_seconds == 2.0


def test_a_pool_of_an_unknown_gpu_class_stalls_alone() -> None:
    bad = build.pool("bad", gpu_class="h900")
    snapshot = World(bad, build.pool(), build.hosted_pool(), build.policy("research", "bad", "big", "api")).gather()
    assert [one.key for one in snapshot.local_pools] == ["ai/big"]
    assert [one.pool for one in snapshot.routes[0].backends] == ["ai/big", "ai/api"]


def test_a_route_is_silent_about_nothing() -> None:
    world = World(build.pool(), build.hosted_pool(), build.policy())
    route = world.gather(
        arrivals={CHAT: Sample(31.0)},
        peak={CHAT: Sample(40.0)},
        answered={CHAT: Sample(2.0)},
        tokens={(*CHAT, "input"): Sample(3000.0), (*CHAT, "output"): Sample(400.0)},
    ).routes[0]
    assert (route.key, route.policy, route.name) == ("ai/research/chat", "ai/research", "chat")
    assert route.demand.requests_per_second == Sample(31.0, 2.0)
    assert route.demand.peak_requests_per_second == Sample(40.0)
    assert (route.demand.input_tokens, route.demand.output_tokens, route.demand.cached_ratio) == (1500.0, 200.0, 0.0)
    assert (route.time_to_first_token_ms, route.time_per_output_token_ms, route.percentile) == (2000.0, 100.0, 0.95)


def test_what_is_not_known_of_demand_is_unknown_and_its_peak_with_it() -> None:
    world = World(build.pool(), build.hosted_pool(), build.policy())
    demand = world.gather(router_age_seconds={}, peak={CHAT: Sample(40.0)}).routes[0].demand
    assert isinstance(demand.requests_per_second, Unknown)
    assert demand.peak_requests_per_second == Unknown(demand.requests_per_second.reason)
    assert (demand.input_tokens, demand.output_tokens) == (1000.0, 250.0)


def router(name: str, of: str = "research-router", ready_at: float = 120.0, **more: Any) -> KubeDict:
    labels = {"comptroller.dev/policy": "research", "comptroller.dev/router": of}
    return build.engine_pod(name, component="router", ready_at=ready_at, labels=labels, **more)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        pytest.param([], "", id="one"),
        pytest.param([router("b")], "1 of 2 routers is scraped", id="two"),
        pytest.param([router("b", ready_at=140)], "", id="another that became ready within the window"),
        pytest.param([router("b", ready=False)], "", id="another that is not ready"),
        pytest.param([router("b", deletionTimestamp=build.at(1))], "", id="another that goes"),
        pytest.param([router("b", of="research-router-restricted")], "", id="one of the restricted router"),
        pytest.param([router("b", namespace="other")], "", id="one of another namespace"),
    ],
)
def test_a_ready_router_that_is_not_scraped_makes_demand_unknown(others: list[KubeDict], words: str) -> None:
    world = World(build.pool(), build.hosted_pool(), build.policy(), router("a"), *others)
    rate = world.gather(arrivals={CHAT: Sample(31.0)}, routers={CHAT: Sample(1.0)}).routes[0].demand.requests_per_second
    assert rate == (Unknown(words) if words else Sample(31.0, 2.0))


def test_the_routers_of_a_restricted_route_are_the_restricted_ones() -> None:
    policy = build.policy(route={"data": {"perimeters": ["onPremises"]}})
    both = [router(name, of="research-router-restricted") for name in "ab"]
    world = World(build.pool(), build.hosted_pool(), policy, router("c"), *both)
    known = world.gather(arrivals={CHAT: Sample(31.0)}, routers={CHAT: Sample(2.0)})
    assert known.routes[0].demand.requests_per_second == Sample(31.0, 2.0)
    unknown = world.gather(arrivals={CHAT: Sample(31.0)}, routers={CHAT: Sample(1.0)})
    assert unknown.routes[0].demand.requests_per_second == Unknown("1 of 2 routers is scraped")


def test_the_words_of_a_route_reach_the_decision() -> None:
    policy = build.policy(
        route={
            "slo": {"timeToFirstTokenMs": 800, "timePerOutputTokenMs": 30, "percentile": 99},
            "data": {"jurisdictions": ["EU"], "perimeters": ["onPremises"]},
            "value": {"usdPerSolvedTask": "0.02"},
            "priority": 200,
            "onOverload": "queue",
        }
    )
    route = World(build.pool(), build.hosted_pool(), policy).gather().routes[0]
    assert (route.time_to_first_token_ms, route.percentile) == (800.0, 0.99)
    assert (route.jurisdictions, route.perimeters) == (("EU",), ("onPremises",))
    assert (route.usd_per_solved_task, route.priority, route.on_overload) == (0.02, 200, "queue")


def test_a_stalled_policy_keeps_its_last_good_rules_as_demand() -> None:
    world = World(build.pool(), build.hosted_pool(), build.policy())
    world.state.last_good_policies = dict(world.specs().policies)
    broken = build.policy("research", "gone")
    broken["metadata"]["resourceVersion"] = "2"
    world.put(broken)
    snapshot = world.gather(arrivals={CHAT: Sample(31.0)})
    assert [one.pool for one in snapshot.routes[0].backends] == ["ai/big", "ai/api"]
    assert snapshot.routes[0].demand.requests_per_second == Sample(31.0, 2.0)


def test_a_policy_that_was_never_good_or_is_gone_asks_for_nothing() -> None:
    world = World(build.pool(), build.policy("research", "gone"))
    assert world.gather().routes == ()
    good = World(build.pool(), build.hosted_pool(), build.policy())
    good.state.last_good_policies = dict(good.specs().policies)
    gone = build.policy()
    gone["metadata"]["resourceVersion"] = "2"
    good.store.remove(BY_KIND["RoutingPolicy"], gone)
    assert policies_in_force(good.specs(), good.state) == {}


def test_a_router_that_runs_by_rules_nobody_remembers_holds_the_pools_that_its_policy_names() -> None:
    broken = build.policy("research", "gone", "big")
    world = World(build.pool(), broken)
    assert world.gather().routes == (), "without a router nobody asks"
    router = build.item("Deployment", "research-router", owner=broken["metadata"]["uid"])
    router["metadata"]["ownerReferences"][0] |= {"kind": "RoutingPolicy", "name": "research"}
    world.put(router)
    route = world.gather().routes[0]
    assert [one.pool for one in route.backends] == ["ai/big"]
    assert isinstance(route.demand.requests_per_second, Unknown)


def test_a_policy_that_cannot_be_read_any_more_keeps_its_last_good_rules() -> None:
    world = World(build.pool(), build.hosted_pool(), build.policy())
    world.state.last_good_policies = dict(world.specs().policies)
    broken = build.policy()
    broken["metadata"]["resourceVersion"] = "2"
    broken["spec"]["routes"] = "none"
    world.put(broken)
    assert [one.key for one in world.gather().routes] == ["ai/research/chat"]


@pytest.mark.parametrize(
    ("first_data", "holding"), [(None, True), (NOW - 30, True), (NOW - 60, False)], ids=["none", "some", "a window"]
)
def test_after_a_start_nothing_is_scaled_down_before_one_window_of_data(
    first_data: float | None, holding: bool
) -> None:
    world = World(build.pool(), state=State(0.0, first_data_seconds=first_data))
    assert world.gather().rules.holding_after_restart is holding


def test_gpus_are_counted_for_every_class() -> None:
    snapshot = World(build.pool(), build.node(), build.foreign_pod()).gather()
    assert snapshot.gpus["h100", ""] == Sample(6.0)
    assert snapshot.at_seconds == NOW


def test_replicas_of_a_pool_that_takes_no_part_hold_gpus_as_strangers_do() -> None:
    pools = (build.pool(), build.pool("bad", gpu_class="h900"))
    pods = (build.engine_pod("a", gpus=2), build.engine_pod("b", "bad", gpus=4), build.engine_pod("c", "gone", gpus=1))
    assert World(*pools, *pods, build.node()).gather().gpus["h100", ""] == Sample(3.0)


def test_a_node_that_is_cordoned_takes_no_gpu_from_a_running_pool() -> None:
    pods = [build.engine_pod(name) for name in "abcd"]
    assert World(build.pool(), *pods, build.node(cordoned=True)).gather().gpus["h100", ""] == Sample(4.0)


def test_the_order_in_which_objects_arrive_does_not_matter() -> None:
    items = [build.pool("a"), build.pool("b"), build.hosted_pool(), build.policy("research", "a", "b", "api")]
    assert World(*items).gather() == World(*reversed(items)).gather()


WARMUP = build.item(
    "CacheWarmup", "docs", generation=1,
    spec={"pools": ["big"], "prefixes": [{"name": "rules", "system": {"text": "x" * 16000}}]},
)  # fmt: skip


def test_a_first_guess_of_a_start_lasts_until_the_replica_is_warm() -> None:
    cold = World(build.pool()).gather().local_pools[0]
    guessed = World(build.pool(), WARMUP).gather().local_pools[0]
    assert guessed.startup_seconds == pytest.approx(cold.startup_seconds + 4000 * cold.profile.beta_ms / 1000)

    measured = {"prefixes": [{"name": "rules", "coldTimeToFirstTokenMs": 9000, "warmTimeToFirstTokenMs": 500}]}
    told = World(build.pool(), WARMUP | {"status": measured}).gather().local_pools[0]
    assert told.startup_seconds == cold.startup_seconds + 9.5

    for change in ({"gate": {"timeoutSeconds": 5}}, {"gate": {"enabled": False}}):
        item = WARMUP | {"status": measured, "spec": WARMUP["spec"] | change}
        limited = World(build.pool(), item).gather().local_pools[0]
        assert limited.startup_seconds == cold.startup_seconds + (5 if "timeoutSeconds" in change["gate"] else 0)


def test_a_start_that_was_measured_holds_the_warm_up_already() -> None:
    world = World(build.pool(), WARMUP, build.engine_pod("a", ready_at=150))
    assert world.gather().local_pools[0].startup_seconds == 150.0


def test_a_replica_is_capacity_from_the_opening_of_its_gate() -> None:
    warming = build.engine_pod("a", ready=False, warm=("False", "Warming"))
    for one in warming["status"]["conditions"]:
        if one["type"] == "ContainersReady":
            one["status"] = "True"
    pool = World(build.pool(), WARMUP, warming).gather().local_pools[0]
    assert (pool.serving, len(pool.starting)) == (0, 1)
    pool = World(build.pool(), WARMUP, build.engine_pod("a", warm=("True", "Warm"))).gather().local_pools[0]
    assert (pool.serving, len(pool.starting)) == (1, 0)
