"""A small cluster in memory for warm-ups: one replica, a clock that is set, Jobs that end when they are told to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from comptroller.kube.resources import BY_KIND, KubeDict, Resource
from comptroller.observe.replicas import WARM_CONDITION, condition_of
from comptroller.runtime.reconcile import context as clock
from comptroller.runtime.reconcile.warmup import reconcile_warmup
from comptroller.runtime.reconcile.warmup_record import read_record
from tests.unit.kube import build
from tests.unit.runtime.world import World

PREFIX = {"name": "rules", "tokens": 900, "cold_ms": 400, "warm_ms": 40, "hit_ratio": 0.98}
WARM = {"warm": True, "prefixes": [PREFIX]}
FAILED = {"warm": False, "prefixes": [], "error": "0% were cached"}
OPEN: dict[str, Any] = {"gate": {"enabled": False}}
HOLD: dict[str, Any] = {"gate": {"onFailure": "hold"}}
AT_50 = int(build.BORN_SECONDS) + 50


class Cluster:
    """One replica `big-0` of pool `big`, and warm-ups of it."""

    def __init__(self, patch: Callable[[object, str, object], None]) -> None:
        """`patch` sets an attribute, for as long as the cluster is needed."""
        self.world, self._patch_clock = World(), patch
        self.now(60)
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

    def now(self, seconds: float) -> None:
        """What the reconciler takes for the time, after the cluster's birth."""
        self._patch_clock(clock, "now_seconds", lambda: build.BORN_SECONDS + seconds)

    def replica(self, **how: Any) -> None:
        """The replica's pod as kubelet tells of it; the condition that is ours stays."""
        self.put_replica("big-0", **how)

    def second_replica(self, **how: Any) -> None:
        """Another one."""
        self.put_replica("big-1", **{"ready": False} | how)

    def put_replica(
        self,
        name: str,
        *,
        ready: bool,
        answers: bool = True,
        started_at: float | None = 30.0,
        answers_since: float | None = None,
    ) -> None:
        known = condition_of(self.api.live("Pod", name) or {}, WARM_CONDITION)
        pod = build.engine_pod(name, ready=ready, started_at=started_at or 0.0)
        if started_at is None:
            pod["status"]["containerStatuses"] = [{"name": "engine", "state": {"waiting": {}}}]
        for one in pod["status"]["conditions"]:
            if one["type"] == "ContainersReady":
                one["status"] = str(answers)
                one |= {} if answers_since is None else {"lastTransitionTime": build.at(answers_since)}
        pod["status"]["conditions"] += [known] if known else []
        self.api.put(pod)

    def config_map(self, name: str, data: dict[str, str]) -> None:
        """A ConfigMap of a user: our watch does not select it."""
        self.api.put(build.item("ConfigMap", name, data=data), seen=False)

    def warmup(self, name: str, *pools: str, paused: bool = False, created_at: float = 0, **spec: Any) -> None:
        prefixes = [{"name": "rules", "system": {"text": f"the rules of {name}"}}]
        item = build.item(
                "CacheWarmup", name, generation=1, annotations={"comptroller.dev/paused": "true"} if paused else {},
                spec={"pools": list(pools) or ["big"], "prefixes": prefixes, **spec},
            )  # fmt: skip
        item["metadata"]["creationTimestamp"] = build.at(created_at)
        self.api.put(item | {"status": (self.api.live("CacheWarmup", name) or {}).get("status") or {}})

    async def reconcile(self, *names: str) -> None:
        await self.world.round(1.0)
        for name in names or ("docs",):
            await reconcile_warmup(self.world.context, ("ai", name))

    def jobs(self) -> list[str]:
        return [name for kind, (_, name) in sorted(self.api.objects) if kind == "Job"]

    def job(self, warmup: str = "docs") -> str:
        (job,) = [one for one in self.jobs() if one.startswith(f"{warmup}-")]
        return job

    def end(self, job: str, result: Mapping[str, Any], at: float = 50) -> None:
        """The Job's pod ends with a result."""
        kind = "Complete" if result["warm"] else "Failed"
        condition = {"type": kind, "status": "True", "message": "", "lastTransitionTime": build.at(at)}
        self.api.edit("Job", job, lambda item: item.update(status={"conditions": [condition]}))
        state = {"terminated": {"message": json.dumps(result), "finishedAt": build.at(at)}}
        labels = {**build.MANAGED, "batch.kubernetes.io/job-name": job}
        self.api.put(
            build.item("Pod", f"{job}-x", labels=labels, status={"containerStatuses": [{"state": state}]})
        )  # fmt: skip

    def say(self, job: str, message: str) -> None:
        """The termination message of a Job's pod becomes another."""

        def change(pod: KubeDict) -> None:
            pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = message

        self.api.edit("Pod", f"{job}-x", change)

    async def end_at(self, job: str, result: Mapping[str, Any], at: float) -> None:
        """It ends at a time, which is then the time."""
        self.now(at)
        self.end(job, result, at)

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

    def since(self) -> str:
        found: str = condition_of(self.api.live("Pod", "big-0") or {}, WARM_CONDITION)["lastTransitionTime"]
        return found

    def digest_of(self, replica: str) -> str:
        """The digest of what the replica was sent, as its record says."""
        (entry,) = read_record(condition_of(self.api.live("Pod", replica) or {}, WARM_CONDITION)["message"]).values()
        return entry.digest

    async def forget_record(self) -> None:
        """The condition that is ours is gone."""

        def forget(pod: KubeDict) -> None:
            conditions = pod["status"]["conditions"]
            pod["status"]["conditions"] = [one for one in conditions if one["type"] != WARM_CONDITION]

        self.api.edit("Pod", "big-0", forget)

    def message_of(self, kind: str) -> str:
        text: str = condition_of({"status": self.status()}, kind)["message"]
        return text

    def status(self, name: str = "docs") -> dict[str, Any]:
        return (self.api.live("CacheWarmup", name) or {})["status"]  # type: ignore[no-any-return]

    def condition(self, kind: str) -> tuple[str, str]:
        found = condition_of({"status": self.status()}, kind)
        return found["status"], found["reason"]
