"""Results of warm-up Jobs, read from the termination messages of their pods."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from comptroller.kube.resources import JOB, POD, KubeDict
from comptroller.kube.store import ClusterStore
from comptroller.observe.replicas import moment

JOB_LABEL = "batch.kubernetes.io/job-name"


@dataclass(frozen=True, slots=True)
class PrefixResult:
    """What a run measured on one prefix."""

    name: str
    tokens: int
    cold_ms: float
    warm_ms: float
    hit_ratio: float


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended."""

    warm: bool
    prefixes: tuple[PrefixResult, ...]
    error: str
    finished_seconds: float


def run_result(store: ClusterStore, namespace: str, job: str) -> RunResult | None:
    """The result of a Job that has ended for good; None while it runs or is retried."""
    live = store.get(JOB, (namespace, job))
    if live is None:
        return None
    pods = [
        pod
        for pod in store.all(POD)
        if pod["metadata"]["namespace"] == namespace and (pod["metadata"].get("labels") or {}).get(JOB_LABEL) == job
    ]
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
    return RunResult(False, last.prefixes if last else (), error, moment(failed.get("lastTransitionTime")) or 0.0)


def _terminated(pod: KubeDict) -> RunResult | None:
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (status.get("state") or {}).get("terminated")
        if ended:
            return read_message(ended.get("message") or "", moment(ended.get("finishedAt")) or 0.0)
    return None


def read_message(text: str, finished_seconds: float) -> RunResult:
    """A termination message as a result. One that cannot be read is a failed run, with the text as its error."""
    try:
        content: dict[str, Any] = json.loads(text)
        prefixes = tuple(
            PrefixResult(
                str(one["name"]),
                int(one["tokens"]),
                float(one["cold_ms"]),
                float(one["warm_ms"]),
                float(one["hit_ratio"]),
            )
            for one in content.get("prefixes") or ()
        )
        return RunResult(bool(content.get("warm")), prefixes, str(content.get("error") or ""), finished_seconds)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return RunResult(False, (), f"the warm-up's pod ended without a result: {text[:200]!r}", finished_seconds)
