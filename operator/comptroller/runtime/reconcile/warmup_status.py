"""The status of a CacheWarmup: what is warm, what that gained, what is left out, and when the next run begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import Any
from zoneinfo import ZoneInfo

from comptroller.allocation.validation import Stall
from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.conditions import ConditionType, Reason
from comptroller.api.cron import parse_cron
from comptroller.kube.resources import KubeDict
from comptroller.observe.warmups import RunResult
from comptroller.runtime.clock import timestamp
from comptroller.runtime.reconcile.conditions import condition, honoured, pause_condition, progressing, stalled
from comptroller.runtime.reconcile.numbers import decimal_text, percent, ratio_text, without_none
from comptroller.runtime.reconcile.warmup_runs import Run, Survey

KEPT = ("prefixes", "hit", "cold", "warm", "speedup", "lastRun")


def warmup_status(
    live: KubeDict,
    spec: CacheWarmupSpec,
    runs: Sequence[Run],
    surveys: Sequence[Survey],
    stalls: tuple[Stall, ...],
    hosted: Collection[str],
    now_seconds: float,
) -> dict[str, Any]:
    """The whole status, without `observedGeneration`."""
    key = f"{live['metadata']['namespace']}/{live['metadata']['name']}"
    generation = live["metadata"]["generation"]
    warm, failed, total = sum(run.warm for run in runs), [run for run in runs if run.failed], len(runs)
    results = _results(runs, surveys)
    members = [one.members[key] for one in surveys if key in one.members]
    left_out = sum(len(one.placed.left_out) for one in members)
    problems = list(dict.fromkeys(text for one in members for text in one.contents.problems))
    reason, message = _verdict(runs, failed, problems, warm)
    message += _asides(spec, runs, left_out, now_seconds)
    moving = reason is Reason.WARMING
    if stalls:
        ready, _, stuck = stalled(stalls, generation, f"The rest is done: {message}")
        text = message if moving else "Nothing is left to do."
        progress = [ready, condition(ConditionType.RECONCILING, moving, reason, text, generation), stuck]
    else:
        progress = progressing(reason is Reason.WARM, moving, reason, message, generation)
    status: dict[str, Any] = {
        "pools": len(spec.pools),
        "replicas": {"total": total, "warm": warm, "failed": len(failed), "summary": f"{warm}/{total}"},
        "progress": without_none(
            {"done": warm + len(failed), "total": total, "etaSeconds": _eta_seconds(runs, results) if moving else None}
        ),
        "caches": [_cache(one, key) for one in surveys if key in one.members],
        **_next(spec, now_seconds),
        "conditions": [
            *progress,
            pause_condition(live, generation),
            *honoured(live["kind"], spec, generation, hosted),
        ],
    }
    return status | _figures(live, results)


def _verdict(runs: Sequence[Run], failed: Sequence[Run], problems: list[str], warm: int) -> tuple[Reason, str]:
    total = len(runs)
    if problems:
        return Reason.WARMUP_FAILED, f"{' '.join(problems)} {warm} of {total} replicas are warm."
    if failed:
        why = next((run.error for run in failed if run.error), "its Job is gone, and with it the reason")
        return Reason.WARMUP_FAILED, f"{warm} of {total} replicas are warm; {len(failed)} failed: {why}."
    if warm == total:
        said = f"{warm} of {total} replicas are warm." if total else "No replica runs; the next one is warmed first."
        return Reason.WARM, said
    if all(run.warm or run.due is None for run in runs) and not any(run.outdated for run in runs):
        return Reason.WARM, f"{warm} of {total} replicas are warm; the triggers ask for no more."
    return Reason.WARMING, f"{warm} of {total} replicas are warm."


def _asides(spec: CacheWarmupSpec, runs: Sequence[Run], left_out: int, now_seconds: float) -> str:
    number = "1 prefix is" if left_out == 1 else f"{left_out} prefixes are"
    text = f" {number} left out for lack of room (status.caches)." if left_out else ""
    if any(run.missed for run in runs):
        cron = parse_cron(spec.triggers.schedule or "", spec.triggers.time_zone)
        at = _local(cron.last_until(now_seconds) or 0.0, spec.triggers.time_zone)
        text += f" The run of {at} was missed: the operator did not run then, and it is too late now."
    return text


def _cache(survey: Survey, key: str) -> dict[str, Any]:
    left_out = survey.members[key].placed.left_out
    tokens = survey.capacity_tokens
    return without_none(
        {
            "pool": survey.pool.split("/", 1)[1],
            "capacityTokens": None if tokens is None else round(tokens),
            "leftOut": [{"prefix": name, "reason": why[:1024]} for name, why in left_out.items()] or None,
        }
    )


def _next(spec: CacheWarmupSpec, now_seconds: float) -> dict[str, str]:
    if spec.triggers.schedule is None:
        return {}
    try:
        moment = parse_cron(spec.triggers.schedule, spec.triggers.time_zone).next_after(now_seconds)
    except ValueError:
        return {}
    if moment is None:
        return {}
    return {"nextRun": timestamp(moment), "next": _local(moment, spec.triggers.time_zone)}


def _local(seconds: float, zone: str) -> str:
    """`Mon 07:55 CET`."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(zone)).strftime("%a %H:%M %Z")


def _results(runs: Sequence[Run], surveys: Sequence[Survey]) -> list[RunResult]:
    """What the Jobs that are still there have measured, newest first."""
    tokens = {run.token for run in runs}
    found = [one.result for survey in surveys for token, one in survey.ended.items() if token in tokens]
    return sorted((one for one in found if one.prefixes), key=lambda one: -one.finished_seconds)


def _eta_seconds(runs: Sequence[Run], results: Sequence[RunResult]) -> int | None:
    """New replicas are warmed side by side, serving ones one after the other; a run lasts as long as the last ones."""
    if not (known := [one.seconds for one in results if one.seconds > 0]):
        return None
    left = [run for run in runs if not run.warm and not run.failed]
    serving = sum(run.replica.ready for run in left)
    return round(fmean(known) * max(serving, 1 if left else 0))


def _figures(live: Mapping[str, Any], results: Sequence[RunResult]) -> dict[str, Any]:
    """The newest run's. What it did not have to compute keeps the time that computing it took before."""
    before = live.get("status") or {}
    if not results or timestamp(results[0].finished_seconds) < str(before.get("lastRun") or ""):
        return {name: before[name] for name in KEPT if name in before}
    newest = results[0]
    known = {row["name"]: row.get("coldTimeToFirstTokenMs") for row in before.get("prefixes") or ()}
    for result in reversed(results[1:]):
        known |= {one.name: round(one.cold_ms) for one in result.prefixes if one.cold_ms is not None}
    rows = []
    for one in sorted(newest.prefixes, key=lambda one: one.name):
        cold = (
            round(one.cold_ms)
            if one.cold_ms is not None and not _was_warm(one.cold_ms, one.warm_ms, known.get(one.name))
            else known.get(one.name)
        )
        rows.append(
            without_none(
                {
                    "name": one.name,
                    "tokens": one.tokens,
                    "coldTimeToFirstTokenMs": cold,
                    "warmTimeToFirstTokenMs": round(one.warm_ms),
                    "speedup": decimal_text(cold / one.warm_ms) if cold and one.warm_ms > 0 else None,
                    "hitRatio": ratio_text(one.hit_ratio),
                }
            )
        )
    return {"prefixes": rows, "lastRun": timestamp(newest.finished_seconds), **_summary(rows)}


def _was_warm(first_ms: float, warm_ms: float, cold_ms: float | None) -> bool:
    """Whether the first request of a run was no cold one: a refresh finds the prefix cached."""
    return cold_ms is not None and first_ms < cold_ms / 2


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What kubectl prints: the worst hit ratio, and the slowest times."""
    warm = max(row["warmTimeToFirstTokenMs"] for row in rows)
    colds = [row["coldTimeToFirstTokenMs"] for row in rows if "coldTimeToFirstTokenMs" in row]
    cold = max(colds, default=None)
    return without_none(
        {
            "hit": percent(min(float(row["hitRatio"]) for row in rows)),
            "cold": None if cold is None else f"{cold / 1000:.3g}s",
            "warm": f"{warm / 1000:.3g}s",
            "speedup": "-" if cold is None or warm <= 0 else f"{cold / warm:.3g}x",
        }
    )
