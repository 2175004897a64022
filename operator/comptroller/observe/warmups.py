"""Results of warm-up Jobs, read from the termination messages of their pods."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.kube.resources import JOB, POD, KubeDict
from comptroller.kube.store import ClusterStore
from comptroller.observe.measurements import Measurements
from comptroller.observe.prometheus import Series
from comptroller.observe.replicas import POOL_LABEL, moment

JOB_LABEL = "batch.kubernetes.io/job-name"
RUN_LABEL = "comptroller.dev/run"


@dataclass(frozen=True, slots=True)
class PrefixResult:
    """What a run measured on one prefix."""

    name: str
    tokens: int
    cold_ms: float | None  # None: restored from a saved cache
    warm_ms: float
    hit_ratio: float


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended."""

    warm: bool
    prefixes: tuple[PrefixResult, ...]
    error: str
    finished_seconds: float
    digest: str = ""  # of what was sent
    prompt_tokens: int = 0  # of all its requests
    cached_tokens: int = 0
    seconds: float = 0.0  # how long its pod worked


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that has ended and whose Job is still there."""

    job: str
    token: str  # what it proves: `render.warmup.warmup_token`
    pool: str
    result: RunResult


def ended_runs(store: ClusterStore, namespace: str) -> list[EndedRun]:
    """The runs of a namespace that have ended for good, oldest first."""
    pods: dict[str, list[KubeDict]] = {}
    for pod in store.all(POD):
        job = (pod["metadata"].get("labels") or {}).get(JOB_LABEL)
        if job and pod["metadata"].get("namespace") == namespace:
            pods.setdefault(job, []).append(pod)
    found = []
    for live in store.all(JOB):
        metadata, labels = live["metadata"], live["metadata"].get("labels") or {}
        if metadata["namespace"] != namespace or RUN_LABEL not in labels:
            continue
        if (result := _result(live, pods.get(metadata["name"], []))) is not None:
            pool = f"{namespace}/{labels.get(POOL_LABEL, '')}"
            found.append(EndedRun(metadata["name"], labels[RUN_LABEL], pool, result))
    return sorted(found, key=lambda one: (one.result.finished_seconds, one.job))


def warmup_tokens(store: ClusterStore, since_seconds: float) -> dict[str, tuple[int, int]]:
    """Prompt and cached tokens of the warm-up runs that have ended since then, by pool (namespace/name): the engines
    count them as they count users' tokens."""
    found: dict[str, tuple[int, int]] = {}
    for namespace in {job["metadata"]["namespace"] for job in store.all(JOB)}:
        for run in ended_runs(store, namespace):
            if run.result.finished_seconds >= since_seconds:
                prompt, cached = found.get(run.pool, (0, 0))
                found[run.pool] = prompt + run.result.prompt_tokens, cached + run.result.cached_tokens
    return found


def without_warmups(
    measured: Measurements, store: ClusterStore, now_seconds: float, window_seconds: float
) -> Measurements:
    """The measurements with the engines' token rates as users alone would have made them.

    Worked: 900 prompt tokens per second over 60 s, 300 of them cached, and a run that sent 12,000 meanwhile and found
    6,000 cached: users sent (54,000 - 12,000) / 60 = 700 per second and found (18,000 - 6,000) / 60 = 200.
    """
    spoilt = warmup_tokens(store, now_seconds - window_seconds)
    if not spoilt:
        return measured
    prompts = {pool: prompt / window_seconds for pool, (prompt, _) in spoilt.items()}
    cached = {pool: found / window_seconds for pool, (_, found) in spoilt.items()}
    return replace(
        measured,
        prompt_tokens=_less(measured.prompt_tokens, prompts),
        cached_tokens=_less(measured.cached_tokens, cached),
    )


def _less(series: Series | Unknown, rates: Mapping[str, float]) -> Series | Unknown:
    """The series less what warm-ups made of it, by pool. What a scrape has not seen yet cannot be taken away."""
    if isinstance(series, Unknown):
        return series
    return {
        key: replace(one, value=max(0.0, one.value - rates.get("/".join(key), 0.0))) if isinstance(one, Sample) else one
        for key, one in series.items()
    }


def _result(live: KubeDict, pods: list[KubeDict]) -> RunResult | None:
    """The result of a Job that has ended for good; None while it runs or is retried."""
    ended = [one for one in (_terminated(pod) for pod in pods) if one is not None]
    succeeded = [one for one in ended if one.warm]
    if succeeded:
        return max(succeeded, key=lambda one: one.finished_seconds)
    conditions = {
        one["type"]: one for one in (live.get("status") or {}).get("conditions") or () if one.get("status") == "True"
    }
    failed = conditions.get("Failed")
    if failed is None and len(ended) == len(pods):  # it succeeded without a word: its result is lost
        failed = conditions.get("Complete")
    if failed is None:
        return None
    last = max(ended, key=lambda one: one.finished_seconds, default=None)
    error = last.error if last and last.error else failed.get("message") or "the warm-up did not finish in time"
    lost = failed["type"] == "Complete" and last is not None
    at = last.finished_seconds if lost and last else moment(failed.get("lastTransitionTime")) or 0.0
    return replace(last or RunResult(False, (), "", at), warm=False, error=error, finished_seconds=at)


def _terminated(pod: KubeDict) -> RunResult | None:
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (status.get("state") or {}).get("terminated")
        if ended:
            finished = moment(ended.get("finishedAt")) or 0.0
            began = moment(ended.get("startedAt")) or finished
            return replace(read_message(ended.get("message") or "", finished), seconds=max(0.0, finished - began))
    return None


def read_message(text: str, finished_seconds: float) -> RunResult:
    """A termination message as a result. One that cannot be read is a failed run, with the text as its error."""
    try:
        content: dict[str, Any] = json.loads(text)
        prefixes = tuple(
            PrefixResult(
                str(one["name"]),
                int(one["tokens"]),
                None if one["cold_ms"] is None else float(one["cold_ms"]),
                float(one["warm_ms"]),
                float(one["hit_ratio"]),
            )
            for one in content.get("prefixes") or ()
        )
        return RunResult(
            bool(content.get("warm")),
            prefixes,
            str(content.get("error") or ""),
            finished_seconds,
            str(content.get("digest") or ""),
            int(content.get("prompt_tokens") or 0),
            int(content.get("cached_tokens") or 0),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return RunResult(False, (), f"the warm-up's pod ended without a result: {text[:200]!r}", finished_seconds)
