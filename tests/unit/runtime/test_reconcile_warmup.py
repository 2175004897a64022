"""CacheWarmups on a small API server in memory: which Jobs run, and when the gate of a replica opens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from comptroller.kube.resources import BY_KIND, KubeDict, Resource
from comptroller.observe.replicas import WARM_CONDITION, condition_of
from comptroller.runtime.reconcile.gate import gated_pools
from comptroller.runtime.reconcile.warmup import reconcile_warmup
from tests.unit.kube import build
from tests.unit.runtime.test_loop import World

PREFIX = {"name": "rules", "tokens": 900, "cold_ms": 400, "warm_ms": 40, "hit_ratio": 0.98}
WARM = {"warm": True, "prefixes": [PREFIX]}
FAILED = {"warm": False, "prefixes": [], "error": "0% were cached"}
OPEN: dict[str, Any] = {"gate": {"enabled": False}}
HOLD: dict[str, Any] = {"gate": {"onFailure": "hold"}}


class Cluster:
    """One replica `big-0` of pool `big`, and warm-ups of it."""

    def __init__(self) -> None:
        self.world = World()
        self.api = self.world.api
        api: Any = self.api
        api.patch = self._patch
        self.replica(ready=False)

    async def _patch(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any], subresource: str | None = None
    ) -> KubeDict:
        assert (resource.kind, subresource) == ("Pod", "status")
        (new,) = body["status"]["conditions"]
        pod = self.api.live("Pod", name, namespace)
        assert pod is not None
        old = [one for one in pod["status"]["conditions"] if one["type"] != new["type"]]
        self.api.writes += 1
        return self.api.put(pod | {"status": pod["status"] | {"conditions": [*old, new]}}, seen=False)

    def replica(self, *, ready: bool, answers: bool = True, started_at: float = 30.0) -> None:
        """The replica's pod as kubelet tells of it; the condition that is ours stays."""
        known = condition_of(self.api.live("Pod", "big-0") or {}, WARM_CONDITION)
        pod = build.engine_pod("big-0", ready=ready, started_at=started_at)
        for one in pod["status"]["conditions"]:
            if one["type"] == "ContainersReady":
                one["status"] = str(answers)
        pod["status"]["conditions"] += [known] if known else []
        self.api.put(pod)

    def warmup(self, name: str, *pools: str, paused: bool = False, **spec: Any) -> None:
        prefixes = [{"name": "rules", "system": {"text": f"the rules of {name}"}}]
        self.api.put(
            build.item(
                "CacheWarmup", name, generation=1, annotations={"comptroller.dev/paused": "true"} if paused else {},
                spec={"pools": list(pools) or ["big"], "prefixes": prefixes, **spec},
            )
        )  # fmt: skip

    async def reconcile(self, *names: str) -> None:
        await self.world.round(1.0)
        for name in names or ("docs",):
            await reconcile_warmup(self.world.context, ("ai", name))

    def jobs(self) -> list[str]:
        return [name for kind, (_, name) in sorted(self.api.objects) if kind == "Job"]

    def job(self, warmup: str = "docs") -> str:
        (job,) = [one for one in self.jobs() if one.startswith(f"{warmup}-")]
        return job

    def end(self, job: str, result: Mapping[str, Any]) -> None:
        """The Job's pod ends with a result."""
        kind = "Complete" if result["warm"] else "Failed"
        condition = {"type": kind, "status": "True", "message": "", "lastTransitionTime": build.at(50)}
        self.api.edit("Job", job, lambda item: item.update(status={"conditions": [condition]}))
        state = {"terminated": {"message": json.dumps(result), "finishedAt": build.at(50)}}
        labels = {**build.MANAGED, "batch.kubernetes.io/job-name": job}
        self.api.put(
            build.item("Pod", f"{job}-x", labels=labels, status={"containerStatuses": [{"state": state}]})
        )  # fmt: skip

    async def lose(self, job: str) -> None:
        """The Job and its pods are gone: by hand, or its time to live has passed."""
        for kind, name in (("Job", job), ("Pod", f"{job}-x")):
            if (item := self.api.live(kind, name)) is not None:
                await self.api.delete(BY_KIND[kind], "ai", name, item["metadata"]["uid"])

    def gate(self) -> tuple[str, str]:
        found = condition_of(self.api.live("Pod", "big-0") or {}, WARM_CONDITION)
        return found.get("status", ""), found.get("reason", "")

    def message(self) -> str:
        text: str = condition_of(self.api.live("Pod", "big-0") or {}, WARM_CONDITION)["message"]
        return text

    def status(self, name: str = "docs") -> dict[str, Any]:
        return (self.api.live("CacheWarmup", name) or {})["status"]  # type: ignore[no-any-return]

    def condition(self, kind: str) -> tuple[str, str]:
        found = condition_of({"status": self.status()}, kind)
        return found["status"], found["reason"]


async def test_a_replica_waits_for_its_run_and_is_warm_after_it_also_when_the_job_is_gone() -> None:
    cluster = Cluster()
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


async def test_a_job_that_is_lost_before_its_end_is_made_anew() -> None:
    cluster = Cluster()
    cluster.warmup("docs")
    await cluster.reconcile()
    job = cluster.job()
    await cluster.lose(job)
    await cluster.reconcile()
    assert cluster.jobs() == [job]


async def test_the_job_of_a_replica_that_does_not_answer_for_a_moment_stays() -> None:
    cluster = Cluster()
    cluster.warmup("docs")
    await cluster.reconcile()
    job = cluster.job()
    uid = (cluster.api.live("Job", job) or {})["metadata"]["uid"]
    cluster.replica(ready=False, answers=False)
    await cluster.reconcile()
    assert (cluster.api.live("Job", job) or {})["metadata"]["uid"] == uid
    assert cluster.status()["replicas"]["total"] == 0


async def test_a_replica_that_does_not_answer_yet_gets_no_job() -> None:
    cluster = Cluster()
    cluster.replica(ready=False, answers=False)
    cluster.warmup("docs")
    await cluster.reconcile()
    assert cluster.jobs() == []


async def test_a_container_that_restarted_is_warmed_anew() -> None:
    cluster = Cluster()
    cluster.warmup("docs")
    await cluster.reconcile()
    first = cluster.job()
    cluster.end(first, WARM)
    await cluster.reconcile()
    cluster.replica(ready=False, started_at=90.0)
    await cluster.reconcile()
    assert cluster.job() != first
    assert cluster.gate() == ("False", "Warming")


async def test_a_warmup_that_does_not_gate_is_not_warm_because_the_replica_is() -> None:
    cluster = Cluster()
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


async def test_the_name_that_another_warmup_writes_does_not_keep_a_run_from_starting() -> None:
    cluster = Cluster()
    cluster.warmup("docs")
    cluster.warmup("more")
    await cluster.reconcile("docs")
    assert cluster.gate() == ("False", "Warming")
    await cluster.reconcile("more")
    cluster.end(cluster.job("docs"), WARM)
    cluster.end(cluster.job("more"), WARM)
    await cluster.reconcile("docs")
    assert cluster.gate() == ("True", "Warm")


async def test_a_run_that_ended_is_remembered_while_another_warmup_is_still_awaited() -> None:
    cluster = Cluster()
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


async def test_a_replica_that_is_held_back_is_tried_again_when_the_job_is_gone() -> None:
    cluster = Cluster()
    cluster.warmup("docs", **HOLD)
    await cluster.reconcile()
    job = cluster.job()
    cluster.end(job, FAILED)
    await cluster.reconcile()
    assert cluster.gate() == ("False", "Held")
    assert f"failed: {job}; ai/docs: 0% were cached" in cluster.message()
    await cluster.lose(job)
    await cluster.reconcile()
    assert cluster.jobs() == [job]
    assert cluster.gate() == ("False", "Warming")
    cluster.end(job, WARM)
    await cluster.reconcile()
    assert cluster.gate() == ("True", "Warm")


async def test_a_replica_that_was_admitted_stays_so_and_is_not_tried_again() -> None:
    cluster = Cluster()
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


async def test_the_words_of_an_engine_are_no_record() -> None:
    cluster = Cluster()
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


async def test_a_change_on_a_serving_replica_does_not_close_its_gate() -> None:
    cluster = Cluster()
    cluster.warmup("docs")
    await cluster.reconcile()
    first = cluster.job()
    cluster.end(first, WARM)
    await cluster.reconcile()
    cluster.replica(ready=True)
    cluster.warmup("docs", prefixes=[{"name": "rules", "system": {"text": "new rules"}}])
    await cluster.reconcile()
    assert cluster.job() != first
    assert cluster.gate() == ("True", "Warm")
    assert cluster.status()["replicas"]["summary"] == "0/1"


@pytest.mark.parametrize("failed_before", [False, True])
async def test_a_paused_warmup_holds_nothing_back(failed_before: bool) -> None:
    cluster = Cluster()
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


async def test_a_paused_warmup_does_not_open_the_gate_of_another() -> None:
    cluster = Cluster()
    cluster.warmup("docs", paused=True)
    cluster.warmup("more")
    await cluster.reconcile("docs", "more")
    assert cluster.gate() == ("False", "Warming")
    cluster.end(cluster.job("more"), WARM)
    await cluster.reconcile("more")
    assert cluster.gate() == ("True", "Admitted")


async def test_a_pool_that_is_unknown_takes_no_gate_from_the_others() -> None:
    cluster = Cluster()
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


async def test_without_any_known_pool_nothing_is_warmed() -> None:
    cluster = Cluster()
    cluster.warmup("docs", "gone")
    await cluster.reconcile()
    assert cluster.jobs() == []
    assert cluster.condition("Stalled") == ("True", "UnknownPool")


async def test_a_spec_that_cannot_be_read_gates_nothing() -> None:
    cluster = Cluster()
    cluster.warmup("docs", prefixes=[])
    await cluster.reconcile()
    assert gated_pools(cluster.world.context.picture().specs) == set()
    assert cluster.condition("Stalled") == ("True", "Invalid")
