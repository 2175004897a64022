"""CacheWarmup: a Job per replica that is not warm, and the gate of the replica that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from comptroller.allocation.validation import Stall
from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.conditions import ConditionType, Reason
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.apply.objects import NameTakenError
from comptroller.kube.resources import CACHE_WARMUP, JOB, MODEL_POOL, POD, KubeDict, ObjectKey
from comptroller.observe.replicas import WARM_CONDITION, Replica, condition_of, read_replica, replicas_of
from comptroller.observe.warmups import RunResult, run_result
from comptroller.render import warmup as rendering
from comptroller.render.engine import slots
from comptroller.render.errors import RenderError
from comptroller.render.owner import owner_reference
from comptroller.runtime.clock import timestamp
from comptroller.runtime.reconcile.case import open_case, tell_stalled
from comptroller.runtime.reconcile.conditions import (
    condition,
    honoured,
    pause_condition,
    paused,
    progressing,
    stalled,
)
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.gate import gated_pools, warmups_of
from comptroller.runtime.reconcile.numbers import decimal_text, percent, ratio_text, without_none
from comptroller.runtime.reconcile.tell import tell
from comptroller.runtime.state import Picture

LONGEST_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Run:
    """One warm-up of one replica: its Job's name says for which prefixes and which life of the container."""

    pool: str  # namespace/name
    replica: Replica
    target: rendering.Replica
    job: str
    tag: str
    recorded: Literal["warm", "failed"] | None  # how it ended, as the replica's condition keeps it beyond the Job
    admitted: bool  # the replica's condition lets it serve
    result: RunResult | None

    @property
    def warm(self) -> bool:
        """Whether the prefixes are proven cached."""
        return self.recorded == "warm" or (self.result is not None and self.result.warm)

    @property
    def over(self) -> bool:
        """Whether its end is recorded and final. A replica that is held back may be tried again."""
        return self.recorded == "warm" or (self.recorded == "failed" and self.admitted)


async def reconcile_warmup(context: Context, key: ObjectKey) -> None:
    """Warms what is not warm, opens the gate of what is, and tells what was measured."""
    case = open_case(context, CACHE_WARMUP, key, lambda specs: specs.warmups)
    if case is None:
        return
    live, picture, spec, stalls = case.live, case.picture, case.spec, case.stalls
    runs: list[Run] = []
    problems: tuple[Stall, ...] = ()
    if spec is not None:  # of its pools that are unknown `stalls` tells; those that exist are warmed and gated
        runs = find_runs(context, key, spec, picture)
        if not paused(live):
            problems = await _apply(context, live, spec, runs)
        runs = [run for run in runs if run.replica.engine_ready]
        for run in runs:
            await open_gate(context, run.pool, run.replica, picture)
    if problems or spec is None or (stalls and not _some_pool_is_known(key[0], spec, picture)):
        await tell_stalled(context, case, (*stalls, *problems), "Nothing is warmed.")
        return
    status = _status(live, spec, runs, stalls, _hosted(key[0], picture))
    await tell(context, live, {"observedGeneration": case.generation, **status})


def _some_pool_is_known(namespace: str, spec: CacheWarmupSpec, picture: Picture) -> bool:
    return any(f"{namespace}/{pool}" in picture.specs.pools for pool in spec.pools)


def find_runs(context: Context, key: ObjectKey, spec: CacheWarmupSpec, picture: Picture) -> list[Run]:
    """One run per living replica, over all local pools of the warm-up."""
    runs = []
    for pool_name in sorted(spec.pools):
        pool = f"{key[0]}/{pool_name}"
        pool_spec = picture.specs.pools.get(pool)
        if pool_spec is None or pool_spec.local is None or picture.specs.stalled(MODEL_POOL.kind, pool):
            continue
        for replica in replicas_of(context.store, pool).replicas:
            if replica.ip:
                run = _run(context, key, spec, pool, pool_spec, replica)
                runs.append(run)
    return runs


def _run(
    context: Context, key: ObjectKey, spec: CacheWarmupSpec, pool: str, pool_spec: ModelPoolSpec, replica: Replica
) -> Run:
    assert pool_spec.local is not None  # noqa: S101 - the caller chose by it
    target = rendering.Replica(
        pool=pool.split("/", 1)[1],
        pod=replica.name,
        pod_uid=replica.uid,
        ip=replica.ip,
        port=pool_spec.local.engine.port,
        engine=pool_spec.local.engine.name,
        model=pool_spec.model.name,
        slots=slots(pool_spec, context.settings.gpu_classes[pool_spec.local.accelerator.class_]),
    )
    tag = f"start-{int(replica.started_seconds or 0)}"  # a container that restarted has lost its cache
    job = rendering.warmup_run_name(key[1], spec, target, run=tag)
    recorded = _recorded(replica.warm_message, job)
    live = context.store.get(POD, (key[0], replica.name)) or {}
    admitted = condition_of(live, WARM_CONDITION).get("status") == "True"
    return Run(pool, replica, target, job, tag, recorded, admitted, run_result(context.store, key[0], job))


def _record(runs: list[Run]) -> str:
    """The runs that have ended, for the replica's condition: what is known of them when their Jobs are gone."""
    warm = [run.job for run in runs if run.warm]
    failed = [run.job for run in runs if not run.warm and (run.result is not None or run.over)]
    return f"warm: {' '.join(warm) or 'none'}; failed: {' '.join(failed) or 'none'}"


def _recorded(message: str, job: str) -> Literal["warm", "failed"] | None:
    """What `_record` wrote about a run. The free text behind it, with the engine's words, is not read."""
    warm, _, rest = message.partition("; ")
    failed = rest.partition("; ")[0]
    if warm.startswith("warm: ") and job in warm.split()[1:]:
        return "warm"
    return "failed" if failed.startswith("failed: ") and job in failed.split()[1:] else None


async def _apply(context: Context, live: KubeDict, spec: CacheWarmupSpec, runs: list[Run]) -> tuple[Stall, ...]:
    """Jobs of runs that are under way or due. New replicas are warmed at once, serving ones one after the other.

    The Job of a replica that does not answer for a moment stays: without it the run would never end.
    """
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    wanted: list[dict[str, Any]] = []
    changing = any((run.replica.ready or not run.replica.engine_ready) and _under_way(context, run) for run in runs)
    try:
        for run in runs:
            exists = context.store.get(JOB, (namespace, run.job)) is not None
            if not exists:
                if run.over or not run.replica.engine_ready:
                    continue
                if run.replica.ready and (changing or not spec.triggers.on_change):
                    continue
                if not run.replica.ready and not spec.triggers.on_replica_start:
                    continue
                changing = changing or run.replica.ready
            wanted += rendering.warmup_children(
                name, namespace, spec, run.target, owner_reference(live), context.settings, run=run.tag
            )
        await context.applier.converge(live, wanted)
    except RenderError as error:
        return (Stall(Reason.INVALID, error.path, str(error)),)
    except NameTakenError as error:
        return (Stall(Reason.NAME_TAKEN, "metadata.name", str(error)),)
    return ()


def _under_way(context: Context, run: Run) -> bool:
    namespace = run.pool.split("/", 1)[0]
    return run.result is None and context.store.get(JOB, (namespace, run.job)) is not None


async def open_gate(context: Context, pool: str, replica: Replica, picture: Picture) -> None:
    """Writes the readiness condition of one replica from the results of all warm-ups of its pool.

    True/Warm: every prefix is proven cached. True/Admitted: something failed and `gate.onFailure` admits, or is paused.
    False: not yet, or held back. The message names the runs that have ended, and only those.
    """
    namespace = pool.split("/", 1)[0]
    live = context.store.get(POD, (namespace, replica.name))
    if pool not in gated_pools(picture.specs) or live is None or live["metadata"]["uid"] != replica.uid:
        return
    replica = read_replica(live)  # other warm-ups may have written since
    pool_spec = picture.specs.pools[pool]
    runs: list[Run] = []
    failures: list[str] = []
    awaited: list[str] = []
    held = False
    for key, spec in warmups_of(picture.specs, pool).items():
        own_key = (namespace, key.split("/", 1)[1])
        run = _run(context, own_key, spec, pool, pool_spec, replica)
        runs.append(run)
        if run.warm or not spec.gate.enabled:
            continue
        warmup = context.store.get(CACHE_WARMUP, own_key)
        if warmup is not None and paused(warmup):
            failures.append(f"{key}: the warm-up is paused")
        elif run.result is not None:
            failures.append(f"{key}: {run.result.error or 'not warm'}")
            held = held or (spec.gate.on_failure == "hold" and not replica.ready and not run.over)
        elif run.over:
            failures.append(f"{key}: admitted without proof")  # its Job is gone by now
        else:
            awaited.append(f"{key}: not warm yet")
    if awaited and replica.ready:  # it serves already: a re-warm in the background does not close the gate
        known = condition_of(live, WARM_CONDITION)
        if known.get("status") != "True":
            return
        status, reason = "True", known["reason"]
    elif awaited:
        status, reason = "False", "Warming"
    elif failures:
        status, reason = ("False", "Held") if held else ("True", "Admitted")
    else:
        status, reason = "True", "Warm"
    record = _record(runs)
    text = "".join(f"; {one}" for one in (*awaited, *failures))
    message = record + text[: max(0, LONGEST_MESSAGE - len(record))]  # a record that is cut would be a lost run
    await _write_condition(context, namespace, live, status, reason, message)


async def _write_condition(
    context: Context, namespace: str, live: KubeDict, status: str, reason: str, message: str
) -> None:
    known = condition_of(live, WARM_CONDITION)
    if (known.get("status"), known.get("reason"), known.get("message")) == (status, reason, message):
        return
    _, text, _ = context.now()
    since = known.get("lastTransitionTime") if known.get("status") == status else text
    written = {
        "type": WARM_CONDITION,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }
    body = {"status": {"conditions": [written]}}
    answer = await context.client.patch(POD, namespace, live["metadata"]["name"], body, "status")
    context.store.upsert(POD, answer)


def _status(
    live: KubeDict, spec: CacheWarmupSpec, runs: list[Run], stalls: tuple[Stall, ...], hosted: set[str]
) -> dict[str, Any]:
    generation = live["metadata"]["generation"]
    warm = sum(run.warm for run in runs)
    failed = [run for run in runs if run.result is not None and not run.warm]  # a record outlives its Job's pod
    total = len(runs)
    measured = [run.result for run in runs if run.result is not None and run.result.prefixes]
    newest = max(measured, key=lambda one: one.finished_seconds, default=None)
    everything = warm == total
    if failed:
        reason, message = (
            Reason.WARMUP_FAILED,
            f"{warm} of {total} replicas are warm; {len(failed)} failed: {_error(failed[0])}",
        )
    elif everything:
        reason, message = (
            Reason.WARM,
            f"{warm} of {total} replicas are warm."
            if total
            else "No replica runs; the next one is warmed before it takes traffic.",
        )
    else:
        reason, message = Reason.WARMING, f"{warm} of {total} replicas are warm."
    moving = not everything and not failed
    if stalls:
        ready, _, stuck = stalled(stalls, generation, f"The other pools are warmed: {message}")
        work = condition(
            ConditionType.RECONCILING, moving, reason, message if moving else "Nothing is left to do.", generation
        )
        progress = [ready, work, stuck]
    else:
        progress = progressing(everything and not failed, moving, reason, message, generation)
    status: dict[str, Any] = {
        "pools": len(spec.pools),
        "replicas": {"total": total, "warm": warm, "failed": len(failed), "summary": f"{warm}/{total}"},
        "progress": {"done": warm + len(failed), "total": total},
        "conditions": [
            *progress,
            pause_condition(live, generation),
            *honoured(live["kind"], spec, generation, hosted),
        ],
    }
    if newest is None:
        return status | _kept(live)
    return status | _measured(newest)


def _error(run: Run) -> str:
    return run.result.error if run.result is not None else ""


def _hosted(namespace: str, picture: Picture) -> set[str]:
    """Names of the hosted pools of a namespace."""
    return {
        key.split("/", 1)[1]
        for key, pool in picture.specs.pools.items()
        if pool.hosted is not None and key.startswith(f"{namespace}/")
    }


def _kept(live: Mapping[str, Any]) -> dict[str, Any]:
    before = live.get("status") or {}
    return {name: before[name] for name in ("prefixes", "hit", "cold", "warm", "speedup", "lastRun") if name in before}


def _measured(result: RunResult) -> dict[str, Any]:
    cold = max(one.cold_ms for one in result.prefixes)
    warm = max(one.warm_ms for one in result.prefixes)
    return {
        "prefixes": [
            without_none(
                {
                    "name": one.name,
                    "tokens": one.tokens,
                    "coldTimeToFirstTokenMs": round(one.cold_ms),
                    "warmTimeToFirstTokenMs": round(one.warm_ms),
                    "speedup": decimal_text(one.cold_ms / one.warm_ms) if one.warm_ms > 0 else None,
                    "hitRatio": ratio_text(one.hit_ratio),
                }
            )
            for one in sorted(result.prefixes, key=lambda one: one.name)
        ],
        "hit": percent(min(one.hit_ratio for one in result.prefixes)),
        "cold": f"{cold / 1000:.3g}s",
        "warm": f"{warm / 1000:.3g}s",
        "speedup": f"{cold / warm:.3g}x" if warm > 0 else "-",
        "lastRun": timestamp(result.finished_seconds),
    }
