"""When prefixes are sent again: by schedule, against eviction, when a text changes, when a container restarts."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.kube.client import KubeError
from comptroller.kube.resources import POD
from comptroller.runtime.reconcile.warmup_due import CATCH_UP_SECONDS, RETRY_SECONDS
from tests.unit.kube import build
from tests.unit.runtime.warmup_cluster import AT_50, FAILED, OPEN, WARM, Cluster

HOURLY: dict[str, Any] = {"triggers": {"schedule": "0 7 * * *", "timeZone": "Europe/Berlin"}}
SEVEN = 0  # 07:00 in Berlin is 06:00 UTC, when the cluster was born
DAY = 86400
REFERENCE = {"prefixes": [{"name": "rules", "system": {"configMapKeyRef": {"name": "prompts", "key": "rules.md"}}}]}
SECRET = {"prefixes": [{"name": "rules", "system": {"secretKeyRef": {"name": "prompts", "key": "rules.md"}}}]}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch.setattr)


async def warmed(cluster: Cluster, **spec: Any) -> str:
    """The replica is warm and serves. Returns the Job that did it."""
    cluster.warmup("docs", **spec)
    await cluster.reconcile()
    job = cluster.job()
    cluster.end(job, WARM)
    await cluster.reconcile()
    cluster.replica(ready=True)
    return job


async def test_a_schedule_sends_again_once_and_tells_when_it_will_next(cluster: Cluster) -> None:
    job = await warmed(cluster, **HOURLY)
    await cluster.reconcile()
    assert cluster.jobs() == [job]
    assert (cluster.status()["nextRun"], cluster.status()["next"]) == ("2026-11-23T06:00:00Z", "Mon 07:00 CET")

    cluster.now(DAY + 20)
    await cluster.reconcile()
    again = f"{job}-{int(build.BORN_SECONDS) + DAY}"
    assert cluster.jobs() == [job, again]
    assert cluster.status()["replicas"]["summary"] == "1/1"
    assert cluster.gate() == ("True", "Warm")
    assert [one["reason"] for one in cluster.api.events if one["regarding"]["kind"] == "CacheWarmup"][-1] == "Schedule"

    await cluster.end_at(again, WARM, DAY + 40)
    await cluster.reconcile()
    await cluster.lose(again)
    await cluster.reconcile()
    assert cluster.jobs() == [job]
    assert cluster.status()["lastRun"] == "2026-11-23T06:00:40Z"
    before = cluster.api.writes
    await cluster.reconcile()
    assert cluster.api.writes == before


@pytest.mark.parametrize(("late", "made"), [(CATCH_UP_SECONDS, True), (CATCH_UP_SECONDS + 1, False)])
async def test_a_run_that_was_due_while_the_operator_was_away(cluster: Cluster, late: float, made: bool) -> None:
    job = await warmed(cluster, **HOURLY)
    cluster.now(2 * DAY + late)
    await cluster.reconcile()
    again = f"{job}-{int(build.BORN_SECONDS) + 2 * DAY}"
    assert cluster.jobs() == ([job, again] if made else [job])
    message = cluster.message_of("Ready")
    assert ("The run of Tue 07:00 CET was missed" in message) is not made
    assert cluster.condition("Ready") == ("True", "Warm")


async def test_a_schedule_that_never_comes_is_told_and_stops_nothing_else(cluster: Cluster) -> None:
    job = await warmed(cluster, triggers={"schedule": "0 7 30 2 *"})
    await cluster.reconcile()
    assert cluster.condition("Stalled") == ("True", "Invalid")
    assert "spec.triggers.schedule: no such day ever comes" in cluster.message_of("Stalled")
    assert (cluster.jobs(), cluster.gate()) == ([job], ("True", "Warm"))


async def test_prefixes_are_refreshed_against_eviction(cluster: Cluster) -> None:
    job = await warmed(cluster, triggers={"refreshSeconds": 600})
    cluster.now(50 + 599)
    await cluster.reconcile()
    assert cluster.jobs() == [job]
    cluster.now(50 + 600)
    await cluster.reconcile()
    again = f"{job}-{AT_50 + 600}"
    assert cluster.jobs() == [job, again]
    await cluster.end_at(again, WARM, 700)
    await cluster.reconcile()
    cluster.now(1299)
    await cluster.reconcile()
    assert cluster.jobs() == [job, again]
    cluster.now(1300)
    await cluster.reconcile()
    assert f"{job}-{AT_50 + 1250}" in cluster.jobs()


async def test_a_refresh_that_fails_is_told_closes_no_gate_and_is_tried_with_the_next(cluster: Cluster) -> None:
    job = await warmed(cluster, triggers={"refreshSeconds": 600})
    cluster.now(50 + 600)
    await cluster.reconcile()
    await cluster.end_at(f"{job}-{AT_50 + 600}", FAILED, 700)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Admitted")
    assert cluster.condition("Ready") == ("False", "WarmupFailed")
    cluster.now(700 + RETRY_SECONDS)
    await cluster.reconcile()
    assert len(cluster.jobs()) == 2
    cluster.now(1300)
    await cluster.reconcile()
    await cluster.end_at(f"{job}-{AT_50 + 1250}", WARM, 1310)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Warm")
    assert cluster.condition("Ready") == ("True", "Warm")


async def test_a_changed_config_map_is_sent_to_running_replicas_one_by_one(cluster: Cluster) -> None:
    cluster.config_map("prompts", {"rules.md": "old", "other.md": "1"})
    cluster.second_replica()
    cluster.warmup("docs", **REFERENCE)
    await cluster.reconcile()
    first = cluster.jobs()
    assert len(first) == 2
    for job in first:
        cluster.end(job, WARM)
    await cluster.reconcile()
    cluster.replica(ready=True)
    cluster.second_replica(ready=True)

    cluster.now(80)
    cluster.config_map("prompts", {"rules.md": "old", "other.md": "2"})
    await cluster.reconcile()
    assert cluster.jobs() == first

    cluster.now(100)
    cluster.config_map("prompts", {"rules.md": "new", "other.md": "2"})
    await cluster.reconcile()
    (one,) = set(cluster.jobs()) - set(first)
    assert cluster.status()["replicas"]["summary"] == "0/2"
    assert cluster.gate() == ("True", "Warm")
    await cluster.reconcile()
    assert len(cluster.jobs()) == 3
    await cluster.end_at(one, WARM, 110)
    await cluster.reconcile()
    (other,) = set(cluster.jobs()) - {*first, one}
    await cluster.end_at(other, WARM, 120)
    await cluster.reconcile()
    assert cluster.status()["replicas"]["summary"] == "2/2"


async def test_without_on_change_a_changed_text_waits_for_the_schedule(cluster: Cluster) -> None:
    cluster.config_map("prompts", {"rules.md": "old"})
    job = await warmed(cluster, **REFERENCE, triggers={**HOURLY["triggers"], "onChange": False})
    cluster.now(100)
    cluster.config_map("prompts", {"rules.md": "new"})
    await cluster.reconcile()
    assert cluster.jobs() == [job]
    assert cluster.condition("Ready") == ("True", "Warm")
    assert "0 of 1 replicas are warm; the triggers ask for no more" in cluster.message_of("Ready")
    cluster.now(DAY + 20)
    await cluster.reconcile()
    (again,) = set(cluster.jobs()) - {job}
    await cluster.end_at(again, WARM, DAY + 40)
    await cluster.reconcile()
    assert cluster.status()["replicas"]["summary"] == "1/1"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "ConfigMap prompts does not exist (rules.md)"),
        ({"a": "b"}, "ConfigMap prompts lacks that key (rules.md)"),
    ],
)
async def test_a_text_that_is_missing_is_told_and_holds_nothing_back(
    cluster: Cluster, data: dict[str, str] | None, problem: str
) -> None:
    if data is not None:
        cluster.config_map("prompts", data)
    cluster.warmup("docs", **REFERENCE)
    await cluster.reconcile()
    assert cluster.jobs() == []
    assert cluster.gate() == ("True", "Admitted")
    assert f"spec.prefixes[0].system.configMapKeyRef: {problem}" in cluster.message_of("Ready")
    cluster.config_map("prompts", {"rules.md": "now"})
    cluster.now(100)
    await cluster.reconcile()
    assert len(cluster.jobs()) == 1


async def test_a_changed_secret_is_noticed_by_what_another_replica_was_sent(cluster: Cluster) -> None:
    job = await warmed(cluster, **SECRET)
    assert cluster.digest_of("big-0") == ""
    cluster.end(job, WARM | {"digest": "aaaaaaaaaaaa"})
    await cluster.forget_record()
    await cluster.reconcile()
    assert cluster.digest_of("big-0") == "aaaaaaaaaaaa"
    cluster.second_replica(ready=False)
    await cluster.reconcile()
    (second,) = set(cluster.jobs()) - {job}
    await cluster.end_at(second, WARM | {"digest": "bbbbbbbbbbbb"}, 90)
    await cluster.reconcile()
    again = f"{job}-{int(build.BORN_SECONDS) + 90}"
    assert again in cluster.jobs()
    assert cluster.status()["replicas"]["summary"] == "1/2"
    await cluster.end_at(again, WARM | {"digest": "bbbbbbbbbbbb"}, 95)
    await cluster.reconcile()
    assert cluster.status()["replicas"]["summary"] == "2/2"
    assert len(cluster.jobs()) == 3


async def test_a_container_that_restarts_closes_its_gate_before_kubelet_opens_it(cluster: Cluster) -> None:
    job = await warmed(cluster)
    cluster.replica(ready=True, answers=False, started_at=None)  # it is down, and kubelet has not said so yet
    await cluster.reconcile()
    assert cluster.gate() == ("False", "Warming")
    cluster.replica(ready=False, started_at=90)
    await cluster.reconcile()
    assert cluster.gate() == ("False", "Warming")
    (again,) = set(cluster.jobs()) - {job}
    await cluster.end_at(again, WARM, 100)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Warm")
    assert cluster.since() == build.at(100)


async def test_a_container_that_restarted_unseen_is_taken_out_of_service_until_it_is_warm(cluster: Cluster) -> None:
    job = await warmed(cluster)
    cluster.now(95)
    cluster.replica(ready=True, started_at=90)
    await cluster.reconcile()
    assert cluster.gate() == ("False", "Warming")
    assert len(set(cluster.jobs()) - {job}) == 1


async def test_a_replica_that_does_not_answer_for_a_moment_keeps_its_gate(cluster: Cluster) -> None:
    job = await warmed(cluster)
    cluster.replica(ready=False, answers=False)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Warm")
    assert cluster.jobs() == [job]


async def test_without_a_gate_the_record_outlives_the_job_all_the_same(cluster: Cluster) -> None:
    cluster.replica(ready=True)
    job = await warmed(cluster, **OPEN)
    await cluster.reconcile()
    await cluster.lose(job)
    await cluster.reconcile()
    assert cluster.jobs() == []
    assert cluster.status()["replicas"] == {"total": 1, "warm": 1, "failed": 0, "summary": "1/1"}
    pod = cluster.api.store.get(POD, ("ai", "big-0")) or {}
    assert "readinessGates" not in pod["spec"]


async def test_new_replicas_that_nothing_gates_are_warmed_at_once(cluster: Cluster) -> None:
    cluster.replica(ready=True, started_at=70)
    cluster.second_replica(ready=True, started_at=70)
    cluster.warmup("docs", **OPEN, created_at=60)
    await cluster.reconcile()
    assert len(cluster.jobs()) == 2


async def test_replicas_that_run_when_a_warmup_is_made_are_warmed_one_by_one(cluster: Cluster) -> None:
    cluster.replica(ready=True, started_at=30)
    cluster.second_replica(ready=True, started_at=30)
    cluster.warmup("docs", **OPEN, created_at=60)
    await cluster.reconcile()
    assert len(cluster.jobs()) == 1


async def test_a_gate_whose_job_never_ends_opens_by_itself(cluster: Cluster) -> None:
    cluster.replica(ready=False, answers_since=40)
    cluster.warmup("docs", gate={"timeoutSeconds": 100})
    await cluster.reconcile()
    cluster.now(40 + 130)
    await cluster.reconcile()
    assert cluster.gate() == ("False", "Warming")
    cluster.now(40 + 131)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Admitted")
    assert "ai/docs: not warm within 100 s, and no Job tells why" in cluster.message()


async def test_a_gate_opens_in_the_end_although_no_job_may_be_made(cluster: Cluster) -> None:
    cluster.replica(ready=False, answers_since=40)
    cluster.warmup("docs", gate={"timeoutSeconds": 100})
    cluster.api.refuses = KubeError(403, "exceeded quota")
    with pytest.raises(KubeError):
        await cluster.reconcile()
    assert cluster.gate() == ("False", "Warming")
    cluster.now(40 + 131)
    with pytest.raises(KubeError):
        await cluster.reconcile()
    assert cluster.gate() == ("True", "Admitted")


async def test_a_config_map_that_may_not_be_read_is_told_and_holds_nothing_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> None:
        raise KubeError(403, "configmaps is forbidden")

    monkeypatch.setattr(cluster.api, "get", refuse)
    cluster.warmup("docs", **REFERENCE)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Admitted")
    assert "ConfigMap prompts may not be read: configmaps is forbidden" in cluster.message_of("Ready")


async def test_refreshes_do_not_pile_up_jobs(cluster: Cluster) -> None:
    job = await warmed(cluster, triggers={"refreshSeconds": 60})
    for number in range(1, 6):
        cluster.now(50 + number * 60)
        await cluster.reconcile()
        await cluster.end_at(f"{job}-{AT_50 + number * 60}", WARM, 50 + number * 60)
        await cluster.reconcile()
    assert cluster.jobs() == [f"{job}-{AT_50 + number * 60}" for number in (3, 4, 5)]
    assert len([name for name in cluster.api.names() if name.startswith("ConfigMap docs-")]) == 3
