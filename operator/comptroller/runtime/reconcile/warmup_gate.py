"""The readiness condition of a replica: whether its prefixes are proven cached, and whether it may serve without."""

from __future__ import annotations

from comptroller.kube.resources import CACHE_WARMUP, POD, KubeDict
from comptroller.observe.replicas import WARM_CONDITION, Replica, condition_of, read_replica
from comptroller.runtime.clock import timestamp
from comptroller.runtime.reconcile.conditions import paused
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.warmup_record import write_record
from comptroller.runtime.reconcile.warmup_runs import Run, Survey

LONGEST_MESSAGE = 1024
GRACE_SECONDS = 30.0
"""How much later than its timeout a gate opens whose Job was never made or never ended."""

CLOCKS_SECONDS = 5.0  # how far the clocks of a node and of the operator may be apart


async def open_gate(context: Context, survey: Survey, replica: Replica) -> None:
    """Writes the condition of one replica from the results of all warm-ups of its pool.

    True/Warm: every prefix is proven cached. True/Admitted: something failed and `gate.onFailure` admits, or is paused.
    False: not yet, or held back. The message begins with the record of the runs that have ended. Pods of a pool that
    nothing gates have the condition too, as a record: Kubernetes asks it only where the pod has the readiness gate.
    """
    key = (survey.pool.split("/", 1)[0], replica.name)
    live = context.store.get(POD, key)
    if not survey.members or live is None or live["metadata"]["uid"] != replica.uid:
        return
    replica = read_replica(live)  # other warm-ups may have written since
    if not replica.engine_ready and not replica.admitted:
        return  # it has yet to start
    runs = survey.runs(replica)
    status, reason, words = _verdict(context, survey, replica, runs)
    record = write_record(one for run in runs if (one := run.ended or run.earlier) is not None)
    text = "".join(f"; {one}" for one in words)
    message = record + text[: max(0, LONGEST_MESSAGE - len(record))]  # a record that is cut would be a lost run
    await _write_condition(context, replica, live, status, reason, message)
    for run in runs:
        if run.ended is not None and run.ended != run.recorded:
            context.metrics.warmups.count(run.warmup, warm=run.ended.warm)


def _verdict(context: Context, survey: Survey, replica: Replica, runs: list[Run]) -> tuple[str, str, list[str]]:
    """Status, reason and words of the condition."""
    failures: list[str] = []
    awaited: list[str] = []
    held = False
    for run in runs:
        member = survey.members[run.warmup]
        gate = member.spec.gate
        if run.warm or not gate.enabled:
            continue
        trouble = _trouble(context, survey, replica, run)
        if trouble is None:
            awaited.append(f"{run.warmup}: not warm yet")
            continue
        failures.append(f"{run.warmup}: {trouble}")
        may_hold = gate.on_failure == "hold" and not _paused(context, run.warmup)
        held = held or (may_hold and not replica.ready and not (replica.admitted and run.recorded == run.ended))
    if awaited and _served_before(replica):  # a re-warm in the background does not close the gate
        return "True", "Warm" if replica.warm else "Admitted", [*awaited, *failures]
    if awaited:
        return "False", "Warming", [*awaited, *failures]
    if failures:
        return ("False", "Held", failures) if held else ("True", "Admitted", failures)
    return "True", "Warm", []


def _trouble(context: Context, survey: Survey, replica: Replica, run: Run) -> str | None:
    """Why a run that is not warm is not waited for any longer."""
    member = survey.members[run.warmup]
    if _paused(context, run.warmup):
        return "the warm-up is paused"
    if member.contents.problems:
        return member.contents.problems[0]
    if run.failed:
        return run.error or "admitted without proof"  # its Job is gone by now
    since, limit = replica.answers_since_seconds, member.spec.gate.timeout_seconds + GRACE_SECONDS
    if since is not None and survey.now_seconds - since > limit:
        return f"not warm within {member.spec.gate.timeout_seconds} s, and no Job tells why"
    return None


def _paused(context: Context, warmup: str) -> bool:
    namespace, name = warmup.split("/", 1)
    live = context.store.get(CACHE_WARMUP, (namespace, name))
    return live is not None and paused(live)


def _served_before(replica: Replica) -> bool:
    """Whether the gate was opened in this life of the container. One that restarts has lost its cache, and kubelet
    would take it back as soon as it answers."""
    if not replica.admitted or replica.started_seconds is None:
        return False
    opened = replica.gate_since_seconds
    return opened is None or opened >= replica.started_seconds - CLOCKS_SECONDS


async def _write_condition(
    context: Context, replica: Replica, live: KubeDict, status: str, reason: str, message: str
) -> None:
    known = condition_of(live, WARM_CONDITION)
    if (known.get("status"), known.get("reason"), known.get("message")) == (status, reason, message):
        return
    now, _, _ = context.now()
    of_this_life = not replica.admitted or _served_before(replica)  # what was opened in another life is opened anew
    same = known.get("status") == status and of_this_life
    since = known.get("lastTransitionTime") if same else timestamp(now)
    written = {
        "type": WARM_CONDITION,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }
    body = {"status": {"conditions": [written]}}
    answer = await context.client.patch(POD, live["metadata"]["namespace"], replica.name, body, "status")
    context.store.upsert(POD, answer)
