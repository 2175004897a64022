"""The warm-ups of one pool and what is known of their runs on each of its replicas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from comptroller.allocation.snapshot import LocalPool
from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.cron import parse_cron
from comptroller.api.modelpool import EngineName, ModelPoolSpec
from comptroller.kube.resources import CACHE_WARMUP, KubeDict
from comptroller.observe.measurements import cache_tokens_of
from comptroller.observe.replicas import Replica, moment, replicas_of
from comptroller.observe.warmups import EndedRun, ended_runs
from comptroller.render import warmup as rendering
from comptroller.render.engine import slots, snapshot_key
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.gate import warmups_of
from comptroller.runtime.reconcile.warmup_due import Due, Facts, due, missed
from comptroller.runtime.reconcile.warmup_placement import Caches, Placed, Wanted, place_all
from comptroller.runtime.reconcile.warmup_record import Ended, read_record, same_warmup
from comptroller.runtime.state import Picture
from comptroller.runtime.texts import Contents


@dataclass(frozen=True, slots=True)
class Run:
    """One warm-up of one replica."""

    warmup: str  # namespace/name
    pool: str  # namespace/name
    replica: Replica
    target: rendering.Replica
    slots: rendering.Slots
    token: str  # what it proves
    recorded: Ended | None  # how it ended, as the replica's condition keeps it beyond the Job
    ended: Ended | None  # the same, or newer
    earlier: Ended | None  # how an earlier run with other contents ended, in this life of the container
    outdated: bool  # contents that are newer were sent to another replica
    error: str  # of the newest run, if it failed and its Job is still there
    due: Due | None
    missed: bool

    @property
    def warm(self) -> bool:
        """Whether the prefixes are proven cached, as they are now."""
        return not self.slots or (self.ended is not None and self.ended.warm and not self.outdated)

    @property
    def failed(self) -> bool:
        return self.ended is not None and not self.ended.warm

    @property
    def job(self) -> str | None:
        """The Job that is due."""
        return None if self.due is None else rendering.warmup_job_name(self.token, self.due.moment)


@dataclass(frozen=True, slots=True)
class Member:
    """One warm-up of the pool."""

    name: str
    spec: CacheWarmupSpec
    contents: Contents
    placed: Placed
    digest: str  # of the prefixes and where they go
    created_seconds: float
    scheduled: float | None  # when its schedule was last due


@dataclass(slots=True)
class Survey:
    """A pool and its warm-ups at one moment."""

    pool: str  # namespace/name
    spec: ModelPoolSpec
    snapshots: str
    capacity_tokens: float | None
    members: Mapping[str, Member]  # by namespace/name, in a stable order
    ended: Mapping[str, EndedRun]  # newest by token
    now_seconds: float
    newest: dict[str, Ended] = field(default_factory=dict)  # warm-up -> the newest run anywhere
    begun: dict[str, bool] = field(default_factory=dict)  # warm-up -> whether its last scheduled run has begun

    def runs(self, replica: Replica) -> list[Run]:
        """Of all warm-ups of the pool, on one replica as it is now."""
        return [self._run(key, member, replica) for key, member in self.members.items()]

    def look_around(self, replicas: tuple[Replica, ...]) -> None:
        """Learns from all replicas which contents are the newest and which scheduled runs have begun."""
        for key, member in self.members.items():
            runs = [self._run(key, member, one) for one in replicas]
            known = [run.ended for run in runs if run.ended is not None]
            if known:
                self.newest[key] = max(known, key=lambda one: one.at_seconds)
            self.begun[key] = member.scheduled is not None and any(
                run.ended is not None
                and run.ended.at_seconds >= member.scheduled > (run.replica.started_seconds or 0.0)
                for run in runs
            )

    def _run(self, key: str, member: Member, replica: Replica) -> Run:
        local = self.spec.local
        assert local is not None  # noqa: S101 - the caller chose by it
        target = rendering.Replica(
            pool=self.pool.split("/", 1)[1],
            pod=replica.name,
            pod_uid=replica.uid,
            ip=replica.ip,
            port=local.engine.port,
            engine=local.engine.name,
            model=self.spec.model.name,
            snapshots=self.snapshots,
            shared_volume=local.model_cache is not None,
            serving=replica.ready,
        )
        started = replica.started_seconds or 0.0
        life = f"start-{int(started)}"  # a container that restarted has lost its cache
        placed = member.placed.slots
        token = rendering.warmup_token(member.name, member.digest, target, life)
        records, found = read_record(replica.warm_message), self.ended.get(token)
        recorded = ended = records.get(token)
        if found is not None and (recorded is None or _supersedes(found, recorded)):
            ended = Ended(token, found.result.warm, _at(found), found.result.digest)
        earlier = max(
            (one for one in records.values() if same_warmup(one.token, token) and one.at_seconds >= started),
            key=lambda one: one.at_seconds,
            default=None,
        )
        newest = self.newest.get(key)
        outdated = (
            ended is not None
            and newest is not None
            and newest.at_seconds > ended.at_seconds
            and "" != ended.digest != newest.digest != ""
        )
        facts = Facts(
            now_seconds=self.now_seconds,
            started_seconds=started,
            fresh=not replica.ready or started >= member.created_seconds,
            held=not replica.ready and not replica.admitted,
            ended=ended,
            earlier=earlier,
            outdated_since=newest.at_seconds if outdated and newest is not None else None,
            scheduled=member.scheduled,
            begun=self.begun.get(key, False),
        )
        possible = replica.engine_ready and placed and not member.contents.problems
        return Run(
            warmup=key,
            pool=self.pool,
            replica=replica,
            target=target,
            slots=placed,
            token=token,
            recorded=recorded,
            ended=ended,
            earlier=earlier,
            outdated=outdated,
            error=found.result.error if found is not None and ended is not None and not ended.warm else "",
            due=due(member.spec.triggers, facts) if possible else None,
            missed=missed(facts),
        )


async def survey(context: Context, pool: str, picture: Picture) -> Survey | None:
    """The warm-ups of a local pool that exists and can be acted upon."""
    spec = picture.specs.pools.get(pool)
    if spec is None or spec.local is None:
        return None
    namespace, name = pool.split("/", 1)
    now, _, _ = context.now()
    wanted: dict[str, Wanted] = {}
    live: dict[str, KubeDict] = {}
    for key, warmup in warmups_of(picture.specs, pool).items():
        live[key] = context.store.get(CACHE_WARMUP, (namespace, key.split("/", 1)[1])) or {}
        contents = await context.state.texts.contents(context.client, namespace, warmup, now)
        wanted[key] = Wanted(warmup, contents, live[key].get("status") or {})
    snapshot = next((one for one in picture.snapshot.local_pools if one.key == pool), None)
    caches = _caches(context, spec, picture, snapshot, pool, wanted)
    placed = place_all(name, caches, wanted)
    members = {
        key: Member(
            name=key.split("/", 1)[1],
            spec=one.spec,
            contents=one.contents,
            placed=placed[key],
            digest=rendering.placed_digest(one.spec, placed[key].slots, one.contents.digest),
            created_seconds=moment(live[key].get("metadata", {}).get("creationTimestamp")) or 0.0,
            scheduled=scheduled(one.spec, now),
        )
        for key, one in wanted.items()
    }
    gpu = context.settings.gpu_classes[spec.local.accelerator.class_]
    ended = {one.token: one for one in ended_runs(context.store, namespace)}  # the newest comes last
    found = Survey(pool, spec, snapshot_key(name, spec, gpu), caches.tokens, members, ended, now)
    found.look_around(tuple(one for one in replicas_of(context.store, pool).replicas if one.ip))
    return found


def scheduled(spec: CacheWarmupSpec, now_seconds: float) -> float | None:
    """When the schedule was last due. One that cannot be read is never due: the status tells."""
    if spec.triggers.schedule is None:
        return None
    try:
        return parse_cron(spec.triggers.schedule, spec.triggers.time_zone).last_until(now_seconds)
    except ValueError:
        return None


def _caches(
    context: Context,
    spec: ModelPoolSpec,
    picture: Picture,
    snapshot: LocalPool | None,
    pool: str,
    warmups: Mapping[str, Wanted],
) -> Caches:
    local = spec.local
    assert local is not None  # noqa: S101 - the caller chose by it
    per_token = snapshot.profile.beta_ms / 1000 if snapshot is not None else 0.0
    if local.engine.name is EngineName.LLAMACPP:
        return Caches(slots(spec, context.settings.gpu_classes[local.accelerator.class_]), None, per_token)
    tokens = cache_tokens_of(picture.measured, pool)
    if tokens is None:  # what was known last: a scrape that is missing shall not move prefixes
        told = [
            row.get("capacityTokens")
            for one in warmups.values()
            for row in one.status.get("caches") or ()
            if row.get("pool") == pool.split("/", 1)[1]
        ]
        tokens = next((float(one) for one in told if one), None)
    return Caches(0, tokens, per_token)


def _supersedes(run: EndedRun, recorded: Ended) -> bool:
    """Whether a result tells more than the record: it is newer, or the word of a pod that had been missed."""
    return _at(run) > recorded.at_seconds or (_at(run) == recorded.at_seconds and run.result.warm and not recorded.warm)


def _at(run: EndedRun) -> int:
    return math.ceil(run.result.finished_seconds)
