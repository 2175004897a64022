"""CacheWarmup: a Job per replica that is not warm, and the gate of the replica that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comptroller.allocation.validation import Stall
from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.conditions import Reason
from comptroller.apply.objects import NameTakenError
from comptroller.kube.client import KubeError
from comptroller.kube.resources import CACHE_WARMUP, JOB, MODEL_POOL, KubeDict, ObjectKey
from comptroller.observe.replicas import Replica, replicas_of
from comptroller.render import warmup as rendering
from comptroller.render.errors import RenderError
from comptroller.render.labels import RUN
from comptroller.render.owner import owner_reference
from comptroller.runtime.reconcile.case import open_case, tell_stalled
from comptroller.runtime.reconcile.conditions import paused
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.tell import tell
from comptroller.runtime.reconcile.warmup_due import Cause
from comptroller.runtime.reconcile.warmup_gate import open_gate
from comptroller.runtime.reconcile.warmup_runs import Run, Survey, survey
from comptroller.runtime.reconcile.warmup_status import warmup_status
from comptroller.runtime.state import Picture

KEPT_JOBS = 3  # per replica, for inspection


async def reconcile_warmup(context: Context, key: ObjectKey) -> None:
    """Warms what is not warm, opens the gate of what is, and tells what was measured."""
    case = open_case(context, CACHE_WARMUP, key, lambda specs: specs.warmups)
    if case is None:
        return
    live, picture, spec, stalls = case.live, case.picture, case.spec, case.stalls
    surveys: list[Survey] = []
    runs: list[Run] = []
    problems: tuple[Stall, ...] = ()
    refused: KubeError | None = None
    if spec is not None:  # of its pools that are unknown `stalls` tells; those that exist are warmed and gated
        surveys = await _surveys(context, key[0], spec, picture)
        everything = _runs(context, case.name, surveys)
        if not paused(live):
            try:
                problems = await _apply(context, live, spec, everything)
            except KubeError as error:
                refused = error  # gates have their own time limit, whether there are Jobs or not
        for one in surveys:
            for replica in _living(context, one):
                await open_gate(context, one, replica)
        runs = [run for run in _runs(context, case.name, surveys) if run.replica.engine_ready]
    if refused is not None:
        raise refused
    if problems or spec is None or (stalls and not surveys):
        await tell_stalled(context, case, (*stalls, *problems), "Nothing is warmed.")
        return
    now, _, _ = context.now()
    status = warmup_status(live, spec, runs, surveys, stalls, _hosted(key[0], picture), now)
    await tell(context, live, {"observedGeneration": case.generation, **status})


async def _surveys(context: Context, namespace: str, spec: CacheWarmupSpec, picture: Picture) -> list[Survey]:
    """Of its local pools that can be acted upon."""
    pools = [f"{namespace}/{name}" for name in sorted(spec.pools)]
    found = [await survey(context, one, picture) for one in pools if not picture.specs.stalled(MODEL_POOL.kind, one)]
    return [one for one in found if one is not None]


def _living(context: Context, one: Survey) -> list[Replica]:
    return [replica for replica in replicas_of(context.store, one.pool).replicas if replica.ip]


def _runs(context: Context, warmup: str, surveys: Sequence[Survey]) -> list[Run]:
    """One run per living replica, over all local pools of the warm-up."""
    return [
        run for one in surveys for replica in _living(context, one) for run in one.runs(replica) if run.warmup == warmup
    ]


async def _apply(context: Context, live: KubeDict, spec: CacheWarmupSpec, runs: Sequence[Run]) -> tuple[Stall, ...]:
    """Makes the Jobs that are due. New replicas are warmed at once, serving ones one after the other.

    Of the Jobs that have ended the newest of each replica stay until their time is up. One that is under way stays
    while what it proves is wanted, also that of a replica that does not answer for a moment: without it the run would
    never end.
    """
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    wanted_tokens = {run.token: run for run in runs}
    jobs = {one["metadata"]["name"]: one for one in context.store.children(live["metadata"]["uid"]) if _is_job(one)}
    ended = {one for one, job in jobs.items() if _has_ended(job)}
    active = {one: run for one in jobs.keys() - ended if (run := wanted_tokens.get(_token(jobs[one]))) is not None}
    changing = any(run.replica.ready or not run.replica.engine_ready for run in active.values())
    wanted: list[dict[str, Any]] = []
    started: list[Run] = []
    try:
        for run in runs:
            job = run.job
            if job is None or job in jobs or (run.replica.ready and changing and not _is_new(run)):
                continue
            changing = changing or run.replica.ready
            one = rendering.Run(job, run.token, run.slots)
            owner = owner_reference(live)
            wanted += rendering.warmup_children(name, namespace, spec, run.target, owner, context.settings, one)
            started.append(run)
        kept = _newest([jobs[one] for one in ended])
        await context.applier.converge(live, wanted, untouched=kept | active.keys())
    except RenderError as error:
        return (Stall(Reason.INVALID, error.path, str(error)),)
    except NameTakenError as error:
        return (Stall(Reason.NAME_TAKEN, "metadata.name", str(error)),)
    await _tell_started(context, live, started)
    return ()


def _newest(ended: Sequence[KubeDict]) -> set[str]:
    """The last ended Jobs of each replica: a short refresh would otherwise pile them up for an hour."""
    by_replica: dict[str, list[tuple[str, str]]] = {}
    for job in ended:
        at = max(one.get("lastTransitionTime") or "" for one in job["status"]["conditions"])
        uid = (job["metadata"].get("labels") or {}).get(rendering.POD_UID, "")
        by_replica.setdefault(uid, []).append((at, job["metadata"]["name"]))
    return {name for some in by_replica.values() for _, name in sorted(some)[-KEPT_JOBS:]}


def _is_new(run: Run) -> bool:
    """Whether a serving replica is one that has just begun to serve, cold, because nothing gates it."""
    return run.due is not None and run.due.cause is Cause.START


async def _tell_started(context: Context, live: KubeDict, started: Sequence[Run]) -> None:
    """Events on runs that nobody sees the reason of: new replicas are no news."""
    _, _, micro = context.now()
    for run in started:
        if run.due is not None and run.due.cause is not Cause.START:
            note = f"{run.replica.name} of {run.target.pool} is warmed anew."
            await context.events.post(live, run.due.cause.value, "Warm", note, micro)


def _is_job(item: KubeDict) -> bool:
    return bool(item["kind"] == JOB.kind)


def _token(job: KubeDict) -> str:
    return str((job["metadata"].get("labels") or {}).get(RUN, ""))


def _has_ended(job: KubeDict) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] in ("Complete", "Failed") and one.get("status") == "True" for one in conditions)


def _hosted(namespace: str, picture: Picture) -> set[str]:
    """Names of the hosted pools of a namespace."""
    return {
        key.split("/", 1)[1]
        for key, pool in picture.specs.pools.items()
        if pool.hosted is not None and key.startswith(f"{namespace}/")
    }
