"""CacheWarmup: a Job per replica that is not warm, and the gate of the replica that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comptroller.allocation.validation import Stall
from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.conditions import Reason
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.apply.objects import NameTakenError
from comptroller.kube.resources import CACHE_WARMUP, JOB, MODEL_POOL, POD, KubeDict, ObjectKey
from comptroller.observe.replicas import WARM_CONDITION, Replica, replicas_of
from comptroller.observe.warmups import RunResult, run_result
from comptroller.render import warmup as rendering
from comptroller.render.engine import slots
from comptroller.render.errors import RenderError
from comptroller.render.owner import owner_reference
from comptroller.runtime.clock import timestamp
from comptroller.runtime.reconcile.case import open_case, tell_stalled
from comptroller.runtime.reconcile.conditions import honoured, pause_condition, paused, progressing
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.gate import gated_pools, warmups_of
from comptroller.runtime.reconcile.numbers import decimal_text, percent, ratio_text, without_none
from comptroller.runtime.reconcile.tell import tell
from comptroller.runtime.state import Picture


@dataclass(frozen=True, slots=True)
class Run:
    """One warm-up of one replica: its Job's name says for which prefixes and which life of the container."""

    pool: str  # namespace/name
    replica: Replica
    target: rendering.Replica
    job: str
    tag: str
    proven: bool  # the replica's condition already names this run
    result: RunResult | None

    @property
    def warm(self) -> bool:
        """Whether the prefixes are proven cached."""
        return (self.proven and self.replica.warm) or (self.result is not None and self.result.warm)


async def reconcile_warmup(context: Context, key: ObjectKey) -> None:
    """Warms what is not warm, opens the gate of what is, and tells what was measured."""
    case = open_case(context, CACHE_WARMUP, key, lambda specs: specs.warmups)
    if case is None:
        return
    live, picture, spec, stalls = case.live, case.picture, case.spec, case.stalls
    runs: list[Run] = []
    if spec is not None and not stalls:
        runs = find_runs(context, key, spec, picture)
        if not paused(live):
            stalls = await _apply(context, live, spec, runs)
            for run in runs:
                await open_gate(context, run.pool, run.replica, picture)
    if stalls or spec is None:
        await tell_stalled(context, case, stalls, "Nothing is warmed.")
        return
    status = _status(live, spec, runs, _hosted(key[0], picture))
    await tell(context, live, {"observedGeneration": case.generation, **status})


def find_runs(context: Context, key: ObjectKey, spec: CacheWarmupSpec, picture: Picture) -> list[Run]:
    """One run per replica whose engine answers, over all local pools of the warm-up."""
    runs = []
    for pool_name in sorted(spec.pools):
        pool = f"{key[0]}/{pool_name}"
        pool_spec = picture.specs.pools.get(pool)
        if pool_spec is None or pool_spec.local is None or picture.specs.stalled(MODEL_POOL.kind, pool):
            continue
        for replica in replicas_of(context.store, pool).replicas:
            if replica.engine_ready and replica.ip:
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
    proven = job in replica.warm_message.split()
    return Run(pool, replica, target, job, tag, proven, run_result(context.store, key[0], job))


async def _apply(context: Context, live: KubeDict, spec: CacheWarmupSpec, runs: list[Run]) -> tuple[Stall, ...]:
    """Jobs of runs that are under way or due. New replicas are warmed at once, serving ones one after the other."""
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    wanted: list[dict[str, Any]] = []
    changing = any(run.replica.ready and _under_way(context, run) for run in runs)
    try:
        for run in runs:
            exists = context.store.get(JOB, (namespace, run.job)) is not None
            if not exists:
                if run.proven or (run.replica.ready and (changing or not spec.triggers.on_change)):
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

    True/Warm: every prefix is proven cached. True/Admitted: something failed and `gate.onFailure` admits. False: not
    yet, or held back.
    """
    if pool not in gated_pools(picture.specs):
        return
    namespace = pool.split("/", 1)[0]
    pool_spec = picture.specs.pools[pool]
    names: list[str] = []
    failures: list[str] = []
    waiting = held = False
    for key, spec in warmups_of(picture.specs, pool).items():
        run = _run(context, (namespace, key.split("/", 1)[1]), spec, pool, pool_spec, replica)
        names.append(run.job)
        if run.warm or not spec.gate.enabled:
            continue
        if run.result is not None:
            failures.append(f"{key}: {run.result.error or 'not warm'}")
            held = held or (spec.gate.on_failure == "hold" and not replica.ready)
        elif run.proven and replica.ready:
            failures.append(f"{key}: admitted without proof")  # its Job is gone by now
        else:
            waiting = True
    if waiting and replica.ready:
        return  # it serves already: a re-warm in the background does not close the gate
    if waiting:
        status, reason = "False", "Warming"
    elif failures:
        status, reason = ("False", "Held") if held else ("True", "Admitted")
    else:
        status, reason = "True", "Warm"
    message = " ".join([*names, *failures])[:1024]
    await _write_condition(context, namespace, replica, status, reason, message)


async def _write_condition(
    context: Context, namespace: str, replica: Replica, status: str, reason: str, message: str
) -> None:
    live = context.store.get(POD, (namespace, replica.name))
    if live is None or live["metadata"]["uid"] != replica.uid:
        return
    known: dict[str, Any] = next(
        (one for one in (live.get("status") or {}).get("conditions") or () if one["type"] == WARM_CONDITION), {}
    )
    if (known.get("status"), known.get("reason"), known.get("message")) == (status, reason, message):
        return
    _, text, _ = context.now()
    since = known.get("lastTransitionTime") if known.get("status") == status else text
    condition = {
        "type": WARM_CONDITION,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }
    answer = await context.client.patch(POD, namespace, replica.name, {"status": {"conditions": [condition]}}, "status")
    context.store.upsert(POD, answer)


def _status(live: KubeDict, spec: CacheWarmupSpec, runs: list[Run], hosted: set[str]) -> dict[str, Any]:
    generation = live["metadata"]["generation"]
    warm = sum(run.warm for run in runs)
    failed = [run for run in runs if run.result is not None and not run.result.warm]
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
    status: dict[str, Any] = {
        "pools": len(spec.pools),
        "replicas": {"total": total, "warm": warm, "failed": len(failed), "summary": f"{warm}/{total}"},
        "progress": {"done": warm + len(failed), "total": total},
        "conditions": [
            *progressing(everything and not failed, not everything and not failed, reason, message, generation),
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
