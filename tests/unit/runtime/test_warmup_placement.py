"""Several warm-ups on one pool, and what happens where its caches cannot hold all prefixes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.observe.measurements import Measurements, cache_tokens_of
from comptroller.runtime.reconcile.warmup_placement import Caches, Placed, Wanted, place_all
from comptroller.runtime.texts import Contents
from tests.unit.kube import build
from tests.unit.runtime.warmup_cluster import OPEN, WARM, Cluster


def wanted(status: dict[str, Any] | None = None, **prefixes: tuple[float, str | None]) -> Wanted:
    """A warm-up: prefix -> tokens, and how often it is asked for."""
    rows = [
        {"name": name, "system": {"text": "x"}, **({"requestsPerSecond": rate} if rate else {})}
        for name, (_, rate) in prefixes.items()
    ]
    spec = CacheWarmupSpec.model_validate({"pools": ["big"], "prefixes": rows})
    tokens = {name: length for name, (length, _) in prefixes.items()}
    return Wanted(spec, Contents("", tokens, ()), status or {})


def kept(placed: dict[str, Placed]) -> dict[str, list[str]]:
    return {key: list(one.slots) for key, one in placed.items()}


def test_slots_are_dealt_out_over_all_warm_ups_of_a_pool() -> None:
    warmups = {"ai/a": wanted(one=(100, None), two=(100, None)), "ai/b": wanted(three=(100, None))}
    placed = place_all("big", Caches(8, None, 0.001), warmups)
    assert placed["ai/a"].slots == {"one": (0, 3, 6), "two": (1, 4, 7)}
    assert placed["ai/b"].slots == {"three": (2, 5)}
    assert not placed["ai/a"].left_out


def test_more_prefixes_than_slots_keep_those_that_save_the_most_and_say_so() -> None:
    warmups = {
        "ai/a": wanted(long=(9000, None), rare=(9000, "0.1")),
        "ai/b": wanted(often=(500, "50"), short=(500, "1.2")),
    }
    placed = place_all("big", Caches(2, None, 0.001), warmups)
    assert kept(placed) == {"ai/a": ["long"], "ai/b": ["often"]}
    assert list(placed["ai/a"].left_out) == ["rare"]
    assert placed["ai/b"].left_out["short"] == (
        "A replica has 2 slots, one per prefix, for 4 prefixes: the 2 that save the most are kept; this one saves 0.6 "
        "seconds of prefill per second. Give it a larger requestsPerSecond, the pool more cache, or move it to another "
        "pool."
    )


def test_prefixes_fill_half_of_a_cache_at_most_and_unknown_room_leaves_none_out() -> None:
    warmups = {"ai/a": wanted(one=(6000, "3"), two=(3000, "2"), three=(2500, "2"))}
    assert kept(place_all("big", Caches(0, 12_000.0, 0.001), warmups)) == {"ai/a": ["one"]}
    assert kept(place_all("big", Caches(0, 11_000.0, 0.001), warmups)) == {"ai/a": ["two", "three"]}
    assert kept(place_all("big", Caches(0, None, 0.001), warmups)) == {"ai/a": ["one", "two", "three"]}
    reason = place_all("big", Caches(0, 11_000.0, 0.001), warmups)["ai/a"].left_out["one"]
    assert reason.startswith(
        "Prefixes may fill 5500 tokens of a replica's cache, and the 3 of this pool have 11500: the 2"
    )


def test_what_was_measured_counts_and_what_is_kept_stays_for_a_small_gain() -> None:
    measured = {"name": "one", "tokens": 4000, "coldTimeToFirstTokenMs": 9100, "warmTimeToFirstTokenMs": 100}
    told: dict[str, Any] = {"prefixes": [measured], "caches": [{"pool": "big"}]}
    warmups = {"ai/a": wanted(told, one=(100, None), two=(4000, None))}
    assert kept(place_all("big", Caches(0, 10_000.0, 0.001), warmups)) == {"ai/a": ["one"]}  # saves 9 s, two 4 s

    told = {"caches": [{"pool": "big", "leftOut": [{"prefix": "two"}]}]}
    close = {"ai/a": wanted(told, one=(4000, "1.0"), two=(4000, "1.05"))}
    assert kept(place_all("big", Caches(0, 10_000.0, 0.001), close)) == {"ai/a": ["one"]}
    clear = {"ai/a": wanted(told, one=(4000, "1.0"), two=(4000, "1.2"))}
    assert kept(place_all("big", Caches(0, 10_000.0, 0.001), clear)) == {"ai/a": ["two"]}


def test_the_room_of_a_pool_is_that_of_its_smallest_replica() -> None:
    blocks = {("ai", "big", "4096", "16"): Sample(1.0), ("ai", "big", "2048", "16"): Sample(1.0)}
    other = {("ai", "small", "1", "16"): Sample(1.0), ("ai", "big", "None", "16"): Sample(1.0)}
    measured = Measurements(cache_blocks=blocks | other, cache_tokens={("ai", "sgl"): Sample(70_000.0)})
    assert cache_tokens_of(measured, "ai/big") == 32_768
    assert cache_tokens_of(measured, "ai/sgl") == 70_000
    assert cache_tokens_of(measured, "ai/none") is None
    assert cache_tokens_of(Measurements(cache_blocks=Unknown("down")), "ai/big") is None


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(monkeypatch.setattr)
    engine = {"name": "llamacpp"}
    performance = {"alphaMs": "5", "betaMs": "1", "gammaMs": "0.001", "maxConcurrency": 2}
    made.api.put(build.pool(local={"engine": engine, "performance": performance}) | {"metadata": {
        **build.pool()["metadata"], "generation": 2}})  # fmt: skip
    return made


def sent(cluster: Cluster, job: str) -> dict[str, list[int]]:
    """Prefix -> slots, as the Job's plan says."""
    plan = json.loads((cluster.api.live("ConfigMap", job) or {})["data"]["plan.json"])
    return {one["name"]: one["slots"] for one in plan["prefixes"]}


async def test_a_second_warm_up_takes_slots_of_the_first_and_both_are_warmed(cluster: Cluster) -> None:
    cluster.warmup("docs")
    await cluster.reconcile()
    alone = cluster.job()
    assert sent(cluster, alone) == {"rules": [0, 1]}
    cluster.end(alone, WARM)
    await cluster.reconcile()
    cluster.replica(ready=True)

    cluster.warmup("more", **OPEN)
    await cluster.reconcile("docs", "more")
    (docs,) = {one for one in cluster.jobs() if one.startswith("docs-")} - {alone}
    assert (sent(cluster, docs), sent(cluster, cluster.job("more"))) == ({"rules": [0]}, {"rules": [1]})
    assert cluster.gate() == ("True", "Warm")


async def test_a_third_prefix_on_two_slots_is_left_out_and_told_and_waits_for_nothing(cluster: Cluster) -> None:
    prefixes = [
        {"name": name, "system": {"text": "x" * 400}, "requestsPerSecond": rate}
        for name, rate in (("a", "3"), ("b", "1"), ("c", "2"))
    ]
    cluster.warmup("docs", prefixes=prefixes)
    await cluster.reconcile()
    job = cluster.job()
    assert sent(cluster, job) == {"a": [0], "c": [1]}
    cluster.end(job, WARM)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Warm")
    (cache,) = cluster.status()["caches"]
    assert [one["prefix"] for one in cache["leftOut"]] == ["b"]
    assert "1 prefix is left out for lack of room" in cluster.message_of("Ready")
    before = cluster.api.writes
    await cluster.reconcile()
    assert cluster.api.writes == before


async def test_a_warm_up_of_which_nothing_is_kept_holds_nobody_back(cluster: Cluster) -> None:
    cluster.warmup("a", prefixes=[{"name": n, "system": {"text": "x"}, "requestsPerSecond": "9"} for n in ("p", "q")])
    cluster.warmup("docs", prefixes=[{"name": "r", "system": {"text": "x"}, "requestsPerSecond": "1"}])
    await cluster.reconcile("a", "docs")
    assert [one.split("-")[0] for one in cluster.jobs()] == ["a"]
    cluster.end(cluster.job("a"), WARM)
    await cluster.reconcile("a", "docs")
    assert cluster.gate() == ("True", "Warm")
    assert cluster.condition("Ready") == ("True", "Warm")


async def test_metrics_show_what_the_statuses_tell(cluster: Cluster) -> None:
    cluster.warmup("docs")
    await cluster.reconcile()
    cluster.end(cluster.job(), WARM)
    await cluster.reconcile()
    await cluster.reconcile()
    metrics = cluster.world.context.metrics.registry
    own = {"namespace": "ai", "warmup": "docs"}
    assert metrics.get_sample_value("comptroller_warmup_runs_total", {**own, "result": "warm"}) == 1
    assert metrics.get_sample_value("comptroller_warmup_replicas", {**own, "state": "warm"}) == 1
    assert metrics.get_sample_value("comptroller_warmup_hit_ratio", {**own, "prefix": "rules"}) == 0.98
    cold = {**own, "prefix": "rules", "cache": "cold"}
    assert metrics.get_sample_value("comptroller_warmup_time_to_first_token_seconds", cold) == 0.4
