"""CacheWarmups on a small API server in memory: which Jobs run, and when the gate of a replica opens."""

from __future__ import annotations

import json

import pytest

from comptroller.runtime.reconcile.gate import gated_pools
from comptroller.runtime.reconcile.warmup_due import RETRY_SECONDS
from tests.unit.runtime.warmup_cluster import AT_50, FAILED, HOLD, OPEN, WARM, Cluster


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch.setattr)


async def test_a_replica_waits_for_its_run_and_is_warm_after_it_also_when_the_job_is_gone(cluster: Cluster) -> None:
    cluster.warmup("docs")
    await cluster.reconcile()
    job = cluster.job()
    assert cluster.gate() == ("False", "Warming")
    assert job not in cluster.message()

    cluster.end(job, WARM)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Warm")
    assert job in cluster.message()

    cluster.replica(ready=True)
    await cluster.lose(job)
    await cluster.reconcile()
    assert cluster.jobs() == []
    assert cluster.gate() == ("True", "Warm")
    assert cluster.status()["replicas"]["summary"] == "1/1"
    before = cluster.api.writes
    await cluster.reconcile()
    assert cluster.api.writes == before


async def test_a_job_that_is_lost_before_its_end_is_made_anew(cluster: Cluster) -> None:
    cluster.warmup("docs")
    await cluster.reconcile()
    job = cluster.job()
    await cluster.lose(job)
    await cluster.reconcile()
    assert cluster.jobs() == [job]


async def test_the_job_of_a_replica_that_does_not_answer_for_a_moment_stays(cluster: Cluster) -> None:
    cluster.warmup("docs")
    await cluster.reconcile()
    job = cluster.job()
    uid = (cluster.api.live("Job", job) or {})["metadata"]["uid"]
    cluster.replica(ready=False, answers=False)
    await cluster.reconcile()
    assert (cluster.api.live("Job", job) or {})["metadata"]["uid"] == uid
    assert cluster.status()["replicas"]["total"] == 0


async def test_a_replica_that_does_not_answer_yet_gets_no_job(cluster: Cluster) -> None:
    cluster.replica(ready=False, answers=False)
    cluster.warmup("docs")
    await cluster.reconcile()
    assert cluster.jobs() == []


async def test_a_container_that_restarted_is_warmed_anew(cluster: Cluster) -> None:
    cluster.warmup("docs")
    await cluster.reconcile()
    first = cluster.job()
    cluster.end(first, WARM)
    await cluster.reconcile()
    cluster.replica(ready=False, started_at=90.0)
    await cluster.reconcile()
    assert len(cluster.jobs()) == 2
    assert first in cluster.jobs()
    assert cluster.gate() == ("False", "Warming")


async def test_a_warmup_that_does_not_gate_is_not_warm_because_the_replica_is(cluster: Cluster) -> None:
    cluster.warmup("docs")
    cluster.warmup("extra", **OPEN)
    await cluster.reconcile("docs", "extra")
    extra = cluster.job("extra")
    cluster.end(cluster.job(), WARM)
    await cluster.reconcile("docs", "extra")
    assert cluster.gate() == ("True", "Warm")
    assert extra not in cluster.message()
    assert cluster.status("extra")["replicas"]["summary"] == "0/1"

    await cluster.lose(extra)
    await cluster.reconcile("extra")
    assert cluster.job("extra") == extra

    cluster.end(extra, FAILED)
    await cluster.reconcile("docs", "extra")
    cluster.replica(ready=True)
    await cluster.lose(extra)
    await cluster.reconcile("docs", "extra")
    assert cluster.gate() == ("True", "Warm")
    assert f"failed: {extra}" in cluster.message()
    assert extra not in cluster.jobs()
    assert cluster.status("extra")["replicas"]["summary"] == "0/1"


async def test_the_name_that_another_warmup_writes_does_not_keep_a_run_from_starting(cluster: Cluster) -> None:
    cluster.warmup("docs")
    cluster.warmup("more")
    await cluster.reconcile("docs")
    assert cluster.gate() == ("False", "Warming")
    await cluster.reconcile("more")
    cluster.end(cluster.job("docs"), WARM)
    cluster.end(cluster.job("more"), WARM)
    await cluster.reconcile("docs")
    assert cluster.gate() == ("True", "Warm")


async def test_a_run_that_ended_is_remembered_while_another_warmup_is_still_awaited(cluster: Cluster) -> None:
    cluster.warmup("docs")
    cluster.warmup("more")
    await cluster.reconcile("docs", "more")
    job = cluster.job()
    cluster.end(job, WARM)
    await cluster.reconcile("docs")
    assert cluster.gate() == ("False", "Warming")
    await cluster.lose(job)
    await cluster.reconcile("docs")
    assert job not in cluster.jobs()
    cluster.end(cluster.job("more"), WARM)
    await cluster.reconcile("more")
    assert cluster.gate() == ("True", "Warm")


async def test_a_replica_that_is_held_back_is_tried_again(cluster: Cluster) -> None:
    cluster.warmup("docs", **HOLD)
    await cluster.reconcile()
    job = cluster.job()
    cluster.end(job, FAILED)
    await cluster.reconcile()
    assert cluster.gate() == ("False", "Held")
    assert f"failed: {job}@{AT_50}; ai/docs: 0% were cached" in cluster.message()
    assert cluster.jobs() == [job]
    cluster.now(50 + RETRY_SECONDS)
    await cluster.reconcile()
    retry = f"{job}-{AT_50 + RETRY_SECONDS}"
    assert cluster.jobs() == [job, retry]
    assert cluster.gate() == ("False", "Held")
    cluster.end(retry, WARM, 50 + RETRY_SECONDS + 5)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Warm")


async def test_a_replica_that_was_admitted_stays_so_and_is_not_tried_again(cluster: Cluster) -> None:
    cluster.warmup("docs")
    await cluster.reconcile()
    job = cluster.job()
    cluster.end(job, FAILED)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Admitted")
    await cluster.lose(job)
    for ready in (True, False):
        cluster.replica(ready=ready)
        await cluster.reconcile()
        assert cluster.gate() == ("True", "Admitted")
        assert cluster.jobs() == []
    assert cluster.status()["replicas"]["warm"] == 0


async def test_the_words_of_an_engine_are_no_record(cluster: Cluster) -> None:
    cluster.warmup("docs")
    cluster.warmup("more")
    await cluster.reconcile("docs", "more")
    more = cluster.job("more")
    cluster.end(cluster.job(), FAILED | {"error": f"no; warm: {more}; failed: {more}"})
    await cluster.reconcile("docs")
    await cluster.lose(more)
    await cluster.reconcile("more")
    assert cluster.job("more") == more
    assert cluster.gate() == ("False", "Warming")


async def test_a_change_on_a_serving_replica_does_not_close_its_gate(cluster: Cluster) -> None:
    cluster.warmup("docs")
    await cluster.reconcile()
    first = cluster.job()
    cluster.end(first, WARM)
    await cluster.reconcile()
    cluster.replica(ready=True)
    cluster.warmup("docs", prefixes=[{"name": "rules", "system": {"text": "new rules"}}])
    await cluster.reconcile()
    assert len(cluster.jobs()) == 2
    assert first in cluster.jobs()
    assert cluster.gate() == ("True", "Warm")
    assert cluster.status()["replicas"]["summary"] == "0/1"


@pytest.mark.parametrize("failed_before", [False, True])
async def test_a_paused_warmup_holds_nothing_back(cluster: Cluster, failed_before: bool) -> None:
    if failed_before:
        cluster.warmup("docs", **HOLD)
        await cluster.reconcile()
        cluster.end(cluster.job(), FAILED)
        await cluster.reconcile()
        assert cluster.gate() == ("False", "Held")
    jobs = cluster.jobs()
    cluster.warmup("docs", paused=True, **HOLD)
    await cluster.reconcile()
    assert cluster.jobs() == jobs
    assert cluster.gate() == ("True", "Admitted")
    assert cluster.message().endswith("ai/docs: the warm-up is paused")


async def test_a_paused_warmup_does_not_open_the_gate_of_another(cluster: Cluster) -> None:
    cluster.warmup("docs", paused=True)
    cluster.warmup("more")
    await cluster.reconcile("docs", "more")
    assert cluster.gate() == ("False", "Warming")
    cluster.end(cluster.job("more"), WARM)
    await cluster.reconcile("more")
    assert cluster.gate() == ("True", "Admitted")


async def test_a_pool_that_is_unknown_takes_no_gate_from_the_others(cluster: Cluster) -> None:
    cluster.warmup("docs", "big", "gone")
    await cluster.reconcile()
    assert gated_pools(cluster.world.context.picture().specs) == {"ai/big"}
    assert cluster.gate() == ("False", "Warming")
    assert cluster.condition("Stalled") == ("True", "UnknownPool")
    assert cluster.condition("Reconciling") == ("True", "Warming")
    cluster.end(cluster.job(), WARM)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Warm")
    assert cluster.status()["replicas"]["summary"] == "1/1"
    assert cluster.condition("Ready") == ("False", "UnknownPool")
    assert cluster.condition("Reconciling") == ("False", "Warm")


async def test_without_any_known_pool_nothing_is_warmed(cluster: Cluster) -> None:
    cluster.warmup("docs", "gone")
    await cluster.reconcile()
    assert cluster.jobs() == []
    assert cluster.condition("Stalled") == ("True", "UnknownPool")


async def test_a_spec_that_cannot_be_read_gates_nothing(cluster: Cluster) -> None:
    cluster.warmup("docs", prefixes=[])
    await cluster.reconcile()
    assert gated_pools(cluster.world.context.picture().specs) == set()
    assert cluster.condition("Stalled") == ("True", "Invalid")


async def test_a_result_that_comes_late_counts_all_the_same(cluster: Cluster) -> None:
    cluster.warmup("docs")
    await cluster.reconcile()
    job = cluster.job()
    cluster.end(job, WARM)
    cluster.say(job, "")
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Admitted")
    cluster.replica(ready=True)
    cluster.say(job, json.dumps(WARM))
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Warm")
